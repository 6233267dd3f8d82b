package policy

import (
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Subject is what a decision is about. A field that is not known is empty.
type Subject struct {
	Finding   finding.ID // empty for an alert of a rule that belongs to none
	Rule      string     // the name of the rule that fired
	Namespace string
	// NamespaceLabels are those of the namespace; nil where they are not known.
	NamespaceLabels map[string]string
	Workload        string // kind and name: "Deployment/api"
	Image           string // the normalised repository: "docker.io/library/nginx"
	ContainerKind   string // container, init, sidecar or ephemeral
}

// An Action is what becomes of a finding or an alert. The zero value is
// [Alert].
type Action uint8

// The actions.
const (
	Alert Action = iota // pass on unchanged
	Lower               // pass on, as a notice
	Mute                // count, but do not pass on
)

// String returns "alert", "lower" or "mute".
func (a Action) String() string {
	switch a {
	case Lower:
		return "lower"
	case Mute:
		return "mute"
	default:
		return "alert"
	}
}

// A Decision is an action and why it was taken.
type Decision struct {
	Action    Action
	Reason    string     // for people, without a full stop
	Exception *Exception // the one that applied, or nil
}

const ephemeral = "ephemeral"

// The reasons of decisions that no exception made.
const (
	becauseEphemeral      = "ephemeral containers are for debugging and end with their pod"
	becauseDevelopment    = "images change all the time in development namespaces"
	becauseInfrastructure = "the image belongs to the platform, pin it as part of baseline hardening"
	becauseNothing        = "no exception covers it"
)

// Decide returns what becomes of s at the time now. An exception that holds
// comes before everything else, and the first in the file before the others.
// Then a finding that the policy turns off in the namespace is muted. Ephemeral
// containers and infrastructure images make a difference only to findings of
// hygiene, [finding.F01] and [finding.TW02]: they are no excuse for bytes that
// changed. Decide does not allocate memory.
func (p *Policy) Decide(s Subject, now time.Time) Decision {
	reason := becauseNothing
	for _, e := range p.exceptions {
		if !e.covers(&s) {
			continue
		}
		if !e.Expired(now) {
			return Decision{Action: Mute, Reason: e.holds, Exception: e}
		}
		reason = e.noLonger
	}
	rule := p.rules[s.Finding]
	if rule == nil {
		return Decision{Action: Alert, Reason: reason}
	}
	if hygiene(s.Finding) && s.ContainerKind == ephemeral && !p.alertEphemeral {
		return Decision{Action: Mute, Reason: becauseEphemeral}
	}
	if scope := p.Scope(s.Namespace, s.NamespaceLabels); rule.effects[scope] == Off {
		return Decision{Action: Mute, Reason: rule.off[scope]}
	}
	if hygiene(s.Finding) && p.InfrastructureImage(s.Image) {
		return Decision{Action: Lower, Reason: becauseInfrastructure}
	}
	return Decision{Action: Alert, Reason: reason}
}

// hygiene reports whether a finding is about how an image is named.
func hygiene(id finding.ID) bool { return id == finding.F01 || id == finding.TW02 }
