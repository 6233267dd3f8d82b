package policy

import (
	"fmt"
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
	Line    int       // of the policy file on which it starts

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

// ExpiredExceptions returns the exceptions that hold no longer, in the order
// of the file.
func (p *Policy) ExpiredExceptions(now time.Time) []*Exception {
	var expired []*Exception
	for _, e := range p.exceptions {
		if e.Expired(now) {
			expired = append(expired, e)
		}
	}
	return expired
}

// ExpiringWithin returns the exceptions that still hold, but will no longer
// once d has passed, in the order of the file.
func (p *Policy) ExpiringWithin(now time.Time, d time.Duration) []*Exception {
	var expiring []*Exception
	for _, e := range p.exceptions {
		if !e.Expired(now) && e.Expired(now.Add(d)) {
			expiring = append(expiring, e)
		}
	}
	return expiring
}
