package policy

import (
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Subject is what a decision is about. A field that is not known is empty.
type Subject struct {
	Finding       finding.ID // empty for an alert of a rule that belongs to none
	Rule          string     // the name of the rule that fired
	Namespace     string
	Workload      string // kind and name: "Deployment/api"
	Image         string // the normalised repository: "docker.io/library/nginx"
	ContainerKind string // container, init, sidecar or ephemeral
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
// Ephemeral containers, development namespaces and infrastructure images make
// a difference only to findings of hygiene, [finding.F01] and [finding.TW02]:
// they are no excuse for bytes that changed. Decide does not allocate memory.
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
	if s.Finding != finding.F01 && s.Finding != finding.TW02 {
		return Decision{Action: Alert, Reason: reason}
	}
	switch {
	case s.ContainerKind == ephemeral && !p.alertEphemeral:
		return Decision{Action: Mute, Reason: becauseEphemeral}
	case p.Development(s.Namespace):
		return Decision{Action: Mute, Reason: becauseDevelopment}
	case p.InfrastructureImage(s.Image):
		return Decision{Action: Lower, Reason: becauseInfrastructure}
	}
	return Decision{Action: Alert, Reason: reason}
}
