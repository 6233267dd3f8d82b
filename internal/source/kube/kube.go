// Package kube is the source that sees container starts through the
// Kubernetes API: pods by list and watch, one event for every new container
// id in a pod's status.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/kubeconfig"
)

// checkTimeout bounds the first question to the API server.
const checkTimeout = 15 * time.Second

// Config says which cluster and which pods.
type Config struct {
	// Kubeconfig is a file; empty means $KUBECONFIG, ~/.kube/config, or the
	// service account of the pod that we run in.
	Kubeconfig string
	// Context is a context of the kubeconfig; empty means its current one.
	Context string
	// Namespace limits the watch to one namespace; empty means all.
	Namespace string
	// Cluster is the name of the cluster in events; empty means the name that
	// the kubeconfig gives it.
	Cluster string
	// Log hears of broken and mended watches.
	Log *slog.Logger
}

// Source watches the pods of one cluster.
type Source struct {
	client    kubernetes.Interface
	metadata  metadata.Interface
	host      string
	cluster   string
	namespace string
	log       *slog.Logger
	secrets   secrets
}

// New connects to the cluster of cfg. It reads the configuration only; the
// first request is made by [Source.Watch].
func New(cfg Config) (*Source, error) {
	restCfg, err := kubeconfig.Load(cfg.Kubeconfig, cfg.Context)
	if err != nil {
		return nil, err
	}
	// Pods come in the binary encoding: a fifth of the CPU of JSON.
	restCfg.ContentType = runtime.ContentTypeProtobuf
	restCfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// Owners are asked for while starts wait.
	restCfg.QPS, restCfg.Burst = 50, 100
	client, err := kubernetes.NewForConfig(restCfg.Config)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", restCfg.Host, err)
	}
	meta, err := metadata.NewForConfig(restCfg.Config)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", restCfg.Host, err)
	}
	cluster := cfg.Cluster
	if cluster == "" {
		cluster = restCfg.Name
	}
	return &Source{client: client, metadata: meta, host: restCfg.Host, cluster: cluster, namespace: cfg.Namespace, log: cfg.Log}, nil
}

// Cluster is the name of the cluster in events; empty where nothing names it.
func (s *Source) Cluster() string { return s.cluster }

// String names the source for people.
func (s *Source) String() string { return "kube " + s.host }

// Watch emits one start for every container that runs and for every one that
// starts, and its end, until ctx ends. Containers that ran before are marked as
// existing and come first, in the order of their start, with [event.Synced]
// behind them; those that had ended before are not reported. A broken
// watch is taken up again, and what started meanwhile is found in the pods'
// status. It returns an error when the cluster cannot be asked at the start,
// else nil at the end of ctx. emit is called from one goroutine at a time.
func (s *Source) Watch(ctx context.Context, emit func(event.Event)) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	// client-go logs through the context; what matters is told by the watch
	// error handler.
	ctx = klog.NewContext(ctx, logr.Discard())
	pods := s.client.CoreV1().Pods(s.namespace)
	health := &health{log: s.log, host: s.host}
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := pods.List(ctx, o)
			health.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := pods.Watch(ctx, o)
			health.note(ctx, err)
			return w, err
		},
	}, s.client), &corev1.Pod{}, 0, nil)
	if err := informer.SetTransform(trim); err != nil {
		return err
	}

	t := newTracker(emit)
	t.cluster, t.namespace = s.cluster, s.namespace
	owners := newOwners(ctx, s.metadata, s.namespace, s.log)
	nodes := newNodes(s.cluster, t)
	t.describe = func(start *event.Start, pod *corev1.Pod) {
		resolve(start, pod, owners.lookup)
		start.Platform = nodes.platform(pod.Spec.NodeName)
	}
	nodes.start(ctx, s)
	owners.warm()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if pod, ok := obj.(*corev1.Pod); ok {
				t.see(pod, initial)
			}
		},
		UpdateFunc: func(old, obj any) {
			pod, ok := obj.(*corev1.Pod)
			if !ok {
				return
			}
			// After a relist the pod of this name may be another one.
			if old, ok := old.(*corev1.Pod); ok && old.UID != pod.UID {
				t.forget(old)
			}
			t.see(pod, false)
		},
		DeleteFunc: func(obj any) {
			// After a relist only the last state that we saw is known, and
			// that has been looked at already.
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if pod, ok := obj.(*corev1.Pod); ok {
				t.see(pod, false)
				t.forget(pod)
			}
		},
	})
	if err != nil {
		return err
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			t.caughtUp()
		}
	})
	informer.RunWithContext(ctx)
	waiting.Wait()
	nodes.wait()
	return nil
}

// check asks the API server one small question, so that a wrong address or a
// missing permission is told at once instead of being tried for ever.
func (s *Source) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	pods := s.client.CoreV1().Pods(s.namespace)
	_, err := pods.List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: "0"})
	if err == nil {
		var w watch.Interface
		if w, err = pods.Watch(ctx, metav1.ListOptions{TimeoutSeconds: new(int64)}); err == nil {
			w.Stop()
		}
	}
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		scope := "in all namespaces (or give -n NAMESPACE)"
		if s.namespace != "" {
			scope = "in namespace " + s.namespace
		}
		return fmt.Errorf("cluster %s: %w; the user needs get, list and watch on pods %s", s.host, err, scope)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("cluster %s: %w; log in again or check the kubeconfig's user", s.host, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cluster %s: no answer within %s", s.host, checkTimeout)
	}
	return fmt.Errorf("cluster %s: %w", s.host, err)
}

// health says once that the cluster does not answer and once that it does
// again.
type health struct {
	log  *slog.Logger
	host string

	mu    sync.Mutex
	since time.Time
}

// note takes the result of one list or watch request. An expired resource
// version is the normal life of a watch: client-go lists anew, and nothing is
// lost.
func (h *health) note(ctx context.Context, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
		if !h.since.IsZero() {
			h.log.InfoContext(ctx, "cluster answers again", "cluster", h.host, "after", time.Since(h.since).Round(time.Millisecond))
			h.since = time.Time{}
		}
	case h.since.IsZero():
		h.since = time.Now()
		h.log.WarnContext(ctx, "cluster does not answer, trying until it does", "cluster", h.host, "error", err)
	}
}
