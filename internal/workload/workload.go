// Package workload finds out what a pod belongs to: its top controller, the
// revision of that controller's template, and the act that made the revision.
// It asks for nothing itself.
package workload

import (
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
)

// Ref names an object as an owner reference does.
type Ref struct{ APIVersion, Kind, Name, UID string }

// Object is the metadata of a Kubernetes object, as far as it matters here.
type Object struct {
	APIVersion, Kind     string
	Namespace, Name, UID string
	Created              time.Time
	Labels, Annotations  map[string]string
	// Controller is the owner that controls the object, or nil.
	Controller *Ref
	Managers   []Manager
}

// Manager is an entry of managedFields
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers).
type Manager struct {
	Name string
	Time time.Time
	// Template is set when it owns a field of the pod template.
	Template bool
}

// Lookup returns the object that ref names, or nil when it is gone or may not
// be read. What is known may be as old as notBefore, but no older.
type Lookup func(namespace string, ref Ref, notBefore time.Time) *Object

// Labels and annotations by which controllers tell the revisions of their
// template apart.
const (
	labelTemplate   = "pod-template-hash"          // Deployment
	labelRollout    = "rollouts-pod-template-hash" // Argo Rollout
	labelRevision   = "controller-revision-hash"   // StatefulSet, DaemonSet, OpenKruise
	annotationHash  = "kubernetes.io/config.hash"  // static pods
	annotationCause = "kubernetes.io/change-cause"
)

// Labelled reports whether a pod's labels tell its revision, so that a hash of
// its spec is not needed.
func Labelled(labels map[string]string) bool {
	return labels[labelTemplate] != "" || labels[labelRollout] != "" || labels[labelRevision] != ""
}

// maxDepth bounds a chain of controllers; real ones have up to four.
const maxDepth = 8

// Resolve follows the controllers of a pod to the top. specHash is a hash of
// what the pod's author wrote in its spec; it is the revision where nothing
// else tells the revisions apart. Where a controller cannot be read, the answer
// is as far as labels lead.
func Resolve(pod *Object, specHash string, lookup Lookup) (event.Workload, string, *event.Deployment) {
	if hash := pod.Annotations[annotationHash]; hash != "" {
		// A static pod: the kubelet made it from a file on the node, and the
		// API has only its mirror, which the node "controls".
		return of(pod), hash, deployment(pod, pod)
	}
	chain := []*Object{pod}
	for top := pod; top.Controller != nil && len(chain) < maxDepth; top = chain[len(chain)-1] {
		ref := *top.Controller
		owner := lookup(pod.Namespace, ref, chain[0].Created)
		if owner == nil {
			owner = guess(pod, ref)
		}
		chain = append(chain, owner)
	}
	top := chain[len(chain)-1]
	revision, made := revisionOf(pod, specHash, chain, lookup)
	return of(top), revision, deployment(made, top)
}

// guess is an owner that could not be read. Only the Deployment controller and
// Argo Rollouts give pods a template hash, and the name of their ReplicaSet is
// their own with that hash behind it.
func guess(pod *Object, ref Ref) *Object {
	o := &Object{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: pod.Namespace, Name: ref.Name, UID: ref.UID}
	if ref.Kind != "ReplicaSet" {
		return o
	}
	if name, ok := strings.CutSuffix(ref.Name, "-"+pod.Labels[labelRollout]); ok && pod.Labels[labelRollout] != "" {
		o.Controller = &Ref{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: name}
	} else if name, ok := strings.CutSuffix(ref.Name, "-"+pod.Labels[labelTemplate]); ok && pod.Labels[labelTemplate] != "" {
		o.Controller = &Ref{APIVersion: "apps/v1", Kind: "Deployment", Name: name}
	}
	return o
}

func of(o *Object) event.Workload {
	return event.Workload{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name}
}

// revisionOf returns the revision of the pod's template, and the object whose
// creation was that of the revision, or nil where it is not known.
func revisionOf(pod *Object, specHash string, chain []*Object, lookup Lookup) (string, *Object) {
	for _, label := range []string{labelRollout, labelTemplate} {
		if hash := pod.Labels[label]; hash != "" {
			return hash, kind(chain, "ReplicaSet")
		}
	}
	owner := chain[min(1, len(chain)-1)]
	if hash := pod.Labels[labelRevision]; hash != "" {
		name := hash
		if !strings.HasPrefix(hash, owner.Name+"-") {
			// A StatefulSet labels its pods with the name of the
			// ControllerRevision, a DaemonSet with its hash alone.
			name = owner.Name + "-" + hash
		}
		return hash, lookup(pod.Namespace, Ref{APIVersion: "apps/v1", Kind: "ControllerRevision", Name: name}, time.Time{})
	}
	if job := kind(chain, "Job"); job != nil {
		if chain[len(chain)-1] == job {
			return job.UID, job // A Job's template never changes.
		}
		// Each run of a CronJob has a Job of its own: the same spec is the
		// same revision.
		return specHash, job
	}
	if owner == pod {
		return specHash, pod
	}
	return specHash, nil
}

func kind(chain []*Object, kind string) *Object {
	for _, o := range chain {
		if o.Kind == kind {
			return o
		}
	}
	return nil
}

// slack is how long after a change of a template its revision may appear.
const slack = time.Minute

// deployment says what is known of the act that made a revision.
func deployment(made, top *Object) *event.Deployment {
	var d event.Deployment
	if made != nil && !made.Created.IsZero() {
		d.Time = made.Created.UTC()
	}
	var last time.Time
	for _, m := range top.Managers {
		late := !d.Time.IsZero() && m.Time.After(d.Time.Add(slack))
		if m.Template && !late && !m.Time.Before(last) {
			d.By, last = m.Name, m.Time
		}
	}
	d.Via = via(top)
	if made != nil {
		d.Cause = made.Annotations[annotationCause]
	}
	if d.Cause == "" && len(top.Annotations) > 0 {
		d.Cause = top.Annotations[annotationCause]
	}
	if d == (event.Deployment{}) {
		return nil
	}
	return &d
}

// via names the tool that says it manages an object. All of these are labels
// and annotations that anybody who may write the object can set.
func via(o *Object) string {
	for _, tool := range []struct{ words, from string }{
		{"Argo CD ", o.Annotations["argocd.argoproj.io/tracking-id"]},
		{"Argo CD application ", o.Labels["argocd.argoproj.io/instance"]},
		{"Flux HelmRelease ", o.Labels["helm.toolkit.fluxcd.io/name"]},
		{"Flux Kustomization ", o.Labels["kustomize.toolkit.fluxcd.io/name"]},
		{"Helm release ", o.Annotations["meta.helm.sh/release-name"]},
	} {
		if tool.from != "" {
			return tool.words + tool.from
		}
	}
	return ""
}
