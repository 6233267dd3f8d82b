package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const (
	// podPage is how many pods are listed at a time, and then dropped: of a large
	// cluster, only what nobody reviewed is kept.
	podPage = 500
	// watchFor is how long one watch lasts. The webhook is looked at in between.
	watchFor = 5 * time.Minute
	// retryAfter is how long after trouble the pods are listed again.
	retryAfter = 5 * time.Second
	// alertBurst and alertEvery bound how many alerts are written one by one
	// after a long outage. All pods are counted.
	alertBurst = 100
	alertEvery = time.Second
)

var podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// Unreviewed finds the pods that were let in while the webhook did not answer:
// it fails open, and this is how it is noticed. A pod that went through the
// mutating webhook has an annotation; one that is younger than the webhook, in a
// namespace that the webhook is for, and has none, did not.
//
// Whoever may create pods can write the annotation as well. So this tells of
// outages, and not of somebody who made use of one.
type Unreviewed struct {
	// Webhook is the name of the MutatingWebhookConfiguration.
	Webhook string
	// Annotation is the one that reviewed pods have.
	Annotation string
	// Namespaces know which of them the webhook is for.
	Namespaces *Namespaces

	mu    sync.Mutex
	pods  map[types.UID]bool // that were not reviewed
	limit *rate.Limiter
}

// Count is how many pods run that were not reviewed.
func (u *Unreviewed) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.pods)
}

// Run looks at all pods and then at each new one, until ctx ends.
func (u *Unreviewed) Run(ctx context.Context, c *Cluster) {
	u.limit = rate.NewLimiter(rate.Every(alertEvery), alertBurst)
	u.mu.Lock()
	u.pods = map[types.UID]bool{}
	u.mu.Unlock()
	if !cache.WaitForCacheSync(ctx.Done(), u.Namespaces.Synced) {
		return
	}
	said := ""
	for ctx.Err() == nil {
		err := u.pass(ctx, c)
		switch {
		case ctx.Err() != nil:
		case err == nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			said = ""
		default:
			if err.Error() != said {
				said = err.Error()
				c.log.WarnContext(ctx, "not known which pods were let in without a review, trying again", "error", err)
			}
			sleep(ctx, retryAfter)
		}
	}
}

// A scope is which pods the webhook is asked about.
type scope struct {
	since    time.Time
	selector labels.Selector
}

// scope reads it from the webhook as it is installed.
func (u *Unreviewed) scope(ctx context.Context, c *Cluster) (scope, error) {
	raw, err := c.client.AdmissionregistrationV1().RESTClient().Get().AbsPath(webhookPath("mutatingwebhookconfigurations", u.Webhook)).DoRaw(ctx)
	if err != nil {
		return scope{}, err
	}
	var is struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
		Webhooks []struct {
			NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
		} `json:"webhooks"`
	}
	if err := json.Unmarshal(raw, &is); err != nil {
		return scope{}, err
	}
	if len(is.Webhooks) == 0 {
		return scope{}, fmt.Errorf("mutatingwebhookconfiguration %s has no webhook", u.Webhook)
	}
	selector, err := metav1.LabelSelectorAsSelector(is.Webhooks[0].NamespaceSelector)
	if is.Webhooks[0].NamespaceSelector == nil {
		selector = labels.Everything()
	}
	return scope{since: is.Metadata.CreationTimestamp.Time, selector: selector}, err
}

// pass lists the pods and follows them for a while.
func (u *Unreviewed) pass(ctx context.Context, c *Cluster) error {
	is, err := u.scope(ctx, c)
	if err != nil {
		return err
	}
	pods := c.metadata.Resource(podsResource)
	seen := map[types.UID]bool{}
	opt := metav1.ListOptions{Limit: podPage}
	for {
		page, err := pods.List(ctx, opt)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if u.see(ctx, c, is, &page.Items[i]) {
				seen[page.Items[i].UID] = true
			}
		}
		opt.ResourceVersion = ""
		if opt.Continue = page.Continue; opt.Continue == "" {
			opt = metav1.ListOptions{ResourceVersion: page.ResourceVersion, AllowWatchBookmarks: true}
			break
		}
	}
	u.mu.Lock()
	for uid := range u.pods {
		if !seen[uid] {
			delete(u.pods, uid)
		}
	}
	u.mu.Unlock()
	ends := int64(watchFor / time.Second)
	opt.TimeoutSeconds = &ends
	w, err := pods.Watch(ctx, opt)
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		switch e.Type {
		case watch.Error:
			return apierrors.FromObject(e.Object)
		case watch.Added, watch.Deleted:
			pod, ok := e.Object.(*metav1.PartialObjectMetadata)
			if !ok {
				continue
			}
			if e.Type == watch.Deleted {
				u.mu.Lock()
				delete(u.pods, pod.UID)
				u.mu.Unlock()
				continue
			}
			u.see(ctx, c, is, pod)
		}
	}
	return nil
}

// see alerts if nobody reviewed the pod, once, and reports whether that is so.
func (u *Unreviewed) see(ctx context.Context, c *Cluster, is scope, pod *metav1.PartialObjectMetadata) bool {
	if pod.Annotations[u.Annotation] != "" || pod.Annotations["kubernetes.io/config.mirror"] != "" || !pod.CreationTimestamp.After(is.since) {
		return false
	}
	of := u.Namespaces.Labels(pod.Namespace)
	if of == nil { // It is newer than what we know.
		of = map[string]string{corev1.LabelMetadataName: pod.Namespace}
	}
	if !is.selector.Matches(labels.Set(of)) {
		return false
	}
	u.mu.Lock()
	known := u.pods[pod.UID]
	u.pods[pod.UID] = true
	u.mu.Unlock()
	if known || !u.limit.Allow() {
		return true
	}
	c.log.WarnContext(ctx, "pod was let in without a review, because the webhook did not answer", "namespace", pod.Namespace, "pod", pod.Name)
	c.warn(ctx, corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		"NotReviewed", "the pod was let in without a review, because the admission webhook did not answer: look at its images, and make it anew")
	return true
}
