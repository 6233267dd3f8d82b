package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// typicalPod is a pod as the API server sends it of a common workload: two
// containers, an init container, environment, probes, volumes and
// managedFields.
func typicalPod(tb testing.TB, namespace, img string) []byte {
	tb.Helper()
	one := func(name string) corev1.Container {
		c := corev1.Container{
			Name: name, Image: img, Args: []string{"--listen=:8080", "--log-level=info"},
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
	pod := corev1.Pod{
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
	raw, err := json.Marshal(pod)
	if err != nil {
		tb.Fatal(err)
	}
	return review(tb, &admissionv1.AdmissionRequest{
		UID: uid, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: namespace, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		UserInfo: authenticationv1.UserInfo{Username: "anna", Groups: []string{"system:authenticated"}},
	})
}

// manyExceptions is a policy as large as one gets.
func manyExceptions() string {
	text := "exceptions:\n"
	for i := range 100 {
		text += fmt.Sprintf("- {finding: F-01, namespace: team-%d, image: 'ghcr.io/acme/**', owner: web, ticket: A-1, reason: later, expires: 2027-02-01}\n", i)
	}
	return text
}

// warm resolves through the client that the command uses, from a registry that
// was asked once.
func warm(tb testing.TB) func(context.Context, image.Reference, string, []string) (image.Digest, error) {
	tb.Helper()
	reg := registrytest.New()
	reg.Image("library/nginx", "1.25.3", "linux", "amd64", "web")
	client, err := registry.New(registry.Config{Transport: reg})
	if err != nil {
		tb.Fatal(err)
	}
	return func(ctx context.Context, ref image.Reference, _ string, _ []string) (image.Digest, error) {
		got, err := client.ResolveWithin(ctx, ref, 1<<62)
		return got.Digest, err
	}
}

func benchmarkHook(b *testing.B, path, policyText, namespace, img string) {
	b.Helper()
	r := reviewer(b, policyText)
	r.Resolve = warm(b)
	h := r.Handler(func() error { return nil })
	body := typicalPod(b, namespace, img)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	in := bytes.NewReader(body)
	for b.Loop() {
		in.Reset(body)
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, path, in)
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		if _, err := io.Copy(io.Discard, w.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole review: the body is read, decoded, judged by a policy with 100
// exceptions, and the answer is encoded.
func BenchmarkReview(b *testing.B) {
	for name, args := range map[string][4]string{
		"validate/allow":   {"/validate", "shop", "nginx:1.25.3@" + sha},
		"validate/deny":    {"/validate", "production", "nginx:latest"},
		"mutate/warm":      {"/mutate", "shop", "nginx:1.25.3"},
		"mutate/unchanged": {"/mutate", "shop", "nginx:1.25.3@" + sha},
	} {
		b.Run(name, func(b *testing.B) { benchmarkHook(b, args[0], manyExceptions(), args[1], args[2]) })
	}
}

// One cold question is one request, and a warm one none.
func TestOneRequestWhenCold(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	reg.Image("library/nginx", "1.25.3", "linux", "amd64", "web")
	client, err := registry.New(registry.Config{Transport: reg})
	if err != nil {
		t.Fatal(err)
	}
	reg.Forget()
	r := reviewer(t, "")
	r.Resolve = func(ctx context.Context, ref image.Reference, _ string, _ []string) (image.Digest, error) {
		got, err := client.ResolveWithin(ctx, ref, time.Hour)
		return got.Digest, err
	}
	for range 3 {
		resp := r.Mutate(t.Context(), request(t, admissionv1.Create, pod("shop", "nginx:1.25.3"), ""))
		if !strings.Contains(string(resp.Patch), "nginx:1.25.3@sha256:") {
			t.Fatalf("not pinned: %s", said(resp))
		}
	}
	if got := reg.Requests(); len(got) != 1 || got[0] != "HEAD /v2/library/nginx/manifests/1.25.3" {
		t.Errorf("requests: %q, want one HEAD", got)
	}
}
