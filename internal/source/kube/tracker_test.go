package kube

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/workload"
)

var epoch = metav1.NewTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// web is a pod with one container that asks for "nginx".
func web(uid string, statuses ...corev1.ContainerStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: types.UID(uid)},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
		Status:     corev1.PodStatus{ContainerStatuses: statuses},
	}
}

func running(id string) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: "c", ContainerID: "containerd://" + id, Image: "docker.io/library/nginx:1.25.3",
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: epoch}},
	}
}

func ended(id string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "c", ContainerID: "containerd://" + id, State: terminated(id)}
}

func terminated(id string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://" + id, StartedAt: epoch}}
}

func after(s corev1.ContainerStatus, last string) corev1.ContainerStatus {
	s.LastTerminationState = terminated(last)
	s.RestartCount = 1
	return s
}

func waiting(last string) corev1.ContainerStatus {
	return after(corev1.ContainerStatus{
		Name: "c", ContainerID: "containerd://" + last,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
	}, last)
}

// look is one state of the pod that the API shows.
type look struct {
	pod     *corev1.Pod
	initial bool
	gone    bool
}

func TestTrackerEmitsEveryStartOnce(t *testing.T) {
	t.Parallel()
	pending := corev1.ContainerStatus{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
	badName := corev1.ContainerStatus{Name: "c", Image: "nginx:::bad", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "InvalidImageName"}}}
	startError := ended("a")
	startError.State.Terminated.StartedAt = metav1.Unix(0, 0)
	for _, tc := range []struct {
		name  string
		looks []look
		want  []string // container ids, "!" when it ran before, "-" before one that ended
	}{
		{"a pod comes to run", []look{{pod: web("1")}, {pod: web("1", pending)}, {pod: web("1", running("a"))}, {pod: web("1", running("a"))}}, []string{"a"}},
		{"ran before", []look{{pod: web("1", running("a")), initial: true}, {pod: web("1", running("a"))}}, []string{"a!"}},
		{"ended before", []look{{pod: web("1", ended("a")), initial: true}, {pod: web("1", ended("a"))}}, nil},
		{"crash loop, every state seen", []look{
			{pod: web("1", running("a"))},
			{pod: web("1", ended("a"))},
			{pod: web("1", waiting("a"))},
			{pod: web("1", after(running("b"), "a"))},
			{pod: web("1", waiting("b"))},
		}, []string{"a", "-a", "b", "-b"}},
		{"too short to be seen running", []look{{pod: web("1", pending)}, {pod: web("1", ended("a"))}}, []string{"a", "-a"}},
		{"come and gone between two looks", []look{{pod: web("1", running("a"))}, {pod: web("1", after(running("c"), "b"))}}, []string{"a", "-a", "b", "-b", "c"}},
		{"waiting after a crash that was not seen", []look{{pod: web("1", running("a"))}, {pod: web("1", waiting("b"))}}, []string{"a", "-a", "b", "-b"}},
		{"the crash before the watch began", []look{{pod: web("1", waiting("a")), initial: true}, {pod: web("1", after(running("b"), "a"))}}, []string{"b"}},
		{"an API server with an old cache", []look{
			{pod: web("1", running("a"))},
			{pod: web("1", after(running("b"), "a"))},
			{pod: web("1", running("a"))},
			{pod: web("1", after(running("b"), "a"))},
		}, []string{"a", "-a", "b"}},
		{"same name, another pod", []look{{pod: web("1", running("a"))}, {pod: web("1", running("a")), gone: true}, {pod: web("2", running("b"))}}, []string{"a", "-a", "b"}},
		{"last words of a deleted pod", []look{{pod: web("1", pending)}, {pod: web("1", ended("a")), gone: true}}, []string{"a", "-a"}},
		{"invalid image name", []look{{pod: web("1", badName)}}, nil},
		{"made but never started", []look{{pod: web("1", startError)}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			tr := newTracker(func(e event.Event) {
				switch e := e.(type) {
				case *event.Start:
					id := e.ContainerID
					if e.Existing {
						id += "!"
					}
					got = append(got, id)
				case *event.End:
					got = append(got, "-"+e.ContainerID)
				}
			})
			for _, l := range tc.looks {
				slim, err := trim(l.pod)
				if err != nil {
					t.Fatal(err)
				}
				tr.see(slim.(*corev1.Pod), l.initial)
				if l.gone {
					tr.forget(slim.(*corev1.Pod))
				}
			}
			tr.caughtUp()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("container ids (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTrackerForgetsDeletedPods(t *testing.T) {
	t.Parallel()
	tr := newTracker(func(event.Event) {})
	for i := range 100 {
		pod := web(fmt.Sprint(i), running("a"))
		tr.see(pod, false)
		tr.forget(pod)
	}
	if len(tr.pods) != 0 {
		t.Errorf("%d pods remembered, want none", len(tr.pods))
	}
}

func TestStartSaysWhatTheSpecAskedFor(t *testing.T) {
	t.Parallel()
	always, yes := corev1.ContainerRestartPolicyAlways, true
	const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	status := func(name string) corev1.ContainerStatus {
		s := running("id-" + name)
		s.Name, s.ImageID, s.RestartCount = name, "docker.io/library/nginx@"+digest, 3
		return s
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-5d8c-x", UID: "u1",
			Labels: map[string]string{"pod-template-hash": "5d8c"},
			OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Other", Name: "o"},
				{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d8c", UID: "r1", Controller: &yes},
			},
		},
		Spec: corev1.PodSpec{
			NodeName: "n1", HostPID: true,
			InitContainers: []corev1.Container{
				{Name: "init", Image: "init:1"},
				{Name: "side", Image: "side:1", RestartPolicy: &always},
			},
			Containers: []corev1.Container{{Name: "web", Image: "nginx", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}},
			EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}},
			},
		},
		Status: corev1.PodStatus{
			InitContainerStatuses:      []corev1.ContainerStatus{status("init"), status("side")},
			ContainerStatuses:          []corev1.ContainerStatus{status("web")},
			EphemeralContainerStatuses: []corev1.ContainerStatus{status("debug")},
		},
	}
	no := false
	want := map[string]event.Start{
		"init":  {Kind: event.Init, Reference: "init:1", Privileged: &no},
		"side":  {Kind: event.Sidecar, Reference: "side:1", Privileged: &no},
		"web":   {Kind: event.Container, Reference: "nginx", Privileged: &yes},
		"debug": {Kind: event.Ephemeral, Reference: "busybox", Privileged: &no},
	}
	for name, w := range want {
		w.Time, w.Source, w.Node, w.Namespace, w.Pod, w.PodUID = epoch.Time, "kube", "n1", "shop", "web-5d8c-x", "u1"
		w.PodLabels = pod.Labels
		w.Owner = &event.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d8c", UID: "r1"}
		w.Workload, w.Revision = event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, "5d8c"
		w.Container, w.ContainerID, w.Runtime, w.RestartCount = name, "id-"+name, "containerd", 3
		// Another tag of the same bytes: what the status says is not what
		// was asked for.
		w.Image, w.ImageID = "docker.io/library/nginx:1.25.3", "docker.io/library/nginx@"+digest
		w.Digest, w.DigestOf = digest, "docker.io/library/nginx"
		w.HostNetwork, w.HostPID, w.HostIPC = &no, &yes, &no
		want[name] = w
	}
	got := map[string]event.Start{}
	slim, err := trim(pod)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTracker(func(e event.Event) {
		if s, ok := e.(*event.Start); ok {
			got[s.Container] = *s
		}
	})
	tr.describe = func(s *event.Start, pod *corev1.Pod) {
		resolve(s, pod, func(string, workload.Ref, time.Time) *workload.Object { return nil })
	}
	tr.see(slim.(*corev1.Pod), false)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("starts (-want +got):\n%s", diff)
	}
}

// TestTheImageOfAContainerThatIsGoneIsNotGuessed: the API keeps only the id of
// the container before the current one.
func TestTheImageOfAContainerThatIsGoneIsNotGuessed(t *testing.T) {
	t.Parallel()
	status := after(running("b"), "a")
	status.ImageID = "docker.io/library/nginx@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	var got []event.Start
	newTracker(func(e event.Event) {
		if s, ok := e.(*event.Start); ok {
			got = append(got, *s)
		}
	}).see(web("1", status), false)
	if len(got) != 2 {
		t.Fatalf("got %d starts, want 2", len(got))
	}
	if a := got[0]; a.ContainerID != "a" || a.Image != "" || a.ImageID != "" || a.Digest != "" || a.RestartCount != 0 {
		t.Errorf("first container: got %+v, want id a, no image and restart count 0", a)
	}
	if b := got[1]; b.ContainerID != "b" || b.Digest == "" || b.RestartCount != 1 {
		t.Errorf("second container: got %+v, want id b, a digest and restart count 1", b)
	}
}

func BenchmarkPodUpdate(b *testing.B) {
	// A pod as a cluster has it, with what the source does not need.
	pod := web("1", running("a"))
	for i := range 8 {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprint("v", i)})
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprint("E", i), Value: "x"})
	}
	tr := newTracker(func(event.Event) {})
	b.Run("trim", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := trim(pod); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tr.see(pod, false)
		}
	})
	b.Run("a start", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tr.see(pod, false)
			tr.forget(pod)
		}
	})
}
