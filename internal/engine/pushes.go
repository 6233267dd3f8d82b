package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// The names of evidence of a TW-07, and its forms: nobody expects the account
// that pushed; or a full version was pushed again while it runs with other bytes,
// which no deployment can have asked for.
const (
	Pusher = "pusher"
	Pushed = "pushed"
	Addr   = "pushed-from"
	Told   = "told-by"

	FormUnknownPusher = "unknown-pusher"
	FormOverwritten   = "overwritten"
)

// push takes what a registry said: it is kept, the references that it is about
// are looked at now rather than in the next round, and a push by somebody whom
// the policy does not expect is a finding.
func (r *run) push(p *event.Push) error {
	r.batch.Pushes = append(r.batch.Pushes, p)
	starts := r.running(p)
	if r.Resolver != nil && p.Tag != "" {
		looked := map[string]bool{}
		for _, s := range starts {
			if !looked[s.Reference] {
				looked[s.Reference] = true
				for _, t := range r.ledger.tagged(s.Reference) {
					t.push = p
					r.checkTag(&t)
				}
			}
		}
	}
	known, listed := r.policy.KnownPusher(p.Repository, p.By)
	// What nothing proves is evidence for people, and no more: anybody could
	// make the registry cry wolf.
	if known || !listed || p.By == "" || p.Trust != event.Recorded {
		return nil
	}
	if len(starts) == 0 {
		// Nothing runs it yet.
		reference := p.Repository
		if p.Tag != "" {
			reference += ":" + p.Tag
		}
		starts = []*event.Start{{Time: p.Time, Source: p.Source, Cluster: p.Cluster, Reference: reference}}
	}
	for _, s := range starts {
		f := r.unexpected(p, s, FormUnknownPusher)
		if err := r.raise(&f, s); err != nil {
			return err
		}
	}
	return nil
}

// running are the containers that run by the tag of a push, one for each
// subject.
func (r *run) running(p *event.Push) []*event.Start {
	bySubject := map[history.Subject]*event.Start{}
	for _, c := range r.ledger.live {
		ref, known, err := c.start.Requested()
		if err != nil || !known || ref.Name() != p.Repository || cmp.Or(ref.Tag(), "latest") != p.Tag || ref.Pinned() {
			continue
		}
		if other := bySubject[c.subject.Subject]; other == nil || c.start.Time.Before(other.Time) {
			bySubject[c.subject.Subject] = c.start
		}
	}
	var all []*event.Start
	for _, s := range bySubject {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *event.Start) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload.String(), b.Workload.String()), cmp.Compare(a.Container, b.Container))
	})
	return all
}

// overwritten tells of the push of a full version that runs with other bytes. Tags
// that are meant to move do so with every release.
func (r *run) overwritten(ref image.Reference, to image.Digest, p *event.Push, s *event.Start) error {
	class, _ := ref.Class()
	if p == nil || class != image.Fixed || p.Trust != event.Recorded || !p.Confirmed || p.Digest != to.String() {
		return nil
	}
	f := r.unexpected(p, s, FormOverwritten)
	return r.raise(&f, s)
}

// unexpected is the finding about a push, as far as it concerns s.
func (r *run) unexpected(p *event.Push, s *event.Start, form string) finding.Finding {
	production := r.policy.Production(s.Namespace)
	at := p.Pushed
	if at.IsZero() {
		at = p.Time
	}
	f := finding.Finding{
		ID: finding.TW07, Severity: finding.TW07.Severity(production), Time: at, Form: form, Image: s.Reference,
		Key: cmp.Or(p.Digest, p.By+" "+at.UTC().Format(time.RFC3339)),
		Subject: finding.Subject{
			Cluster: s.Cluster, Namespace: s.Namespace, Revision: history.RevisionOf(s), Pod: s.Pod, Container: s.Container,
			Kind: string(s.Kind), Node: s.Node,
		},
		Fix: "find out whose account that is; if it is a right one, add it to knownPushers of the policy, else lock it and push the right image again",
	}
	if s.ContainerID != "" {
		f.Subject.Workload = history.SubjectOf(s).Workload.String()
	}
	name := s.Reference
	if ref, err := image.Parse(s.Reference); err == nil {
		name = ref.String()
	}
	f.Message = fmt.Sprintf("%s pushed %s at %s and is none of its known pushers", p.By, name, at.UTC().Format(time.RFC3339))
	if form == FormOverwritten {
		f.Message = fmt.Sprintf("%s was pushed again at %s by %s, and runs with other bytes: no deployment asked for that",
			name, at.UTC().Format(time.RFC3339), cmp.Or(p.By, "somebody"))
		f.Fix = "find out why a released version was overwritten; pin the reference to the digest that runs, before a restart pulls the new bytes"
	}
	for _, e := range []finding.Evidence{
		{Name: Pusher, Value: p.By},
		{Name: Pushed, Value: at.UTC().Format(time.RFC3339)},
		{Name: drift.To, Value: p.Digest},
		{Name: Addr, Value: p.Addr},
		{Name: Told, Value: p.Told},
	} {
		if e.Value != "" {
			f.Evidence = append(f.Evidence, e)
		}
	}
	return f
}
