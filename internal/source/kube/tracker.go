package kube

import (
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
)

// trim keeps of a pod what an event can say, so that the cache of a large
// cluster stays small: no volumes, environment, conditions or managed fields.
func trim(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       pod.Namespace,
			Name:            pod.Name,
			UID:             pod.UID,
			ResourceVersion: pod.ResourceVersion,
			Labels:          pod.Labels,
		},
		Spec: corev1.PodSpec{
			NodeName:       pod.Spec.NodeName,
			HostNetwork:    pod.Spec.HostNetwork,
			HostPID:        pod.Spec.HostPID,
			HostIPC:        pod.Spec.HostIPC,
			Containers:     trimContainers(pod.Spec.Containers),
			InitContainers: trimContainers(pod.Spec.InitContainers),
		},
		Status: corev1.PodStatus{
			InitContainerStatuses:      trimStatuses(pod.Status.InitContainerStatuses),
			ContainerStatuses:          trimStatuses(pod.Status.ContainerStatuses),
			EphemeralContainerStatuses: trimStatuses(pod.Status.EphemeralContainerStatuses),
		},
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		slim.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		slim.Spec.EphemeralContainers = append(slim.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: c.Name, Image: c.Image, SecurityContext: trimSecurity(c.SecurityContext),
			},
		})
	}
	return slim, nil
}

func trimContainers(full []corev1.Container) []corev1.Container {
	slim := make([]corev1.Container, len(full))
	for i := range full {
		c := &full[i]
		slim[i] = corev1.Container{
			Name: c.Name, Image: c.Image, RestartPolicy: c.RestartPolicy, SecurityContext: trimSecurity(c.SecurityContext),
		}
	}
	return slim
}

func trimSecurity(full *corev1.SecurityContext) *corev1.SecurityContext {
	if full == nil || full.Privileged == nil {
		return nil
	}
	return &corev1.SecurityContext{Privileged: full.Privileged}
}

func trimStatuses(full []corev1.ContainerStatus) []corev1.ContainerStatus {
	slim := make([]corev1.ContainerStatus, len(full))
	for i := range full {
		c := &full[i]
		slim[i] = corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.ImageID, ContainerID: c.ContainerID,
			RestartCount: c.RestartCount, State: c.State, LastTerminationState: c.LastTerminationState,
		}
	}
	return slim
}

// known is how many container ids are remembered for one container. Two are
// enough for a status that moves forward (the current and the last one); the
// rest is for a status that an API server with an old cache shows again.
const known = 4

// tracker turns pod states into starts. It remembers, for every container of
// every living pod, the ids it has seen.
type tracker struct {
	emit func(event.Event)

	mu   sync.Mutex
	pods map[types.UID]map[containerKey][known]string
}

// containerKey tells apart containers of one pod: the lists of a status are
// matched by name, and names are unique across all lists.
type containerKey string

func newTracker(emit func(event.Event)) *tracker {
	return &tracker{emit: emit, pods: map[types.UID]map[containerKey][known]string{}}
}

// see looks at the state of a pod. initial says that the pod was there before
// the watch began: what had ended by then is remembered, not emitted.
func (t *tracker) see(pod *corev1.Pod, initial bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.pods[pod.UID]
	if seen == nil {
		seen = make(map[containerKey][known]string, len(pod.Status.ContainerStatuses))
		t.pods[pod.UID] = seen
	}
	t.seeAll(pod, seen, pod.Status.InitContainerStatuses, initial)
	t.seeAll(pod, seen, pod.Status.ContainerStatuses, initial)
	t.seeAll(pod, seen, pod.Status.EphemeralContainerStatuses, initial)
}

func (t *tracker) seeAll(pod *corev1.Pod, seen map[containerKey][known]string, statuses []corev1.ContainerStatus, initial bool) {
	for i := range statuses {
		status := &statuses[i]
		ids := seen[containerKey(status.Name)]
		before := ids
		// The container before this one may have come and gone between two
		// looks; its id is all that is left of it.
		if last := status.LastTerminationState.Terminated; last != nil {
			t.note(pod, status, &ids, last.ContainerID, last.StartedAt, !initial, initial)
		}
		switch state := status.State; {
		case state.Running != nil:
			t.note(pod, status, &ids, status.ContainerID, state.Running.StartedAt, true, initial)
		case state.Terminated != nil:
			t.note(pod, status, &ids, firstOf(state.Terminated.ContainerID, status.ContainerID), state.Terminated.StartedAt, !initial, initial)
		}
		if ids != before {
			seen[containerKey(status.Name)] = ids
		}
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// note remembers id, and emits a start when it is new and report is set. A
// container that was made but never started (a command that does not exist)
// has 1970 as its start time.
func (t *tracker) note(pod *corev1.Pod, status *corev1.ContainerStatus, ids *[known]string, id string, started metav1.Time, report, existing bool) {
	if id == "" {
		return
	}
	for _, old := range ids {
		if old == id {
			return
		}
	}
	copy(ids[1:], ids[:known-1])
	ids[0] = id
	if report && started.Unix() > 0 {
		s := start(pod, status, id, started, existing)
		t.emit(&s)
	}
}

func (t *tracker) forget(pod *corev1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pods, pod.UID)
}

// start makes the event for the container with the given id.
func start(pod *corev1.Pod, status *corev1.ContainerStatus, id string, started metav1.Time, existing bool) event.Start {
	rt, bare, ok := strings.Cut(id, "://")
	if !ok {
		rt, bare = "", id
	}
	s := event.Start{
		Time:         started.UTC(),
		Source:       "kube",
		Existing:     existing,
		Node:         pod.Spec.NodeName,
		Namespace:    pod.Namespace,
		Pod:          pod.Name,
		PodUID:       string(pod.UID),
		PodLabels:    pod.Labels,
		Container:    status.Name,
		ContainerID:  bare,
		Runtime:      rt,
		RestartCount: status.RestartCount,
		HostNetwork:  &pod.Spec.HostNetwork,
		HostPID:      &pod.Spec.HostPID,
		HostIPC:      &pod.Spec.HostIPC,
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		s.Owner = &event.Owner{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: string(owner.UID)}
		s.Workload = event.Workload{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name}
		s.Revision = firstOf(pod.Labels["pod-template-hash"], pod.Labels["controller-revision-hash"])
	} else {
		s.Workload = event.Workload{APIVersion: "v1", Kind: "Pod", Name: pod.Name}
	}
	if id != status.ContainerID {
		// The one before. Its image is not kept by the API: with that of its
		// successor we would guess.
		s.RestartCount = max(0, s.RestartCount-1)
	} else {
		s.Image, s.ImageID = status.Image, status.ImageID
		if name, digest, ok := image.FromImageID(status.ImageID); ok {
			s.Digest, s.DigestOf = digest.String(), name
		}
	}
	s.Reference, s.Kind, s.Privileged = asked(pod, status.Name)
	return s
}

// asked finds in the spec what the container was asked to run: the status
// names the image by any tag that the runtime has for it.
func asked(pod *corev1.Pod, name string) (reference string, kind event.Kind, privileged *bool) {
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == name {
			return c.Image, event.Container, isPrivileged(c.SecurityContext)
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == name {
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				return c.Image, event.Sidecar, isPrivileged(c.SecurityContext)
			}
			return c.Image, event.Init, isPrivileged(c.SecurityContext)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			return c.Image, event.Ephemeral, isPrivileged(c.SecurityContext)
		}
	}
	return "", "", nil
}

func isPrivileged(sc *corev1.SecurityContext) *bool {
	if sc != nil && sc.Privileged != nil {
		return sc.Privileged
	}
	return new(bool)
}
