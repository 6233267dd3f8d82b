package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

const (
	// asks is how many questions to registries are under way at once.
	asks = 8
	// askTimeout bounds one of them, waiting included.
	askTimeout = 2 * time.Minute
)

// answer is what follows from a question, done by the goroutine of the run.
type answer func(*run) error

// later runs a question beside the run and its answer in it. The question has
// a time limit; it is not asked at all once the run has ended.
func (r *run) later(question func(context.Context) answer) {
	r.pending++
	r.asking.Go(func() {
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
		case <-r.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(r.ctx, askTimeout)
		defer cancel()
		a := question(ctx)
		select {
		case r.answers <- a:
		case <-r.ctx.Done():
		}
	})
}

// ask finds out what stands behind digests, and decides about the start anew.
func (r *run) ask(w *waiting, sub *subject, questions []drift.Question) {
	var places []place
	for _, q := range questions {
		places = append(places, r.places(w.start, sub, q)...)
	}
	resolver := r.resolverFor(w.start)
	r.later(func(ctx context.Context) answer {
		contents, err := contents(ctx, resolver, places)
		return func(r *run) error {
			for _, c := range contents {
				r.ledger.ids.Add(c)
			}
			return r.rejudge(w, false, err)
		}
	})
}

// resolverFor asks with the credentials of a pod, where that is possible.
func (r *run) resolverFor(s *event.Start) Resolver {
	if f, ok := r.Resolver.(For); ok {
		return f.For(s)
	}
	return r.Resolver
}

// place is a question, and a repository that may have the answer.
type place struct {
	drift.Question
	repository image.Reference
}

// places are where a digest may be found: in the repository that the runtime
// names with it, and in the one that was asked for.
func (r *run) places(s *event.Start, sub *subject, q drift.Question) []place {
	var all []place
	add := func(name string) {
		ref, err := image.Parse(name)
		if err == nil && !slices.ContainsFunc(all, func(p place) bool { return p.repository.Name() == ref.Name() }) {
			all = append(all, place{q, ref})
		}
	}
	for seen := range sub.past.All() {
		if seen.Digest == q.Digest.String() && seen.DigestOf != "" {
			add(seen.DigestOf)
		}
	}
	add(s.Reference)
	if s.DigestOf != "" {
		add(s.DigestOf)
	}
	return all
}

// contents asks every question in its places until one has the answer.
func contents(ctx context.Context, resolver Resolver, places []place) ([]image.Content, error) {
	var all []image.Content
	errs := map[drift.Question]error{}
	found := map[drift.Question]bool{}
	for _, p := range places {
		if found[p.Question] {
			continue
		}
		contents, err := resolver.Content(ctx, p.repository, p.Digest, p.On)
		all = append(all, contents...)
		if err == nil {
			found[p.Question] = true
		} else if errs[p.Question] == nil {
			errs[p.Question] = err
		}
	}
	var failed error
	for _, p := range places {
		if err := errs[p.Question]; err != nil && !found[p.Question] {
			failed = errors.Join(failed, err)
			delete(errs, p.Question)
		}
	}
	return all, failed
}

// tagChecks is the plan of the periodic look at the references that run.
type tagChecks struct {
	every time.Duration
	next  time.Time // of a round
	queue []tagCheck
	// pace is how many references are looked at in a second.
	pace int
}

// tagCheck is a reference, and what runs for it.
type tagCheck struct {
	reference string
	runs      []*runsBy
	// push is what the look follows, or nil.
	push *event.Push
}

// runsBy is the containers of one subject that run one digest for one reference.
type runsBy struct {
	// start stands for all of them.
	start *event.Start
	pods  []string
}

func newTagChecks(every time.Duration) *tagChecks {
	return &tagChecks{every: every, next: time.Now().Add(every)}
}

// checkTags looks at the next references of the round: what do they resolve to
// now? A round is spread over its time, so that no registry is flooded.
func (r *run) checkTags(now time.Time) {
	t := r.tags
	if t.every <= 0 || r.Resolver == nil {
		return
	}
	if len(t.queue) == 0 && now.After(t.next) {
		t.next = now.Add(t.every)
		t.queue = r.ledger.tagged("")
		t.pace = 1 + 2*len(t.queue)/max(1, int(t.every/time.Second))
	}
	for range min(t.pace, len(t.queue)) {
		r.checkTag(&t.queue[0])
		t.queue = t.queue[1:]
	}
}

// tagged is what runs by a tag, by reference; of one reference alone, if it is
// given.
func (l *ledger) tagged(only string) []tagCheck {
	type key struct {
		history.Subject
		reference, digest, platform, pull string
	}
	groups := map[key]*runsBy{}
	byReference := map[string][]*runsBy{}
	for _, c := range l.live {
		s := c.start
		if only != "" && s.Reference != only {
			continue
		}
		ref, known, err := s.Requested()
		if err != nil || !known || ref.Pinned() || s.Digest == "" || s.Kind == event.Ephemeral {
			continue
		}
		k := key{c.subject.Subject, s.Reference, s.Digest, s.Platform, s.PullPolicy}
		g := groups[k]
		if g == nil {
			g = &runsBy{start: s}
			groups[k] = g
			byReference[s.Reference] = append(byReference[s.Reference], g)
		}
		if c.before(&living{start: g.start}) {
			g.start = s
		}
		g.pods = append(g.pods, s.Pod)
	}
	all := make([]tagCheck, 0, len(byReference))
	for reference, runs := range byReference {
		slices.SortFunc(runs, func(a, b *runsBy) int { return cmp.Compare(a.start.ContainerID, b.start.ContainerID) })
		all = append(all, tagCheck{reference: reference, runs: runs})
	}
	slices.SortFunc(all, func(a, b tagCheck) int { return cmp.Compare(a.reference, b.reference) })
	return all
}

// runs reports whether a container of the subject of s still runs its digest for
// its reference.
func (l *ledger) runs(s *event.Start) bool {
	sub := l.subjects[history.SubjectOf(s)]
	if sub == nil {
		return false
	}
	for seen := range sub.running {
		if seen.Digest == s.Digest && seen.Reference == s.Reference {
			return true
		}
	}
	return false
}

// checkTag compares what runs for a reference with what it resolves to now.
func (r *run) checkTag(t *tagCheck) {
	ref, err := image.Parse(t.reference)
	if err != nil {
		return
	}
	runs := t.runs
	resolver := r.resolverFor(runs[0].start)
	r.later(func(ctx context.Context) answer {
		to, err := resolver.Resolve(ctx, ref)
		var contents []image.Content
		if err == nil {
			contents, err = r.behind(ctx, resolver, ref, to, runs)
		}
		push := t.push
		return func(r *run) error { return r.resolved(ref, to, runs, push, contents, err) }
	})
}

// behind asks for the contents of a digest that a tag has now and of those that
// run, where they differ.
func (r *run) behind(ctx context.Context, resolver Resolver, ref image.Reference, to image.Digest, runs []*runsBy) ([]image.Content, error) {
	var all []image.Content
	var failed error
	for _, by := range runs {
		s := by.start
		d, err := image.ParseDigest(s.Digest)
		if err != nil || d == to {
			continue
		}
		if relation, _ := r.ledger.ids.Compare(d, to, platformOf(s)); relation != image.CannotTell {
			continue
		}
		on := platformOf(s)
		asks := []place{{drift.Question{Digest: to, On: on}, ref}, {drift.Question{Digest: d, On: on}, ref}}
		if of, err := image.Parse(s.DigestOf); err == nil && of.Name() != ref.Name() {
			asks = append(asks, place{drift.Question{Digest: d, On: on}, of})
		}
		found, err := contents(ctx, resolver, asks)
		all, failed = append(all, found...), errors.Join(failed, err)
	}
	return all, failed
}

// resolved tells of the tags that moved away from what runs.
func (r *run) resolved(ref image.Reference, to image.Digest, runs []*runsBy, push *event.Push, contents []image.Content, failed error) error {
	for _, c := range contents {
		r.ledger.ids.Add(c)
	}
	if to == "" {
		r.count(func(st *Stats) { st.Unresolved++ })
		r.Log.WarnContext(r.ctx, "reference could not be resolved", "image", ref.String(), "error", failed)
		return nil
	}
	for _, by := range runs {
		s := by.start
		if !r.ledger.runs(s) {
			continue // Another one was deployed since the round began.
		}
		f, relation := drift.TagMoved(s, to.String(), by.pods, r.policy.Production(s.Namespace), r.ledger)
		switch relation {
		case image.Different:
			f.Time = r.Now()
			if err := r.raise(&f, s); err != nil {
				return err
			}
			if err := r.overwritten(ref, to, push, s); err != nil {
				return err
			}
		case image.CannotTell:
			r.Log.WarnContext(r.ctx, "cannot tell whether the tag moved", "image", ref.String(), "running", s.Digest, "now", to.String(), "error", fmt.Sprint(failed))
		}
	}
	return nil
}
