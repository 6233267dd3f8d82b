package policy

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// Admission says how requests to the API server are answered.
type Admission struct {
	Pin Pin
	// Unresolved is what becomes of a reference that should be pinned when the
	// registry does not tell its digest: Off lets it in as it is, Warn says so,
	// Deny refuses it where it is in production.
	Unresolved Effect
	// DenyMade denies what the controllers of Kubernetes make from templates that
	// are there already, too. Without it such pods are let in with a warning: the
	// template was let in, or is older than the policy, and a pod that cannot
	// come back when its node fails is an outage.
	DenyMade bool
}

// Pin says in which objects tags are pinned to digests.
type Pin uint8

// The choices of what is pinned.
const (
	// PinPods pins pods alone. What controllers and GitOps tools own stays as it
	// is written, so that they see no difference.
	PinPods Pin = iota
	// PinTemplates pins the templates of controllers, too.
	PinTemplates
	// PinNothing changes nothing.
	PinNothing
)

// The values of admission.pin and admission.unresolved, in the order of what
// they stand for.
var (
	pinWords        = []string{"pods", "templates", "off"}
	unresolvedWords = []string{"allow", "warn", "deny"}
	// controllersWords are the values of admission.controllers.
	controllersWords = []string{"warn", "deny"}
)

// String returns pods, templates or off.
func (p Pin) String() string { return pinWords[min(int(p), len(pinWords)-1)] }

// Admission returns how requests to the API server are answered.
func (p *Policy) Admission() Admission { return p.admission }

func (r *reader) admission(n *yaml.Node, path string, a *Admission) {
	r.mapping(n, path,
		field{"pin", func(n *yaml.Node, path string) {
			s, _ := r.choice(n, path, pinWords...)
			a.Pin = Pin(max(slices.Index(pinWords, s), 0))
		}},
		field{"unresolved", func(n *yaml.Node, path string) {
			s, _ := r.choice(n, path, unresolvedWords...)
			a.Unresolved = []Effect{Off, Warn, Deny}[max(slices.Index(unresolvedWords, s), 0)]
		}},
		field{"controllers", func(n *yaml.Node, path string) {
			s, _ := r.choice(n, path, controllersWords...)
			a.DenyMade = s == "deny"
		}},
	)
}
