package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// An Exception says who accepts a finding where, why, and until when. It only
// ever comes from a policy, which shares it: it must not be changed.
type Exception struct {
	Finding finding.ID // or else Rule
	Rule    string     // the name of a Falco rule, or else Finding

	Owner   string // who answers for it
	Ticket  string // the key or the address of the issue that tracks the way out
	Reason  string
	Expires time.Time // the first moment, in UTC, of the last day on which it holds
	File    string    // the policy that it stands in
	Line    int       // of File, on which it starts
	Column  int       // of that line, in characters
	Object  string    // namespace/name of the object of a cluster that it is, or ""

	// An empty pattern covers everything.
	namespace, workload, image glob
	containerKind              string

	end             time.Time // the first moment at which it no longer holds
	holds, noLonger string    // the reason of a decision before end, and after it
}

// complete computes what follows from the fields, so that no decision has to.
func (e *Exception) complete() {
	e.end = e.Expires.AddDate(0, 0, 1)
	day := e.Expires.Format(time.DateOnly)
	e.holds = fmt.Sprintf("%s accepts it until %s (%s): %s", e.Owner, day, e.Ticket, e.Reason)
	e.noLonger = fmt.Sprintf("the exception of %s (%s) expired after %s", e.Owner, e.Ticket, day)
}

// Expired reports whether e holds no longer. The day on which it expires, in
// UTC, still counts in full.
func (e *Exception) Expired(now time.Time) bool {
	return !now.Before(e.end)
}

// String returns what e covers, as the policy file has it.
func (e *Exception) String() string {
	s := string(e.Finding)
	if e.Finding == "" {
		s = "rule " + e.Rule
	}
	for _, part := range []struct{ key, value string }{
		{"namespace", e.namespace.pattern},
		{"workload", e.workload.pattern},
		{"image", e.image.pattern},
		{"containerKind", e.containerKind},
	} {
		if part.value != "" {
			s += ", " + part.key + " " + part.value
		}
	}
	return s
}

// covers reports whether e is about s. What s does not know, no pattern
// matches: nothing is ever muted by guess.
func (e *Exception) covers(s *Subject) bool {
	switch {
	case e.Finding != "" && e.Finding != s.Finding,
		e.Rule != "" && e.Rule != s.Rule,
		e.containerKind != "" && e.containerKind != s.ContainerKind:
		return false
	}
	return e.namespace.covers(s.Namespace) && e.workload.covers(s.Workload) && e.image.covers(s.Image)
}

// covers is match for a scope: no pattern covers everything, a pattern never
// covers what is not known.
func (g *glob) covers(name string) bool {
	return g.pattern == "" || name != "" && g.match(name)
}

// The scope of an exception, each a pattern; "" covers everything.

// Namespace is the pattern over namespaces.
func (e *Exception) Namespace() string { return e.namespace.pattern }

// Workload is the pattern over Kind/name.
func (e *Exception) Workload() string { return e.workload.pattern }

// Image is the pattern over normalised repositories.
func (e *Exception) Image() string { return e.image.pattern }

// ContainerKind is container, init, sidecar or ephemeral.
func (e *Exception) ContainerKind() string { return e.containerKind }

// Exceptions returns all exceptions in the order of the file, with those that
// have expired.
func (p *Policy) Exceptions() []*Exception { return slices.Clone(p.exceptions) }

// expiryNotice is how long before its end an exception becomes a finding.
const expiryNotice = 14 * 24 * time.Hour

// Expiring returns a finding TW-10 for each exception that has expired or will
// within two weeks, in the order of the file. One that has expired stays a
// finding for as long as it is in the policy.
func (p *Policy) Expiring(now time.Time) []finding.Finding {
	var all []finding.Finding
	for _, e := range p.exceptions {
		if !e.Expired(now.Add(expiryNotice)) {
			continue
		}
		day := e.Expires.Format(time.DateOnly)
		f := finding.Finding{
			ID: finding.TW10, Form: "expires", Severity: finding.TW10.Severity(e.namespace.pattern == "" || p.Production(e.namespace.pattern)),
			Subject:  finding.Subject{Namespace: e.namespace.plain(), Workload: e.workload.plain(), Kind: e.containerKind},
			Location: finding.Location{File: e.File, Line: e.Line, Column: e.Column},
			Message:  fmt.Sprintf("the exception of %s (%s) for %s ends after %s", e.Owner, e.Ticket, e, day),
			Fix:      fmt.Sprintf("finish %s, or agree on another day with %s", e.Ticket, e.Owner),
			Key:      e.String() + ", expires " + day,
		}
		if e.Expired(now) {
			f.Form = "expired"
			f.Message = fmt.Sprintf("the exception of %s (%s) for %s expired after %s and holds no longer", e.Owner, e.Ticket, e, day)
			f.Fix = fmt.Sprintf("finish %s and take the exception out, or agree on another day with %s", e.Ticket, e.Owner)
		}
		all = append(all, f)
	}
	return all
}

// plain is the pattern if it is a name, and "" otherwise.
func (g *glob) plain() string {
	if g.parts != nil {
		return ""
	}
	return g.pattern
}
