// Package finding names the facts that Tagwarden calls wrong: their ids, how
// severe each one is by default, and the attack technique it belongs to.
package finding

import "fmt"

// An ID names one kind of finding. Ids are a public contract: they are never
// renamed and never used again for something else. The zero value is no
// finding at all.
type ID string

// The findings. F-01 comes from a scanner whose further F-numbers are about
// other subjects; the ones that follow here are therefore numbered TW.
const (
	F01  ID = "F-01"  // mutable image tag: untagged, latest or floating
	TW02 ID = "TW-02" // image not pinned to a digest
	TW03 ID = "TW-03" // the registry now resolves the reference to other bytes
	TW04 ID = "TW-04" // the running digest changed without a deployment event
	TW05 ID = "TW-05" // pods of one revision run different bytes
	TW06 ID = "TW-06" // no valid signature by a trusted identity
	TW07 ID = "TW-07" // a push by an unknown pusher, or that matches no deployment
	TW08 ID = "TW-08" // the running digest can no longer be pulled
	TW09 ID = "TW-09" // no runtime can pull the reference as written
	TW10 ID = "TW-10" // an exception expired or is about to expire
	TW11 ID = "TW-11" // a GitHub action is not pinned to a commit
	TW12 ID = "TW-12" // the image comes from a registry that the policy does not allow
)

// A Technique is an entry of MITRE ATT&CK.
type Technique struct {
	ID     string // "T1525"
	Name   string // "Implant Internal Image"
	Tactic string // "Persistence"
}

// IDs returns all ids in the order of their numbers.
func IDs() []ID {
	ids := make([]ID, len(definitions))
	for i, d := range definitions {
		ids[i] = d.id
	}
	return ids
}

// ParseID returns the id that s spells. Only the exact spelling counts.
func ParseID(s string) (ID, error) {
	if define(ID(s)) == nil {
		return "", fmt.Errorf("unknown finding id %q", s)
	}
	return ID(s), nil
}

// Name returns the name of id for machines, such as "mutable-image-tag". It is
// as stable as the id, and empty for an id that does not exist.
func (id ID) Name() string {
	if d := define(id); d != nil {
		return d.name
	}
	return ""
}

// Title returns what id states, in a few words for people. It is empty for an
// id that does not exist.
func (id ID) Title() string {
	if d := define(id); d != nil {
		return d.title
	}
	return ""
}

// Severity returns the default severity of id in production or elsewhere. An
// id that does not exist has severity [Info].
func (id ID) Severity(production bool) Severity {
	d := define(id)
	switch {
	case d == nil:
		return Info
	case production:
		return d.production
	default:
		return d.elsewhere
	}
}

// Technique returns the attack technique that id is a sign of, and false if id
// is about operations rather than an attack.
func (id ID) Technique() (Technique, bool) {
	if d := define(id); d != nil && d.implant {
		return Technique{ID: "T1525", Name: "Implant Internal Image", Tactic: "Persistence"}, true
	}
	return Technique{}, false
}

// definition is what is known about an id before it is found anywhere.
type definition struct {
	id                    ID
	name, title           string
	production, elsewhere Severity
	implant               bool // a sign of T1525; all others are about operations
}

var definitions = [...]definition{
	{F01, "mutable-image-tag", "mutable image tag", High, Low, true},
	{TW02, "image-not-pinned", "image not pinned to a digest", Medium, Info, true},
	{TW03, "tag-moved", "tag moved to other bytes than the ones running", Medium, Info, true},
	{TW04, "digest-changed", "digest changed without a deployment event", Critical, High, true},
	{TW05, "replica-skew", "replicas of one revision run different bytes", High, Medium, true},
	{TW06, "signature-missing", "no valid signature by a trusted identity", High, Low, true},
	{TW07, "unexpected-push", "unexpected push to the registry", High, Medium, true},
	{TW08, "rollback-impossible", "running digest can no longer be pulled", Medium, Low, false},
	{TW09, "invalid-reference", "invalid image reference", High, Medium, false},
	{TW10, "exception-expiry", "exception expired or about to expire", Medium, Low, false},
	{TW11, "mutable-action", "action not pinned to a commit", Medium, Low, false},
	{TW12, "registry-not-allowed", "registry not allowed", High, Medium, true},
}

func define(id ID) *definition {
	for i := range definitions {
		if definitions[i].id == id {
			return &definitions[i]
		}
	}
	return nil
}
