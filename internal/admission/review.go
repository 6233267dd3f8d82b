// Package admission answers the API server's question whether an object may be
// let in, by the policy: validate allows, warns or denies, and mutate pins the
// tags of pods to digests. What it asks of a registry or of the cluster is given
// to it; it talks to neither itself.
package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/workload"
)

// A Reviewer answers admission reviews. It is safe for concurrent use.
type Reviewer struct {
	// Policy is the policy of now.
	Policy func() *policy.Policy
	// Resolve says which digest a reference stands for now, with the pull
	// secrets of a namespace; nil pins nothing.
	Resolve func(ctx context.Context, ref image.Reference, namespace string, pullSecrets []string) (image.Digest, error)
	// Known says the same where that needs no question, and at once; nil knows
	// nothing.
	Known func(ref image.Reference) (image.Digest, bool)
	// NamespaceLabels returns the labels of a namespace, and nil if they are not
	// known; nil knows none.
	NamespaceLabels func(namespace string) map[string]string
	// ResolveTimeout bounds all questions about one object; 0 means 2 seconds.
	ResolveTimeout time.Duration
	Now            func() time.Time
	Log            *slog.Logger

	metrics metrics
}

// The annotations that mutate writes.
const (
	// AnnotationReviewed is on every pod that was created through the webhook.
	AnnotationReviewed = "tagwarden.dev/reviewed"
	// prefixContainer and prefixVolume come before the name of a container or a
	// volume. The value is the reference as it was asked for.
	prefixContainer = "original-image.tagwarden.dev/"
	prefixVolume    = "original-volume.tagwarden.dev/"
)

// maxWarning is how long a warning may be: the API server cuts longer ones
// (k8s.io/apiserver, webhook validating dispatcher; KEP-1693).
const maxWarning = 250

// maxMessage is how long a denial may be, in bytes.
const maxMessage = 4000

// A subject is one object under review.
type subject struct {
	*object
	request *admissionv1.AdmissionRequest
	policy  *policy.Policy
	now     time.Time

	uses, old []use
	oldMeta   map[string]string // the annotations of the object that is being changed
	pointer   string
	spec      *podSpec
	base      policy.Container
	// made is set for what a controller of Kubernetes makes from a template.
	made bool
}

// open reads the object of a request. A nil subject without an error has no
// references.
func (r *Reviewer) open(req *admissionv1.AdmissionRequest) (*subject, error) {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return nil, nil //nolint:nilnil // Nothing to look at is no error.
	}
	o, err := decode(req.Object.Raw)
	if err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	spec, pointer := o.pod()
	if spec == nil {
		return nil, nil //nolint:nilnil // The same.
	}
	s := &subject{object: o, request: req, policy: r.Policy(), now: r.Now(), spec: spec, pointer: pointer, uses: spec.uses(pointer)}
	if req.Operation == admissionv1.Update {
		old, err := decode(req.OldObject.Raw)
		if err != nil {
			return nil, fmt.Errorf("read the old object: %w", err)
		}
		if spec, pointer := old.pod(); spec != nil {
			s.old = spec.uses(pointer)
		}
		s.oldMeta = old.Metadata.Annotations
	}
	namespace := req.Namespace
	if namespace == "" {
		namespace = o.Metadata.Namespace
	}
	s.base = policy.Container{Namespace: namespace, Workload: workloadOf(o, namespace)}
	if r.NamespaceLabels != nil && s.policy.UsesLabels() {
		s.base.NamespaceLabels = r.NamespaceLabels(namespace)
	}
	s.made = req.Operation == admissionv1.Create && controllers[req.UserInfo.Username] || s.mirror()
	return s, nil
}

// mirror reports whether the object is what the kubelet shows of a static pod,
// which it runs whatever becomes of the object.
func (s *subject) mirror() bool {
	return s.isPod() && s.Metadata.Annotations["kubernetes.io/config.mirror"] != "" && strings.HasPrefix(s.request.UserInfo.Username, "system:node:")
}

// workloadOf is the top controller of o, as far as o tells, as Kind/name.
func workloadOf(o *object, namespace string) string {
	m := o.Metadata
	name := m.Name
	if name == "" {
		name = strings.TrimSuffix(m.GenerateName, "-")
	}
	of := &workload.Object{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: namespace, Name: name, Labels: m.Labels, Annotations: m.Annotations}
	for _, owner := range m.OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			of.Controller = &workload.Ref{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID}
		}
	}
	top, _, _ := workload.Resolve(of, "", func(string, workload.Ref, time.Time) *workload.Object { return nil })
	return top.Kind + "/" + top.Name
}

// controllers are the users of the controllers of Kubernetes that make objects
// from templates (k8s.io/kubernetes,
// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go). The API
// server has authenticated the name; owner references, which anybody can write,
// do not count.
var controllers = map[string]bool{
	"system:kube-controller-manager":                           true, // without a service account for each
	"system:serviceaccount:kube-system:cronjob-controller":     true,
	"system:serviceaccount:kube-system:daemon-set-controller":  true,
	"system:serviceaccount:kube-system:deployment-controller":  true,
	"system:serviceaccount:kube-system:job-controller":         true,
	"system:serviceaccount:kube-system:replicaset-controller":  true,
	"system:serviceaccount:kube-system:replication-controller": true,
	"system:serviceaccount:kube-system:statefulset-controller": true,
}

// changed reports whether a reference is new, or another than before.
func (s *subject) changed(u *use) bool {
	return s.request.Operation == admissionv1.Create || before(s.old, u) != u.image
}

// judge is what the policy means for one reference. What a controller makes is
// not denied, unless the policy wants it: its template was let in, and a pod
// that is denied when it moves to another node would be an outage.
func (s *subject) judge(u *use) policy.Ruling {
	c := s.base
	c.Kind, c.Image = u.kind, u.image
	r := s.policy.Judge(&c, s.now)
	if s.made && r.Effect == policy.Deny && !s.policy.Admission().DenyMade {
		r.Effect = policy.Warn
		for i := range r.Findings {
			r.Findings[i].Effect = min(r.Findings[i].Effect, policy.Warn)
		}
	}
	return r
}

// Validate allows, warns or denies. The answer has the UID of the request.
func (r *Reviewer) Validate(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	resp := allow(req)
	s, err := r.open(req)
	if err != nil {
		return r.unreviewed(ctx, resp, err)
	}
	if s == nil {
		return resp
	}
	var denied []string
	for i := range s.uses {
		u := &s.uses[i]
		if !s.changed(u) {
			continue
		}
		ruling := s.judge(u)
		for _, j := range ruling.Findings {
			r.metrics.judged(j.ID, j.Effect)
			switch j.Effect {
			case policy.Warn:
				resp.Warnings = append(resp.Warnings, clip("tagwarden: "+j.Message+" ("+string(j.ID)+", "+u.kind+" "+u.name+"); "+j.Fix, maxWarning))
			case policy.Deny:
				text := fmt.Sprintf("%s %s: %s (%s); %s", u.kind, u.name, j.Message, j.ID, j.Fix)
				if strings.Contains(j.Reason, "expired") {
					text += "; " + j.Reason
				}
				denied = append(denied, text)
			}
		}
	}
	if len(denied) > 0 {
		deny(resp, fmt.Sprintf("tagwarden: not let into namespace %s: %s", s.base.Namespace, strings.Join(denied, "; and ")))
	}
	return resp
}

// allow is the answer that lets a request pass as it is.
func allow(req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: req.UID, Allowed: true}
}

func deny(resp *admissionv1.AdmissionResponse, message string) {
	resp.Allowed, resp.Patch, resp.PatchType = false, nil, nil
	resp.Result = &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: clip(message, maxMessage),
	}
}

// unreviewed lets a request pass that could not be looked at, and says so.
func (r *Reviewer) unreviewed(ctx context.Context, resp *admissionv1.AdmissionResponse, err error) *admissionv1.AdmissionResponse {
	r.metrics.unreviewed.Add(1)
	r.Log.ErrorContext(ctx, "object not reviewed", "uid", resp.UID, "error", err)
	resp.Warnings = append(resp.Warnings, clip("tagwarden: let in without a review: "+err.Error(), maxWarning))
	return resp
}

// clip shortens text to at most that many bytes.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "…"
	return strings.ToValidUTF8(text[:most-len(mark)], "") + mark
}

// errUnresolved stands in the way of a digest when nobody may ask for it.
var errUnresolved = errors.New("registries are not asked here")
