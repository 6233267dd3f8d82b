package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// A Pull is what a kubelet said of getting an image for a container.
type Pull struct {
	// Time is when it said so last, in UTC.
	Time time.Time
	// Container is the container's name; empty where the event names none.
	Container string
	// Reason is Pulling, Pulled, Failed or BackOff.
	Reason string
	// Message is the kubelet's own text.
	Message string
	Node    string
}

// maxPulls is how many events of one pod are read.
const maxPulls = 500

// pullReasons are those of the kubelet's events about images
// (k8s.io/kubernetes/pkg/kubelet/events/event.go).
var pullReasons = []string{"Pulling", "Pulled", "Failed", "BackOff", "ErrImageNeverPull"}

// Pulls returns what kubelets said of images for a pod, the newest first. API
// servers keep events for an hour, unless they are told otherwise.
func (s *Source) Pulls(ctx context.Context, namespace, pod string) ([]Pull, error) {
	list, err := s.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		Limit: maxPulls, FieldSelector: fields.Set{"involvedObject.kind": "Pod", "involvedObject.name": pod}.String(),
	})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("events of pod %s/%s: not allowed; the user needs list on events", namespace, pod)
	case err != nil:
		return nil, fmt.Errorf("events of pod %s/%s: %w", namespace, pod, err)
	}
	var all []Pull
	for i := range list.Items {
		e := &list.Items[i]
		if !slices.Contains(pullReasons, e.Reason) {
			continue
		}
		all = append(all, Pull{
			Time: lastTime(e), Container: containerOf(e.InvolvedObject.FieldPath), Reason: e.Reason, Message: e.Message, Node: e.Source.Host,
		})
	}
	slices.SortStableFunc(all, func(a, b Pull) int { return b.Time.Compare(a.Time) })
	return all, nil
}

// lastTime is when an event happened last: events of both APIs are in one list.
func lastTime(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time, e.CreationTimestamp.Time} {
		if !t.IsZero() {
			return t.UTC()
		}
	}
	return time.Time{}
}

// containerOf reads the container in a field path: spec.containers{api}.
func containerOf(path string) string {
	_, rest, ok := strings.Cut(path, "{")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(rest, "}")
}
