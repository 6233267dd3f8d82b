package admission

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// An operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// restores returns the pinned reference that the container has already, if u is
// the one that it was pinned from. Whoever applies the same manifest again, by
// hand or by a GitOps tool, changes nothing then, even if the tag has moved.
func (s *subject) restores(u *use) string {
	if s.request.Operation != admissionv1.Update || s.oldMeta[annotation(u)] != u.image {
		return ""
	}
	old := before(s.old, u)
	was, err := image.Parse(old)
	if err != nil || !was.Pinned() {
		return ""
	}
	// The annotation is anybody's to write; it may not lead to another image.
	if asked, err := image.Parse(u.image); err != nil || asked.Name() != was.Name() || asked.Tag() != was.Tag() {
		return ""
	}
	return old
}

func annotation(u *use) string {
	if u.kind == "volume" {
		return prefixVolume + u.name
	}
	return prefixContainer + u.name
}

// Mutate pins the references of a pod to the digests that they stand for now,
// and marks the pod as reviewed. What would be denied stays as it is, so that
// the denial says what was asked for; what is off stays as it is, too. The
// answer does not depend on whether the request is a dry run.
func (r *Reviewer) Mutate(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	resp := allow(req)
	s, err := r.open(req)
	if err != nil {
		return r.unreviewed(ctx, resp, err)
	}
	if s == nil || s.mirror() || s.Metadata.missing {
		return resp
	}
	p := &patcher{annotations: s.Metadata.Annotations}
	if s.pinned() {
		if !r.pin(ctx, s, p, resp) {
			return resp
		}
	}
	if s.isPod() && req.Operation == admissionv1.Create {
		p.annotate(AnnotationReviewed, "true")
	}
	ops := p.patch()
	if len(ops) == 0 {
		return resp
	}
	patch, err := json.Marshal(ops)
	if err != nil {
		return r.unreviewed(ctx, resp, err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	resp.Patch, resp.PatchType = patch, &kind
	return resp
}

// pinned reports whether the policy wants tags pinned in objects of this shape.
func (s *subject) pinned() bool {
	switch s.policy.Admission().Pin {
	case policy.PinTemplates:
		// What a controller makes from a template is pinned with the template, or
		// as a pod; a ReplicaSet that differs from its Deployment would be
		// replaced for ever.
		return s.isPod() || !s.made
	case policy.PinPods:
		return s.isPod()
	default:
		return false
	}
}

// A question is a reference whose digest is asked for.
type question struct {
	use    *use
	ref    image.Reference
	warns  []policy.Judged
	scope  policy.Scope
	digest image.Digest
	err    error
}

// pin writes the digests of the references of s into p. It reports false when
// the request is denied because of one that cannot be had.
func (r *Reviewer) pin(ctx context.Context, s *subject, p *patcher, resp *admissionv1.AdmissionResponse) bool {
	var asked []*question
	for i := range s.uses {
		u := &s.uses[i]
		if !s.changed(u) {
			continue
		}
		if old := s.restores(u); old != "" {
			p.replace(u.pointer, old)
			p.annotate(annotation(u), u.image)
			continue
		}
		ruling := s.judge(u)
		if ruling.Class == image.Pinned || ruling.Class == image.Invalid || ruling.Effect == policy.Off || ruling.Effect == policy.Deny {
			s.forget(p, u)
			continue
		}
		q := &question{use: u, ref: ruling.Reference, scope: ruling.Scope}
		for _, j := range ruling.Findings {
			if j.Effect == policy.Warn {
				q.warns = append(q.warns, j)
			}
		}
		asked = append(asked, q)
	}
	r.ask(ctx, s, asked)
	for _, q := range asked {
		u := q.use
		if q.err != nil {
			if !r.unresolved(ctx, s, q, resp) {
				return false
			}
			s.forget(p, u)
			continue
		}
		pinned := u.image + "@" + q.digest.String()
		r.metrics.pinned.Add(1)
		p.replace(u.pointer, pinned)
		p.annotate(annotation(u), u.image)
		for _, j := range q.warns {
			resp.Warnings = append(resp.Warnings, clip("tagwarden: "+u.kind+" "+u.name+" is pinned to "+pinned+": "+j.Message+" ("+string(j.ID)+")", maxWarning))
		}
	}
	return true
}

// ask asks for all digests at a time, within one time limit. What is known takes
// no goroutine: under load those would wait behind everybody else's reviews.
func (r *Reviewer) ask(ctx context.Context, s *subject, questions []*question) {
	var asked []*question
	for _, q := range questions {
		if r.Known != nil {
			if d, ok := r.Known(q.ref); ok {
				q.digest = d
				continue
			}
		}
		asked = append(asked, q)
	}
	if len(asked) == 0 {
		return
	}
	if r.Resolve == nil {
		for _, q := range asked {
			q.err = errUnresolved
		}
		return
	}
	var secrets []string
	for _, secret := range s.spec.ImagePullSecrets {
		secrets = append(secrets, secret.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.ResolveTimeout, defaultResolveTimeout))
	defer cancel()
	one := func(q *question) { q.digest, q.err = r.Resolve(ctx, q.ref, s.base.Namespace, secrets) }
	if len(asked) == 1 {
		one(asked[0])
		return
	}
	var group sync.WaitGroup
	for _, q := range asked {
		group.Go(func() { one(q) })
	}
	group.Wait()
}

const defaultResolveTimeout = 2 * time.Second

// unresolved does what the policy says about a reference whose digest could not
// be had. It reports false when that is to deny.
func (r *Reviewer) unresolved(ctx context.Context, s *subject, q *question, resp *admissionv1.AdmissionResponse) bool {
	u := q.use
	r.metrics.unresolved.Add(1)
	r.Log.WarnContext(ctx, "digest not known, not pinned", "namespace", s.base.Namespace, "workload", s.base.Workload, "image", u.image, "error", q.err)
	message := fmt.Sprintf("%s %s: %s is not pinned, because its digest could not be had: %v", u.kind, u.name, u.image, q.err)
	switch effect := s.policy.Admission().Unresolved; {
	case effect == policy.Deny && q.scope == policy.Production && !s.spared():
		deny(resp, fmt.Sprintf("tagwarden: not let into namespace %s: %s; write the digest, or set admission.unresolved in the policy", s.base.Namespace, message))
		return false
	case effect >= policy.Warn:
		resp.Warnings = append(resp.Warnings, clip("tagwarden: "+message, maxWarning))
	}
	return true
}

// spared reports whether a denial would hit a controller that only carries out
// what was let in.
func (s *subject) spared() bool { return s.made && !s.policy.Admission().DenyMade }

// forget removes the annotation of a reference that is another now. One that
// was pinned a moment ago keeps it: the webhook may be asked twice.
func (s *subject) forget(p *patcher, u *use) {
	key := annotation(u)
	had, ok := s.Metadata.Annotations[key]
	if !ok {
		return
	}
	for i := range s.uses {
		if annotation(&s.uses[i]) == key && strings.HasPrefix(s.uses[i].image, had+"@") {
			return
		}
	}
	p.remove(key)
}

// A patcher collects the changes of one object.
type patcher struct {
	annotations map[string]string // of the object
	ops         []operation
	changes     []change // of annotations, one a key
}

// A change sets an annotation, or removes it if value is nil.
type change struct {
	key   string
	value *string
}

func (p *patcher) replace(pointer, value string) {
	p.ops = append(p.ops, operation{Op: "replace", Path: pointer, Value: value})
}

func (p *patcher) annotate(key, value string) { p.change(key, &value) }
func (p *patcher) remove(key string)          { p.change(key, nil) }

func (p *patcher) change(key string, value *string) {
	for i := range p.changes {
		if p.changes[i].key == key {
			p.changes[i].value = value
			return
		}
	}
	p.changes = append(p.changes, change{key, value})
}

// patch returns all operations.
func (p *patcher) patch() []operation {
	ops, there := p.ops, p.annotations != nil
	for _, c := range p.changes {
		had, ok := p.annotations[c.key]
		path := "/metadata/annotations/" + escape(c.key)
		switch {
		case c.value == nil && ok:
			ops = append(ops, operation{Op: "remove", Path: path})
		case c.value == nil, ok && had == *c.value:
		default:
			if !there {
				ops, there = append(ops, operation{Op: "add", Path: "/metadata/annotations", Value: map[string]string{}}), true
			}
			ops = append(ops, operation{Op: "add", Path: path, Value: *c.value})
		}
	}
	return ops
}

// escaping writes a key as a part of a JSON pointer (RFC 6901).
var escaping = strings.NewReplacer("~", "~0", "/", "~1")

func escape(key string) string { return escaping.Replace(key) }
