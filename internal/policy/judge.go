package policy

import (
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Container is one container as somebody asks for it. A field that is not
// known is empty.
type Container struct {
	Namespace string
	// NamespaceLabels are those of the namespace; nil where they are not known.
	NamespaceLabels map[string]string
	Workload        string // kind and name of the top controller: "Deployment/api"
	Kind            string // container, init, sidecar, ephemeral or volume
	Image           string // the reference as it is written
}

// A Ruling is what the policy means for one container.
type Ruling struct {
	// Effect is the worst of Findings; Off where the container is let in without
	// a word. [Ruling.Decision] has the word for it.
	Effect    Effect
	Scope     Scope
	Reference image.Reference // the zero value where Class is image.Invalid
	Class     image.Class
	// Findings are what is wrong, first the reference itself, with those that
	// the policy accepts.
	Findings []Judged
}

// Judged is one finding, and what the policy makes of it.
type Judged struct {
	ID     finding.ID
	Effect Effect
	// Message says what is wrong, Fix what to write instead, Reason why the
	// effect is this one: a clause each, without a full stop.
	Message, Fix, Reason string
	// Exception is the one that accepts it, or nil.
	Exception *Exception
}

// Decision returns allow, audit, warn or deny.
func (r *Ruling) Decision() string {
	if r.Effect == Off {
		return "allow"
	}
	return r.Effect.String()
}

const becauseDebug = "the policy lists it as an image for debugging"

// Judge returns what the policy means for a container at the time now. It is
// the one answer that admission gives itself and that exported policies of
// other engines must give, too.
func (p *Policy) Judge(c *Container, now time.Time) Ruling {
	fault := p.Fault(c.Image)
	r := Ruling{Scope: p.Scope(c.Namespace, c.NamespaceLabels), Reference: fault.Reference, Class: fault.Class}
	s := Subject{
		Namespace: c.Namespace, NamespaceLabels: c.NamespaceLabels, Workload: c.Workload, ContainerKind: c.Kind,
	}
	if fault.Class != image.Invalid {
		s.Image = fault.Reference.Name()
	}
	add := func(id finding.ID, message, fix string) {
		s.Finding = id
		d := p.Decide(s, now)
		j := Judged{ID: id, Message: message, Fix: fix, Reason: d.Reason, Exception: d.Exception, Effect: p.Effect(id, r.Scope)}
		switch {
		case d.Action == Mute:
			j.Effect = Off
		case hygiene(id) && p.DebugImage(s.Image):
			j.Effect, j.Reason = Off, becauseDebug
		case d.Action == Lower:
			j.Effect = min(j.Effect, Warn)
		default:
			j.Reason = "the policy says " + j.Effect.String() + " " + r.Scope.in() + ", and " + d.Reason
		}
		r.Effect = max(r.Effect, j.Effect)
		r.Findings = append(r.Findings, j)
	}
	if fault.ID != "" {
		add(fault.ID, fault.Message, fault.Fix)
	}
	if s.Image != "" && !p.RegistryAllowed(s.Image) {
		add(finding.TW12, c.Image+" comes from "+fault.Reference.Registry()+", which the policy does not allow",
			"use an image of "+p.allowedText)
	}
	return r
}
