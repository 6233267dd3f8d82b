package kube

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/workload"
)

// TestAnOwnerThatCannotBeReadStaysTheOneKnown: a StatefulSet of an operator is a
// part of the operator's object. If that were forgotten while the API server has
// no answer, the pods of that time would be those of another workload, and a
// change of their bytes would be the first of it.
func TestAnOwnerThatCannotBeReadStaysTheOneKnown(t *testing.T) {
	t.Parallel()
	yes := true
	set := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "db", UID: "s1",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "acid.zalan.do/v1", Kind: "Postgres", Name: "db", Controller: &yes}},
		},
	}
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := fake.NewSimpleMetadataClient(scheme, set)
	broken := false
	client.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		if broken {
			return true, nil, errors.New("etcdserver: request timed out")
		}
		return false, nil, nil
	})
	o := newOwners(t.Context(), client, "", slog.New(slog.DiscardHandler))
	ref := workload.Ref{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "s1"}
	if got := o.lookup("shop", ref, time.Time{}); got == nil || got.Controller == nil {
		t.Fatalf("got %+v, want the StatefulSet with its owner", got)
	}
	broken = true
	later := time.Now().Add(time.Hour) // A pod that was made after the last question.
	if got := o.lookup("shop", ref, later); got == nil || got.Controller == nil || got.Controller.Name != "db" {
		t.Errorf("without an answer: got %+v, want what was known", got)
	}
	// Another object by that name is not the one that is known.
	ref.UID = "s2"
	if got := o.lookup("shop", ref, later); got != nil {
		t.Errorf("of another uid: got %+v, want nothing", got)
	}
	broken = false
	if err := client.Tracker().Delete(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, "shop", "db"); err != nil {
		t.Fatal(err)
	}
	ref.UID = "s1"
	if got := o.lookup("shop", ref, time.Now().Add(time.Hour)); got != nil {
		t.Errorf("that is gone: got %+v, want nothing", got)
	}
}

// TestWhoMadeABarePod: nothing controls it, so that it alone tells.
func TestWhoMadeABarePod(t *testing.T) {
	t.Parallel()
	pod := web("1", running("a"))
	pod.CreationTimestamp = epoch
	pod.Annotations = map[string]string{"kubernetes.io/change-cause": "CHG-7", "other": "x"}
	pod.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kubectl-run", Time: &epoch, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:containers":{}}}`)},
		{Manager: "kubelet", Time: &epoch, Subresource: "status", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)},
	}
	slim, err := trim(pod)
	if err != nil {
		t.Fatal(err)
	}
	var s event.Start
	resolve(&s, slim.(*corev1.Pod), func(string, workload.Ref, time.Time) *workload.Object { return nil })
	want := &event.Deployment{Time: epoch.UTC(), By: "kubectl-run", Cause: "CHG-7"}
	if diff := cmp.Diff(want, s.Deployment); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
	if s.Workload.Kind != "Pod" || s.Revision == "" {
		t.Errorf("got workload %v, revision %q; want the pod by a hash of its spec", s.Workload, s.Revision)
	}
}

// TestClocksOfNodes: which container of a revision ran first is told by times
// that nodes give, so that they are held between what the API server and we
// know.
func TestClocksOfNodes(t *testing.T) {
	t.Parallel()
	at := func(minute int) metav1.Time { return metav1.NewTime(epoch.Add(time.Duration(minute) * time.Minute)) }
	for _, tc := range []struct {
		name          string
		created, said int
		static        bool
		want          int
	}{
		{"right", 1, 2, false, 2},
		{"behind", 1, -59, false, 1},
		{"ahead", 1, 600, false, 10},
		{"a static pod runs before its mirror", 5, 2, true, 2},
	} {
		pod := web("1", running("a"))
		pod.CreationTimestamp = at(tc.created)
		pod.Status.ContainerStatuses[0].State.Running.StartedAt = at(tc.said)
		if tc.static {
			pod.Annotations = map[string]string{annotationStatic: "hash"}
		}
		var got event.Event
		tr := newTracker(func(e event.Event) {
			if s, ok := e.(*event.Start); ok {
				got = s
			}
		})
		tr.now = func() time.Time { return at(10).Time }
		tr.see(pod, false)
		if got == nil || !got.At().Equal(at(tc.want).Time) {
			t.Errorf("%s: got %v, want %v", tc.name, got.At(), at(tc.want))
		}
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	a, b := "sha256:"+hex64('a'), "sha256:"+hex64('b')
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "arm64", ContainerRuntimeVersion: "containerd://1.7.2"},
			Images: []corev1.ContainerImage{
				{Names: []string{"docker.io/library/nginx@" + b, "docker.io/library/nginx@" + a, "docker.io/library/nginx:latest"}},
				{Names: []string{"docker.io/library/only:tag"}},
			},
		},
	}
	var got []*event.Node
	n := newNodes("prod", newTracker(func(e event.Event) {
		if e, ok := e.(*event.Node); ok {
			e.Time = time.Time{}
			got = append(got, e)
		}
	}))
	n.see(node)
	n.see(node) // Nothing new.
	if p := n.platform("n1"); p != "linux/arm64" {
		t.Errorf("platform %q", p)
	}
	n.gone(node)
	if p := n.platform("n1"); p != "" {
		t.Errorf("platform of a node that is gone: %q", p)
	}
	want := []*event.Node{
		{
			Source: "kube", Cluster: "prod", Name: "n1", Platform: "linux/arm64", Runtime: "containerd",
			Images: [][]string{{a, b}}, Tags: map[string]string{"docker.io/library/nginx:latest": a},
		},
		{Source: "kube", Cluster: "prod", Name: "n1", Platform: "linux/arm64", Runtime: "containerd"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func hex64(c byte) string {
	b := make([]byte, 64)
	for i := range b {
		b[i] = c
	}
	return string(b)
}
