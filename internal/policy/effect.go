package policy

import (
	"fmt"
	"slices"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// An Effect is what the policy makes of a finding where an image is asked for.
// Effects are ordered: a larger one is worse. The zero value is [Off].
type Effect uint8

// The effects.
const (
	Off   Effect = iota // it is no finding there
	Audit               // it is recorded, and alerted where it runs
	Warn                // whoever asked is warned
	Deny                // it is not let in
)

var effectNames = []string{"off", "audit", "warn", "deny"}

// String returns off, audit, warn or deny.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return fmt.Sprintf("Effect(%d)", uint8(e))
}

// A Scope is which of the three kinds a namespace is of.
type Scope uint8

// The scopes. A namespace that is both production and development counts as
// production.
const (
	Elsewhere Scope = iota
	Production
	Development
)

var scopeNames = []string{"elsewhere", "production", "development"}

// String returns elsewhere, production or development.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return fmt.Sprintf("Scope(%d)", uint8(s))
}

// in is where the scope is, for sentences.
func (s Scope) in() string {
	switch s {
	case Production:
		return "in production"
	case Development:
		return "in development namespaces"
	default:
		return "outside of production"
	}
}

// A rule is what one finding does in each scope.
type rule struct {
	effects [3]Effect // by Scope
	off     [3]string // the reason of a decision where it is off
}

func newRule(id finding.ID, effects [3]Effect) *rule {
	r := &rule{effects: effects}
	for s := range r.off {
		r.off[s] = fmt.Sprintf("the policy turns %s off %s", id, Scope(s).in())
	}
	if id == finding.F01 || id == finding.TW02 {
		r.off[Development] = becauseDevelopment
	}
	return r
}

// defaultEffects are those of a policy that does not set its own, in the order
// elsewhere, production, development. What is not here is audited everywhere.
//
// "Require image digests or fixed semantic version tags in all production
// manifests": so mutable tags are denied there, and fixed ones only warned
// about.
var defaultEffects = map[finding.ID][3]Effect{
	finding.F01:  {Warn, Deny, Off},
	finding.TW02: {Audit, Warn, Off},
	finding.TW09: {Warn, Deny, Warn},
	finding.TW12: {Warn, Deny, Warn},
}

// admitted are the findings that can be known before an image runs, so that it
// can be denied.
var admitted = []finding.ID{finding.F01, finding.TW02, finding.TW09, finding.TW12}

// Admitted reports whether id can be known of a reference as it is asked for,
// so that deny and warn mean something. All others are found out later, or
// elsewhere, and are audited or off.
func Admitted(id finding.ID) bool { return slices.Contains(admitted, id) }

func defaultRules() map[finding.ID]*rule {
	rules := map[finding.ID]*rule{}
	for _, id := range finding.IDs() {
		effects, ok := defaultEffects[id]
		if !ok {
			effects = [3]Effect{Audit, Audit, Audit}
		}
		rules[id] = newRule(id, effects)
	}
	return rules
}

// Effect returns what the finding id does in a scope, before exceptions and
// without regard to images.
func (p *Policy) Effect(id finding.ID, s Scope) Effect {
	if r := p.rules[id]; r != nil && int(s) < len(r.effects) {
		return r.effects[s]
	}
	return Audit
}
