package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/tagwarden/tagwarden/internal/workload"
)

const (
	// ownerTimeout bounds one question about an owner: starts wait for it.
	ownerTimeout = 5 * time.Second
	// ownerMiss is how long an owner that could not be read is not asked for
	// again.
	ownerMiss = time.Minute
	// maxOwners is how many owners are kept.
	maxOwners = 200_000
	// listPage is how many objects are asked for at once.
	listPage = 500
)

// warmed are the kinds that are listed at the start, so that not every owner
// needs a question of its own.
var warmed = []schema.GroupVersionKind{
	{Group: "apps", Version: "v1", Kind: "ReplicaSet"},
	{Group: "apps", Version: "v1", Kind: "Deployment"},
	{Group: "apps", Version: "v1", Kind: "StatefulSet"},
	{Group: "apps", Version: "v1", Kind: "DaemonSet"},
	{Group: "apps", Version: "v1", Kind: "ControllerRevision"},
	{Group: "batch", Version: "v1", Kind: "Job"},
	{Group: "batch", Version: "v1", Kind: "CronJob"},
}

// owners are the controllers of pods, by their metadata.
type owners struct {
	ctx       context.Context //nolint:containedctx // that of the watch it belongs to
	client    metadata.Interface
	namespace string
	log       *slog.Logger

	mu    sync.Mutex
	known map[ownerKey]*owner
	// denied are the resources that may not be read.
	denied map[schema.GroupVersionResource]bool
}

type ownerKey struct{ apiVersion, kind, namespace, name string }

type owner struct {
	object *workload.Object // nil: it could not be read
	asked  time.Time
}

func newOwners(ctx context.Context, client metadata.Interface, namespace string, log *slog.Logger) *owners {
	return &owners{
		ctx: ctx, client: client, namespace: namespace, log: log,
		known: map[ownerKey]*owner{}, denied: map[schema.GroupVersionResource]bool{},
	}
}

// warm lists the owners that there are. What cannot be listed is asked for one
// by one, or done without.
func (o *owners) warm() {
	for _, gvk := range warmed {
		gvr, _ := meta.UnsafeGuessKindToResource(gvk)
		opt := metav1.ListOptions{Limit: listPage}
		for {
			ctx, cancel := context.WithTimeout(o.ctx, checkTimeout)
			page, err := o.client.Resource(gvr).Namespace(o.namespace).List(ctx, opt)
			cancel()
			if err != nil {
				break
			}
			now := time.Now()
			o.mu.Lock()
			for i := range page.Items {
				m := &page.Items[i]
				if gvk.Kind == "ControllerRevision" && len(o.known) > maxOwners/2 {
					break
				}
				apiVersion := gvk.GroupVersion().String()
				o.keep(ownerKey{apiVersion, gvk.Kind, m.Namespace, m.Name}, &owner{objectOf(apiVersion, gvk.Kind, &m.ObjectMeta), now})
			}
			o.mu.Unlock()
			if opt.Continue = page.Continue; opt.Continue == "" {
				break
			}
		}
	}
}

// keep remembers an owner, at the cost of any other one.
func (o *owners) keep(key ownerKey, x *owner) {
	if len(o.known) >= maxOwners {
		for old := range o.known {
			delete(o.known, old)
			break
		}
	}
	o.known[key] = x
}

// lookup is the [workload.Lookup] of the cluster.
func (o *owners) lookup(namespace string, ref workload.Ref, notBefore time.Time) *workload.Object {
	key := ownerKey{ref.APIVersion, ref.Kind, namespace, ref.Name}
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil
	}
	gvr, _ := meta.UnsafeGuessKindToResource(gv.WithKind(ref.Kind))
	o.mu.Lock()
	x, denied := o.known[key], o.denied[gvr]
	o.mu.Unlock()
	switch now := time.Now(); {
	case x != nil && x.object != nil && !x.asked.Before(notBefore) && (ref.UID == "" || x.object.UID == ref.UID):
		return x.object
	case x != nil && x.object == nil && now.Sub(x.asked) < ownerMiss, denied, ref.Kind == "Node":
		return nil
	}
	ctx, cancel := context.WithTimeout(o.ctx, ownerTimeout)
	defer cancel()
	got, err := o.client.Resource(gvr).Namespace(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	old := x
	x = &owner{asked: time.Now()}
	switch {
	case err == nil:
		x.object = objectOf(ref.APIVersion, ref.Kind, &got.ObjectMeta)
	case apierrors.IsForbidden(err):
		o.deny(gvr)
	case apierrors.IsNotFound(err):
	case old != nil && old.object != nil && (ref.UID == "" || old.object.UID == ref.UID):
		// The API server gave no answer. What is known is old, and better than
		// a workload of another name.
		return old.object
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(key, x)
	if x.object != nil && ref.UID != "" && x.object.UID != ref.UID {
		return nil // Another one by that name.
	}
	return x.object
}

// deny notes that a resource may not be read, and says so once.
func (o *owners) deny(gvr schema.GroupVersionResource) {
	o.mu.Lock()
	again := o.denied[gvr]
	o.denied[gvr] = true
	o.mu.Unlock()
	if !again {
		o.log.WarnContext(o.ctx, "workloads are told by labels only, and not who deployed them", "needs", "get on "+gvr.GroupResource().String())
	}
}

// objectOf keeps of an object's metadata what tells about deployments.
func objectOf(apiVersion, kind string, m *metav1.ObjectMeta) *workload.Object {
	o := &workload.Object{
		APIVersion: apiVersion, Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID),
		Created: m.CreationTimestamp.Time, Labels: m.Labels,
	}
	for _, key := range annotationsKept {
		if v, ok := m.Annotations[key]; ok {
			if o.Annotations == nil {
				o.Annotations = map[string]string{}
			}
			o.Annotations[key] = v
		}
	}
	if c := metav1.GetControllerOfNoCopy(m); c != nil {
		o.Controller = &workload.Ref{APIVersion: c.APIVersion, Kind: c.Kind, Name: c.Name, UID: string(c.UID)}
	}
	for i := range m.ManagedFields {
		f := &m.ManagedFields[i]
		if f.Subresource != "" || f.Time == nil {
			continue
		}
		o.Managers = append(o.Managers, workload.Manager{Name: f.Manager, Time: f.Time.Time, Template: ownsTemplate(f.FieldsV1)})
	}
	return o
}

// annotationsKept are those that tell what an object belongs to, and who
// deployed it.
var annotationsKept = []string{
	"kubernetes.io/change-cause", annotationStatic, "meta.helm.sh/release-name", "argocd.argoproj.io/tracking-id",
}

// ownsTemplate reports whether managed fields have one below spec.template,
// below the template of a CronJob's job, or among the containers of a pod.
func ownsTemplate(fields *metav1.FieldsV1) bool {
	if fields == nil {
		return false
	}
	var tree struct {
		Spec struct {
			Template json.RawMessage `json:"f:template"`
			Job      json.RawMessage `json:"f:jobTemplate"`
			Pod      json.RawMessage `json:"f:containers"`
		} `json:"f:spec"`
	}
	if json.Unmarshal(fields.GetRawBytes(), &tree) != nil {
		return false
	}
	return len(tree.Spec.Template) > 0 || len(tree.Spec.Job) > 0 || len(tree.Spec.Pod) > 0
}

// digestsOf are the digests among the names of an image on a node.
func digestsOf(names []string) []string {
	var all []string
	for _, name := range names {
		if _, digest, ok := strings.Cut(name, "@"); ok && !slices.Contains(all, digest) {
			all = append(all, digest)
		}
	}
	slices.Sort(all)
	return all
}

func platform(os, arch string) string {
	if os == "" || arch == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s", os, arch)
}
