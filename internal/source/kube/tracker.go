package kube

import (
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/workload"
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

			CreationTimestamp: pod.CreationTimestamp,
		},
		Spec: corev1.PodSpec{
			NodeName:       pod.Spec.NodeName,
			HostNetwork:    pod.Spec.HostNetwork,
			HostPID:        pod.Spec.HostPID,
			HostIPC:        pod.Spec.HostIPC,
			Containers:     trimContainers(pod.Spec.Containers),
			InitContainers: trimContainers(pod.Spec.InitContainers),

			ImagePullSecrets: pod.Spec.ImagePullSecrets,
		},
		Status: corev1.PodStatus{
			InitContainerStatuses:      trimStatuses(pod.Status.InitContainerStatuses),
			ContainerStatuses:          trimStatuses(pod.Status.ContainerStatuses),
			EphemeralContainerStatuses: trimStatuses(pod.Status.EphemeralContainerStatuses),
		},
	}
	switch hash := pod.Annotations[annotationStatic]; {
	case hash != "":
		slim.Annotations = map[string]string{annotationStatic: hash}
	case !workload.Labelled(pod.Labels):
		slim.Annotations = map[string]string{annotationSpec: specHash(&pod.Spec)}
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		slim.OwnerReferences = []metav1.OwnerReference{*owner}
	} else {
		// Who made a pod that nothing controls, the pod itself tells.
		slim.ManagedFields = pod.ManagedFields
		for _, key := range annotationsKept {
			if v, ok := pod.Annotations[key]; ok {
				metav1.SetMetaDataAnnotation(&slim.ObjectMeta, key, v)
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		slim.Spec.EphemeralContainers = append(slim.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, SecurityContext: trimSecurity(c.SecurityContext),
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
			Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy, RestartPolicy: c.RestartPolicy,
			SecurityContext: trimSecurity(c.SecurityContext),
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

// annotationSpec is where trim leaves the hash of the spec that it cuts down.
// No real pod has it: the character is not allowed in a key.
const annotationSpec = "#spec"

// annotationStatic marks the mirror of a static pod
// (k8s.io/kubernetes pkg/kubelet/types/pod_update.go, ConfigHashAnnotationKey).
const annotationStatic = "kubernetes.io/config.hash"

// known is how many container ids are remembered for one container. Two are
// enough for a status that moves forward (the current and the last one); the
// rest is for a status that an API server with an old cache shows again.
const known = 4

// seenID is a container id, and whether its start was told and its end was not.
type seenID struct {
	id   string
	live bool
}

// tracker turns pod states into starts and ends. It remembers, for every
// container of every living pod, the ids it has seen.
type tracker struct {
	emit func(event.Event)
	// describe adds to a start what the pod alone does not tell.
	describe func(*event.Start, *corev1.Pod)
	// cluster and namespace are the scope.
	cluster, namespace string
	now                func() time.Time

	mu   sync.Mutex
	pods map[types.UID]map[containerKey][known]seenID
	// initial are the events of what was there at the begin, until they are
	// told in the order of their time: the oldest container of a revision is
	// the measure for the others.
	initial []event.Event
	synced  bool
}

// containerKey tells apart containers of one pod: the lists of a status are
// matched by name, and names are unique across all lists.
type containerKey string

func newTracker(emit func(event.Event)) *tracker {
	return &tracker{
		emit: emit, describe: func(*event.Start, *corev1.Pod) {}, now: time.Now,
		pods: map[types.UID]map[containerKey][known]seenID{},
	}
}

// see looks at the state of a pod. initial says that the pod was there before
// the watch began: what had ended by then is remembered, not emitted.
func (t *tracker) see(pod *corev1.Pod, initial bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !initial {
		t.tell()
	}
	seen := t.pods[pod.UID]
	if seen == nil {
		seen = make(map[containerKey][known]seenID, len(pod.Status.ContainerStatuses))
		t.pods[pod.UID] = seen
	}
	t.seeAll(pod, seen, pod.Status.InitContainerStatuses, initial)
	t.seeAll(pod, seen, pod.Status.ContainerStatuses, initial)
	t.seeAll(pod, seen, pod.Status.EphemeralContainerStatuses, initial)
}

// caughtUp says that all pods that were there at the begin have been seen.
func (t *tracker) caughtUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell()
}

// tell emits what was there at the begin, once.
func (t *tracker) tell() {
	if t.synced {
		return
	}
	t.synced = true
	slices.SortStableFunc(t.initial, func(a, b event.Event) int { return a.At().Compare(b.At()) })
	for _, e := range t.initial {
		t.emit(e)
	}
	t.initial = nil
	t.emit(&event.Synced{Time: t.now().UTC(), Source: "kube", Cluster: t.cluster, Namespace: t.namespace})
}

// out emits an event, or keeps it for later.
func (t *tracker) out(e event.Event) {
	if t.synced {
		t.emit(e)
		return
	}
	t.initial = append(t.initial, e)
}

func (t *tracker) seeAll(pod *corev1.Pod, seen map[containerKey][known]seenID, statuses []corev1.ContainerStatus, initial bool) {
	for i := range statuses {
		status := &statuses[i]
		ids := seen[containerKey(status.Name)]
		before := ids
		// The container before this one may have come and gone between two
		// looks; its id is all that is left of it.
		if last := status.LastTerminationState.Terminated; last != nil {
			t.note(pod, status, &ids, last.ContainerID, last.StartedAt, !initial, initial)
			t.end(&ids, last.ContainerID, last.FinishedAt)
		}
		switch state := status.State; {
		case state.Running != nil:
			t.note(pod, status, &ids, status.ContainerID, state.Running.StartedAt, true, initial)
		case state.Terminated != nil:
			id := firstOf(state.Terminated.ContainerID, status.ContainerID)
			t.note(pod, status, &ids, id, state.Terminated.StartedAt, !initial, initial)
			t.end(&ids, id, state.Terminated.FinishedAt)
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
func (t *tracker) note(pod *corev1.Pod, status *corev1.ContainerStatus, ids *[known]seenID, id string, started metav1.Time, report, existing bool) {
	if id == "" {
		return
	}
	for i := range ids {
		if ids[i].id == id {
			return
		}
	}
	// A container has one process at a time: those before it have ended.
	for i := range ids {
		t.end(ids, ids[i].id, started)
	}
	copy(ids[1:], ids[:known-1])
	ids[0] = seenID{id: id}
	if report && started.Unix() > 0 {
		ids[0].live = true
		s := start(pod, status, id, started, existing)
		s.Cluster = t.cluster
		s.Time = t.bounded(s.Time, pod)
		t.describe(&s, pod)
		t.out(&s)
	}
}

// bounded is a node's time of a start, between the creation of the pod, which
// the API server's clock gave, and now. What ran first is told by these times,
// and a node whose clock is wrong must not turn it round. A static pod runs
// before the API has its mirror.
func (t *tracker) bounded(at time.Time, pod *corev1.Pod) time.Time {
	created := pod.CreationTimestamp.Time
	if at.Before(created) && pod.Annotations[annotationStatic] == "" {
		return created.UTC()
	}
	if now := t.now().UTC().Truncate(time.Second); at.After(now.Add(skew)) && !now.Before(created) {
		return now
	}
	return at
}

// skew is how far ahead the clock of a node may be before its times are not
// believed.
const skew = 5 * time.Second

// end emits the end of a container whose start was told.
func (t *tracker) end(ids *[known]seenID, id string, at metav1.Time) {
	for i := range ids {
		if ids[i].id != id || !ids[i].live {
			continue
		}
		ids[i].live = false
		if at.Unix() <= 0 {
			at = metav1.NewTime(t.now())
		}
		_, bare, ok := strings.Cut(id, "://")
		if !ok {
			bare = id
		}
		t.out(&event.End{Time: at.UTC(), Source: "kube", Cluster: t.cluster, ContainerID: bare})
	}
}

// forget ends what a pod ran and drops it.
func (t *tracker) forget(pod *corev1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ids := range t.pods[pod.UID] {
		for i := range ids {
			t.end(&ids, ids[i].id, metav1.Time{})
		}
	}
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
	for i := range pod.Spec.ImagePullSecrets {
		s.PullSecrets = append(s.PullSecrets, pod.Spec.ImagePullSecrets[i].Name)
	}
	asked(&s, pod, status.Name)
	return s
}

// asked finds in the spec what the container was asked to run: the status
// names the image by any tag that the runtime has for it.
func asked(s *event.Start, pod *corev1.Pod, name string) {
	set := func(kind event.Kind, image string, pull corev1.PullPolicy, sc *corev1.SecurityContext) {
		s.Kind, s.Reference, s.PullPolicy, s.Privileged = kind, image, string(pull), isPrivileged(sc)
	}
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == name {
			set(event.Container, c.Image, c.ImagePullPolicy, c.SecurityContext)
			return
		}
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == name {
			kind := event.Init
			if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				kind = event.Sidecar
			}
			set(kind, c.Image, c.ImagePullPolicy, c.SecurityContext)
			return
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == name {
			set(event.Ephemeral, c.Image, c.ImagePullPolicy, c.SecurityContext)
			return
		}
	}
}

func isPrivileged(sc *corev1.SecurityContext) *bool {
	if sc != nil && sc.Privileged != nil {
		return sc.Privileged
	}
	return new(bool)
}

// resolve says what the pod of a start belongs to.
func resolve(s *event.Start, pod *corev1.Pod, lookup workload.Lookup) {
	o := objectOf("v1", "Pod", &pod.ObjectMeta)
	s.Workload, s.Revision, s.Deployment = workload.Resolve(o, pod.Annotations[annotationSpec], lookup)
}
