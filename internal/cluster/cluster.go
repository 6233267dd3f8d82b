// Package cluster is what admission needs of the cluster that it serves: a
// certificate that the API server trusts, the policy as objects, the labels of
// namespaces, and the pods that were let in without having been asked about.
package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/tagwarden/tagwarden/internal/kubeconfig"
)

// A Cluster is the cluster that admission serves.
type Cluster struct {
	client   kubernetes.Interface
	metadata metadata.Interface
	dynamic  dynamic.Interface
	host     string
	now      func() time.Time
	log      *slog.Logger
}

// Connect makes a Cluster of what [kubeconfig.Load] finds. Nothing is asked
// yet.
func Connect(file, context string, now func() time.Time, log *slog.Logger) (*Cluster, error) {
	cfg, err := kubeconfig.Load(file, context)
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 50, 100
	c := &Cluster{host: cfg.Host, now: now, log: log}
	if c.client, err = kubernetes.NewForConfig(cfg.Config); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Host, err)
	}
	if c.metadata, err = metadata.NewForConfig(cfg.Config); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Host, err)
	}
	if c.dynamic, err = dynamic.NewForConfig(cfg.Config); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Host, err)
	}
	return c, nil
}

// String names the cluster for people.
func (c *Cluster) String() string { return c.host }

// component is who events and status come from.
const component = "tagwarden-admission"

// warn writes a warning event about an object. The same event about the same
// object is one, whichever replica writes it.
func (c *Cluster) warn(ctx context.Context, about corev1.ObjectReference, reason, message string) {
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault // As kubectl looks for events of the cluster's objects.
	}
	sum := sha256.Sum256([]byte(string(about.UID) + about.ResourceVersion + reason + message))
	name := about.Name
	if len(name) > 200 {
		name = name[:200]
	}
	at := metav1.NewTime(c.now())
	_, err := c.client.CoreV1().Events(namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: name + "." + hex.EncodeToString(sum[:8]), Namespace: namespace},
		InvolvedObject: about, Type: corev1.EventTypeWarning, Reason: reason, Message: clip(message),
		Source: corev1.EventSource{Component: component}, ReportingController: component,
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		c.log.WarnContext(ctx, "event not written", "object", about.Kind+" "+about.Namespace+"/"+about.Name, "reason", reason, "error", err)
	}
}

// clip keeps a message within what an event may have (k8s.io/kubernetes,
// validation of events: 1024 bytes).
func clip(s string) string {
	const most = 1000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// WarnPod writes a warning event about a pod of ours.
func (c *Cluster) WarnPod(ctx context.Context, namespace, name, reason, message string) {
	c.warn(ctx, corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name}, reason, message)
}

// quiet is ctx without client-go's own log: what matters is told by
// [Cluster.tellTrouble].
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }

// tellTrouble logs why an informer cannot list or watch, once for each reason.
// An expired resource version is the normal life of a watch.
func (c *Cluster) tellTrouble(informer cache.SharedIndexInformer, what string) error {
	var said atomic.Value
	return informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() != nil || errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return
		}
		if said.Swap(err.Error()) != err.Error() {
			c.log.WarnContext(ctx, "not followed, trying again", "what", what, "cluster", c.host, "error", err)
		}
	})
}

// sleep waits, and reports false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
