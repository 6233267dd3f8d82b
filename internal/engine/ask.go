package engine

import (
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
func (r *run) ask(w *waiting, sub *subject, digests []image.Digest) {
	on := platformOf(w.start)
	var places []place
	for _, d := range digests {
		places = append(places, r.places(w.start, sub, d)...)
	}
	resolver := r.resolverFor(w.start)
	r.later(func(ctx context.Context) answer {
		contents, err := contents(ctx, resolver, places, on)
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

// place is a digest and a repository that may have it.
type place struct {
	digest     image.Digest
	repository image.Reference
}

// places are where a digest may be found: in the repository that the runtime
// names with it, and in the one that was asked for.
func (r *run) places(s *event.Start, sub *subject, d image.Digest) []place {
	var all []place
	add := func(name string) {
		ref, err := image.Parse(name)
		if err == nil && !slices.ContainsFunc(all, func(p place) bool { return p.repository.Name() == ref.Name() }) {
			all = append(all, place{d, ref})
		}
	}
	for seen := range sub.past.All() {
		if seen.Digest == d.String() && seen.DigestOf != "" {
			add(seen.DigestOf)
		}
	}
	add(s.Reference)
	if s.DigestOf != "" {
		add(s.DigestOf)
	}
	return all
}

// contents asks for every digest in its places until one has it.
func contents(ctx context.Context, resolver Resolver, places []place, on image.Platform) ([]image.Content, error) {
	var all []image.Content
	errs := map[image.Digest]error{}
	found := map[image.Digest]bool{}
	for _, p := range places {
		if found[p.digest] {
			continue
		}
		contents, err := resolver.Content(ctx, p.repository, p.digest, on)
		all = append(all, contents...)
		if err == nil {
			found[p.digest] = true
		} else if errs[p.digest] == nil {
			errs[p.digest] = err
		}
	}
	var failed error
	for _, p := range places {
		if err := errs[p.digest]; err != nil && !found[p.digest] {
			failed = errors.Join(failed, err)
			delete(errs, p.digest)
		}
	}
	return all, failed
}

// tagChecks is the plan of the periodic look at the references that run.
type tagChecks struct {
	every time.Duration
	next  time.Time // of a round
	queue []string
	// pace is how many references are looked at in a second.
	pace int
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
		distinct := map[string]bool{}
		for _, c := range r.ledger.live {
			if ref, known, err := c.start.Requested(); err == nil && known && !ref.Pinned() && c.start.Digest != "" {
				distinct[c.start.Reference] = true
			}
		}
		for ref := range distinct {
			t.queue = append(t.queue, ref)
		}
		slices.Sort(t.queue)
		t.pace = 1 + 2*len(t.queue)/max(1, int(t.every/time.Second))
	}
	for range min(t.pace, len(t.queue)) {
		r.checkTag(t.queue[0])
		t.queue = t.queue[1:]
	}
}

// checkTag compares what runs for a reference with what it resolves to now.
func (r *run) checkTag(reference string) {
	ref, err := image.Parse(reference)
	if err != nil {
		return
	}
	// One container for each subject and digest stands for all of them.
	type group struct {
		history.Subject
		digest, platform string
	}
	groups := map[group]*event.Start{}
	for _, c := range r.ledger.live {
		if s := c.start; s.Reference == reference && s.Digest != "" {
			groups[group{c.subject.Subject, s.Digest, s.Platform}] = s
		}
	}
	var starts []*event.Start
	for _, s := range groups {
		starts = append(starts, s)
	}
	if len(starts) == 0 {
		return
	}
	resolver := r.resolverFor(starts[0])
	r.later(func(ctx context.Context) answer {
		to, err := resolver.Resolve(ctx, ref)
		var contents []image.Content
		if err == nil {
			contents, err = r.behind(ctx, resolver, ref, to, starts)
		}
		return func(r *run) error { return r.resolved(ref, to, starts, contents, err) }
	})
}

// behind asks for the contents of a digest that a tag has now and of those that
// run, where they differ.
func (r *run) behind(ctx context.Context, resolver Resolver, ref image.Reference, to image.Digest, starts []*event.Start) ([]image.Content, error) {
	var all []image.Content
	var failed error
	for _, s := range starts {
		d, err := image.ParseDigest(s.Digest)
		if err != nil || d == to {
			continue
		}
		if relation, _ := r.ledger.ids.Compare(d, to, platformOf(s)); relation != image.CannotTell {
			continue
		}
		for _, ask := range []image.Digest{to, d} {
			contents, err := resolver.Content(ctx, ref, ask, platformOf(s))
			all, failed = append(all, contents...), errors.Join(failed, err)
		}
	}
	return all, failed
}

// resolved tells of the tags that moved away from what runs.
func (r *run) resolved(ref image.Reference, to image.Digest, starts []*event.Start, contents []image.Content, failed error) error {
	for _, c := range contents {
		r.ledger.ids.Add(c)
	}
	if to == "" {
		r.count(func(st *Stats) { st.Unresolved++ })
		r.Log.WarnContext(r.ctx, "reference could not be resolved", "image", ref.String(), "error", failed)
		return nil
	}
	for _, s := range starts {
		if r.ledger.live[s.ContainerID] == nil {
			continue
		}
		f, relation := drift.TagMoved(s, to.String(), r.policy.Production(s.Namespace), r.ledger)
		switch relation {
		case image.Different:
			f.Time = r.Now()
			if err := r.raise(&f, s); err != nil {
				return err
			}
		case image.CannotTell:
			r.Log.WarnContext(r.ctx, "cannot tell whether the tag moved", "image", ref.String(), "running", s.Digest, "now", to.String(), "error", fmt.Sprint(failed))
		}
	}
	return nil
}
