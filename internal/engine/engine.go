// Package engine is the main flow of the watcher: starts come from sources,
// rules judge them, the policy says what an alert is worth, and a sink is told.
package engine

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// Source sees container starts and ends. Watch calls emit for each of them, one
// call after the other, until ctx ends or there are no more. An error means that the
// source could not do its work.
type Source interface {
	Watch(ctx context.Context, emit func(event.Event)) error
	String() string
}

// Sink is told what happened, one call after the other. An error ends the run.
type Sink interface {
	// Event is called for everything that a source saw, but for the starts
	// that another one had reported.
	Event(event.Event) error
	// Alert is called for every alert that the policy lets through.
	Alert(*event.Start, falco.Alert) error
}

// History remembers what ran beyond the life of an engine.
type History interface {
	// Running yields the containers that ran when it was last written.
	Running(ctx context.Context) iter.Seq2[history.Container, error]
	// Seen returns what was seen of a subject.
	// If there is very much, it may be the newest and what runs.
	Seen(ctx context.Context, of history.Subject) ([]history.Seen, error)
	// SeenIn returns what was seen of a subject in one revision, and may return
	// more.
	SeenIn(ctx context.Context, of history.Subject, revision string) ([]history.Seen, error)
	// Findings returns what was raised about a subject.
	Findings(ctx context.Context, of history.Subject) ([]finding.Finding, error)
	// Approved returns the digests that are expected for a reference, as it is
	// written in the spec.
	Approved(ctx context.Context, of history.Subject, reference string) ([]string, error)
	// Unsent returns the alerts that may not have reached the sink.
	Unsent(ctx context.Context) ([]history.Alert, error)
	// Write keeps a batch: once it has returned, the batch outlives the
	// process.
	Write(ctx context.Context, b *history.Batch) error
}

// Resolver asks registries. Its answers may come late, and never block a
// start from being judged.
type Resolver interface {
	// Content returns what is behind a digest: of an index, also what is behind
	// its entry for the platform.
	Content(ctx context.Context, repository image.Reference, d image.Digest, on image.Platform) ([]image.Content, error)
	// Resolve returns the digest that a reference has now.
	Resolve(ctx context.Context, ref image.Reference) (image.Digest, error)
}

// For is a [Resolver] that can ask with the credentials of a pod.
type For interface {
	For(s *event.Start) Resolver
}

// Engine is one watcher. The first five fields must be set.
type Engine struct {
	Sources []Source
	Rules   *falco.Ruleset
	Policy  *policy.Policy
	Sink    Sink
	// Now is the clock that exceptions expire by.
	Now func() time.Time

	// History is what ran before; without one, drift is found within one run
	// only.
	History History
	// Pushes are sources that tell what registries got. They end with Sources.
	Pushes []Source
	// Resolver tells whether two digests are the same bytes; without one, only
	// what nodes say of their images does.
	Resolver Resolver
	// CheckTags is how often the references that run are resolved anew; 0 means
	// never.
	CheckTags time.Duration
	// Cluster is the name of the cluster in the history.
	Cluster string
	// OnFinding is called for every finding that the policy lets through, or
	// nil.
	OnFinding func(finding.Finding)
	// OnVerdict is called with every answer about a start, or nil. A later
	// answer about one takes the place of an earlier one.
	OnVerdict func(*event.Start, drift.Verdict)
	// Log hears what the operator should know.
	Log *slog.Logger

	// Hostname stands in an alert where the start's node is not known.
	Hostname string
	// AllMatches alerts on every rule that matches a start; otherwise the
	// first in the order of the files wins, as Falco does by default.
	AllMatches bool

	next  atomic.Pointer[judgement]
	mu    sync.Mutex
	stats Stats
}

// judgement is what starts are judged by.
type judgement struct {
	rules  *falco.Ruleset
	policy *policy.Policy
}

// Replace gives the engine other rules and another policy. They hold from the
// next event on, and no event is lost. It may be called at any time.
func (e *Engine) Replace(rules *falco.Ruleset, pol *policy.Policy) {
	e.next.Store(&judgement{rules, pol})
}

// Stats counts what a watcher has seen.
type Stats struct {
	// Starts are the container starts, those that ran before included.
	Starts int
	// Existing are those of them that ran before the watch began.
	Existing int
	Alerts   int
	// Muted are the alerts that the policy kept back, Lowered those that it
	// gave a lower priority.
	Muted, Lowered int
	// Findings are those of the alerts that are about bytes that changed.
	Findings int
	// Undecided are starts whose digest could not be compared.
	Undecided int
	// Unresolved are references that no registry gave a digest for.
	Unresolved int
	// Lag is how long after its start the last container was judged. A
	// container that ran before has none.
	Lag time.Duration
}

// Stats returns the counts so far. It may be called at any time.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// queue is how many starts may wait to be judged; sources wait beyond that.
const queue = 1024

// Run watches until ctx ends or all sources do. It returns what the sources
// and the sink could not do; the end of ctx is no error.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan event.Event, queue)
	sources, watching := errgroup.WithContext(ctx)
	beside, done := context.WithCancel(watching)
	defer done()
	emit := func(e event.Event) {
		select {
		case events <- e:
		case <-watching.Done():
		}
	}
	var starts sync.WaitGroup
	for _, src := range e.Sources {
		starts.Add(1)
		sources.Go(func() error {
			defer starts.Done()
			return src.Watch(watching, emit)
		})
	}
	for _, src := range e.Pushes {
		sources.Go(func() error { return src.Watch(beside, emit) })
	}
	ended := make(chan error, 1)
	go func() {
		starts.Wait()
		done()
		ended <- sources.Wait()
		close(events)
	}()

	r, err := e.newRun(ctx)
	if err != nil {
		cancel()
		for range events { // The sources end; what they still send is not wanted.
		}
		return errors.Join(err, <-ended)
	}
	failed := r.loop(events)
	cancel()
	for range events { // As above.
	}
	r.asking.Wait()
	return errors.Join(failed, <-ended)
}

func (e *Engine) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// asked is what the policy is asked about an alert of a rule.
func asked(s *event.Start, fields *event.Fields, rule *falco.Rule) policy.Subject {
	return policy.Subject{
		Finding:       FindingOf(rule.Tags),
		Rule:          rule.Name,
		Namespace:     s.Namespace,
		Workload:      s.Workload.String(),
		Image:         fields.ImageName(),
		ContainerKind: string(s.Kind),
	}
}

// FindingOf is the finding that a rule is about, by its tags: the id of a
// finding, or the tags that the published rules of lab 010 carry. Other rules
// are about something else, and the answer is "".
func FindingOf(tags []string) finding.ID {
	for _, tag := range tags {
		switch tag {
		case "image_tag":
			return finding.F01
		case "image_digest":
			return finding.TW02
		}
		if id, err := finding.ParseID(tag); err == nil {
			return id
		}
	}
	return ""
}
