package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/tagwarden/tagwarden/internal/event"
)

// nodes are the platforms of a cluster's nodes, and what they say of their
// images.
type nodes struct {
	cluster string
	tracker *tracker
	running sync.WaitGroup

	mu    sync.Mutex
	known map[string]*event.Node
}

func newNodes(cluster string, t *tracker) *nodes {
	return &nodes{cluster: cluster, tracker: t, known: map[string]*event.Node{}}
}

func (n *nodes) platform(node string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.known[node]; known != nil {
		return known.Platform
	}
	return ""
}

// start watches the nodes and returns when all of them are known. Without the
// right to do so, platforms and images stay unknown.
func (n *nodes) start(ctx context.Context, s *Source) {
	api := s.client.CoreV1().Nodes()
	check, cancel := context.WithTimeout(ctx, checkTimeout)
	_, err := api.List(check, metav1.ListOptions{Limit: 1, ResourceVersion: "0"})
	cancel()
	if err != nil {
		if apierrors.IsForbidden(err) {
			s.log.WarnContext(ctx, "the platforms of nodes and the images on them are not known", "needs", "get, list and watch on nodes")
		}
		return
	}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return api.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return api.Watch(ctx, o)
		},
	}, s.client), &corev1.Node{}, 0, nil)
	if informer.SetTransform(trimNode) != nil {
		return
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    n.see,
		UpdateFunc: func(_, obj any) { n.see(obj) },
		DeleteFunc: n.gone,
	})
	if err != nil {
		return
	}
	n.running.Go(func() { informer.RunWithContext(ctx) })
	wait, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cache.WaitForCacheSync(wait.Done(), registration.HasSynced)
}

func (n *nodes) wait() { n.running.Wait() }

// see takes in a node, and tells of it what is new.
func (n *nodes) see(obj any) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return
	}
	e := &event.Node{
		Source: "kube", Cluster: n.cluster, Name: node.Name,
		Platform: platform(node.Status.NodeInfo.OperatingSystem, node.Status.NodeInfo.Architecture),
		Tags:     map[string]string{},
	}
	e.Runtime, _, _ = strings.Cut(node.Status.NodeInfo.ContainerRuntimeVersion, "://")
	for i := range node.Status.Images {
		names := node.Status.Images[i].Names
		d := digestsOf(names)
		if len(d) == 0 {
			continue
		}
		e.Images = append(e.Images, d)
		for _, name := range names {
			if tag := event.NodeTag(name); tag != "" {
				e.Tags[tag] = d[0]
			}
		}
	}
	slices.SortFunc(e.Images, slices.Compare)
	n.mu.Lock()
	old := n.known[node.Name]
	n.known[node.Name] = e
	n.mu.Unlock()
	if old != nil && old.Platform == e.Platform && slices.EqualFunc(old.Images, e.Images, slices.Equal) && maps.Equal(old.Tags, e.Tags) {
		return
	}
	told := *e
	told.Time = time.Now().UTC()
	n.tracker.node(&told)
}

// gone forgets a node, and tells that it has no images any more.
func (n *nodes) gone(obj any) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	node, ok := obj.(*corev1.Node)
	if !ok {
		return
	}
	n.mu.Lock()
	old := n.known[node.Name]
	delete(n.known, node.Name)
	n.mu.Unlock()
	if old != nil {
		n.tracker.node(&event.Node{Time: time.Now().UTC(), Source: "kube", Cluster: n.cluster, Name: old.Name, Platform: old.Platform, Runtime: old.Runtime})
	}
}

// node emits what a node says. It goes before the starts that wait: they are
// judged by it.
func (t *tracker) node(e *event.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.emit(e)
}

// trimNode keeps of a node its name, platform, runtime and images.
func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: node.Status.NodeInfo.OperatingSystem, Architecture: node.Status.NodeInfo.Architecture,
				ContainerRuntimeVersion: node.Status.NodeInfo.ContainerRuntimeVersion,
			},
			Images: node.Status.Images,
		},
	}, nil
}
