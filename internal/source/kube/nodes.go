package kube

import (
	"context"
	"slices"
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

	mu        sync.Mutex
	platforms map[string]string
	images    map[string][][]string
}

func newNodes(cluster string, t *tracker) *nodes {
	return &nodes{cluster: cluster, tracker: t, platforms: map[string]string{}, images: map[string][][]string{}}
}

func (n *nodes) platform(node string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.platforms[node]
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
	var groups [][]string
	for i := range node.Status.Images {
		if d := digestsOf(node.Status.Images[i].Names); len(d) > 0 {
			groups = append(groups, d)
		}
	}
	slices.SortFunc(groups, slices.Compare)
	of := platform(node.Status.NodeInfo.OperatingSystem, node.Status.NodeInfo.Architecture)
	n.mu.Lock()
	same := n.platforms[node.Name] == of && slices.EqualFunc(n.images[node.Name], groups, slices.Equal)
	n.platforms[node.Name], n.images[node.Name] = of, groups
	n.mu.Unlock()
	if same {
		return
	}
	n.tracker.node(&event.Node{Time: time.Now().UTC(), Source: "kube", Cluster: n.cluster, Name: node.Name, Platform: of, Images: groups})
}

// node emits what a node says. It goes before the starts that wait: they are
// judged by it.
func (t *tracker) node(e *event.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.emit(e)
}

// trimNode keeps of a node its name, platform and images.
func trimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: node.Status.NodeInfo.OperatingSystem, Architecture: node.Status.NodeInfo.Architecture},
			Images:   node.Status.Images,
		},
	}, nil
}
