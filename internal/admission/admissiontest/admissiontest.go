// Package admissiontest has what those that answer admission reviews are
// measured with: reviews as the API server sends them, a large policy, and the
// clocks.
package admissiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002"

var reviewType = metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}

// Pod is a pod of a common workload, as the API server sends it: two containers
// and an init container of one image, environment, probes, volumes and
// managedFields.
func Pod(namespace, image string) *corev1.Pod {
	one := func(name string) corev1.Container {
		c := corev1.Container{
			Name: name, Image: image, Args: []string{"--listen=:8080", "--log-level=info"},
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
			},
			VolumeMounts:             []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
			LivenessProbe:            &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz"}}},
			TerminationMessagePath:   "/dev/termination-log",
			TerminationMessagePolicy: corev1.TerminationMessageReadFile, ImagePullPolicy: corev1.PullIfNotPresent,
		}
		for i := range 10 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: "a value of some length, as they have"})
		}
		return c
	}
	yes := true
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "web-7d9f8-", Namespace: namespace, UID: uid, Labels: map[string]string{"app": "web", "pod-template-hash": "7d9f8"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7d9f8", UID: uid, Controller: &yes}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{}}}}}`)}},
		},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{one("init")}, Containers: []corev1.Container{one("web"), one("proxy")},
			RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, ServiceAccountName: "web",
			Volumes:     []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Tolerations: []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
		},
	}
}

// Review is the AdmissionReview of admission.k8s.io/v1, as JSON, that asks
// whether a user may create [Pod].
func Review(namespace, image string) ([]byte, error) {
	raw, err := json.Marshal(Pod(namespace, image))
	if err != nil {
		return nil, err
	}
	return json.Marshal(admissionv1.AdmissionReview{TypeMeta: reviewType, Request: &admissionv1.AdmissionRequest{
		UID: uid, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: namespace, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		UserInfo: authenticationv1.UserInfo{Username: "anna", Groups: []string{"system:authenticated"}},
	}})
}

// Exceptions is a policy (tagwarden.yaml) with that many exceptions, none of
// which is for [Pod], and all of which hold at the time now.
func Exceptions(n int, now time.Time) string {
	var b strings.Builder
	b.WriteString("exceptions:\n")
	expires := now.AddDate(0, 2, 0).UTC().Format(time.DateOnly)
	for i := range n {
		fmt.Fprintf(&b, "- {finding: F-01, namespace: team-%d, image: 'ghcr.io/acme/**', owner: web, ticket: A-1, reason: later, expires: %s}\n", i, expires)
	}
	return b.String()
}

// A Case is a policy, a review, and whether the policy allows it.
type Case struct {
	Name    string
	Policy  string // tagwarden.yaml
	Review  []byte
	Allowed bool
}

// Cases are what engines are measured by, at the time now: a pod that is pinned
// and one with three images to deny, by the default policy and by one with 100
// exceptions.
func Cases(now time.Time) ([]Case, error) {
	good, err := Review("shop", "ghcr.io/acme/web:1.2.3@sha256:"+strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		return nil, err
	}
	bad, err := Review("production", "nginx:latest")
	if err != nil {
		return nil, err
	}
	long := Exceptions(100, now)
	return []Case{
		{"default/allow", "", good, true},
		{"default/deny", "", bad, false},
		{"100-exceptions/allow", long, good, true},
		{"100-exceptions/deny", long, bad, false},
	}, nil
}

// A Hook answers a review, from the bytes of the request to those of the
// answer.
type Hook func(ctx context.Context, body []byte) (answer []byte, err error)

// Webhook is the Hook of an engine that says why a request is denied: it does
// what every webhook does around it. No denials allow the request.
func Webhook(denials func(context.Context, *admissionv1.AdmissionRequest) ([]string, error)) Hook {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(body, &review); err != nil {
			return nil, err
		}
		if review.Request == nil {
			return nil, errors.New("a review without a request")
		}
		said, err := denials(ctx, review.Request)
		if err != nil {
			return nil, err
		}
		response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: len(said) == 0}
		if !response.Allowed {
			response.Result = &metav1.Status{Status: metav1.StatusFailure, Message: strings.Join(said, "; ")}
		}
		return json.Marshal(admissionv1.AdmissionReview{TypeMeta: reviewType, Response: response})
	}
}

// Allowed reads an answer.
func Allowed(answer []byte) (bool, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return false, err
	}
	if review.Response == nil || review.Response.UID != uid {
		return false, fmt.Errorf("no answer to the review: %s", answer)
	}
	return review.Response.Allowed, nil
}
