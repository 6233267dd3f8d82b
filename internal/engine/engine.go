// Package engine is the main flow of the watcher: starts come from sources,
// rules judge them, the policy says what an alert is worth, and a sink is told.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
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

// Engine is one watcher. All fields but the last two must be set.
type Engine struct {
	Sources []Source
	Rules   *falco.Ruleset
	Policy  *policy.Policy
	Sink    Sink
	// Now is the clock that exceptions expire by.
	Now func() time.Time

	// Hostname stands in an alert where the start's node is not known.
	Hostname string
	// AllMatches alerts on every rule that matches a start; otherwise the
	// first in the order of the files wins, as Falco does by default.
	AllMatches bool

	mu    sync.Mutex
	stats Stats
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
	for _, src := range e.Sources {
		sources.Go(func() error {
			return src.Watch(watching, func(e event.Event) {
				select {
				case events <- e:
				case <-watching.Done():
				}
			})
		})
	}
	ended := make(chan error, 1)
	go func() {
		ended <- sources.Wait()
		close(events)
	}()

	dup := newDuplicates(len(e.Sources))
	var failed error
	for ev := range events {
		if failed != nil {
			continue // The sources end; what they still send is not wanted.
		}
		var err error
		if s, ok := ev.(*event.Start); ok {
			err = e.judge(s, dup)
		} else {
			err = e.tell(ev)
		}
		if err != nil {
			failed = err
			cancel()
		}
	}
	return errors.Join(failed, <-ended)
}

// judge takes one start through rules, policy and sink.
func (e *Engine) judge(s *event.Start, dup *duplicates) error {
	rec, again := dup.note(s)
	if again && (!rec.better || len(rec.fired) > 0 && !e.AllMatches) {
		return nil
	}
	now := e.Now()
	e.mu.Lock()
	if !again {
		e.stats.Starts++
		if s.Existing {
			e.stats.Existing++
		} else {
			e.stats.Lag = max(0, now.Sub(s.Time))
		}
	}
	e.mu.Unlock()
	if !again {
		if err := e.tell(s); err != nil {
			return err
		}
	}

	fields := event.FieldsOf(s, e.Policy.Production(s.Namespace))
	for _, rule := range e.Rules.Evaluate(nil, fields) {
		if rec.fired[rule.Name] {
			continue
		}
		decision := e.Policy.Decide(subject(s, fields, rule), now)
		alert := rule.Alert(fields, s.Time, firstOf(s.Node, e.Hostname))
		switch decision.Action {
		case policy.Mute:
			e.count(func(st *Stats) { st.Muted++ })
			continue
		case policy.Lower:
			if alert.Priority < falco.Notice {
				alert.Priority = falco.Notice
				e.count(func(st *Stats) { st.Lowered++ })
			}
		}
		rec.fire(rule.Name)
		e.count(func(st *Stats) { st.Alerts++ })
		if err := e.Sink.Alert(s, alert); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
		if !e.AllMatches {
			break
		}
	}
	return nil
}

func (e *Engine) tell(ev event.Event) error {
	if err := e.Sink.Event(ev); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
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

// subject is what the policy is asked about.
func subject(s *event.Start, fields *event.Fields, rule *falco.Rule) policy.Subject {
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
