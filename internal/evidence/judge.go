package evidence

import (
	"context"
	"iter"
	"sync"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/store"
)

// answers are what became of the question whether bytes changed.
type answers struct {
	verdicts map[string]drift.Verdict // by container id
	findings []finding.Finding
	failed   error
}

// judge asks the same code as a watch does, over what was seen now and what is
// known from before. It writes nothing.
func (g *Gatherer) judge(ctx context.Context, seen *view, groups [][]*event.Start) *answers {
	about := map[history.Subject]bool{}
	for _, starts := range groups {
		about[history.SubjectOf(starts[0])] = true
	}
	var events memory
	for _, n := range seen.nodes {
		events = append(events, n)
	}
	for _, s := range seen.starts {
		if about[history.SubjectOf(s)] {
			events = append(events, s)
		}
	}
	a := &answers{verdicts: map[string]drift.Verdict{}}
	var mu sync.Mutex
	e := &engine.Engine{
		// The exceptions of the policy are for alerts; triage weighs them itself.
		Sources: []engine.Source{events}, Rules: &falco.Ruleset{}, Policy: policy.Default(), Sink: nowhere{}, Now: g.Now,
		Resolver: g.Resolver, Log: g.Log, Cluster: g.Cluster,
		OnFinding: func(f finding.Finding) { a.findings = append(a.findings, f) },
		OnVerdict: func(s *event.Start, v drift.Verdict) {
			mu.Lock()
			defer mu.Unlock()
			a.verdicts[s.ContainerID] = v
		},
	}
	if g.History != nil {
		e.History = past{g.History}
	}
	a.failed = e.Run(ctx)
	return a
}

// memory is a source of events that are there already.
type memory []event.Event

func (m memory) Watch(ctx context.Context, emit func(event.Event)) error {
	for _, e := range m {
		if ctx.Err() == nil {
			emit(e)
		}
	}
	return nil
}

func (memory) String() string { return "what was seen" }

// nowhere is a sink that keeps nothing.
type nowhere struct{}

func (nowhere) Event(event.Event) error               { return nil }
func (nowhere) Alert(*event.Start, falco.Alert) error { return nil }

// past is the history as it was: everything is found anew, and nothing is
// written.
type past struct{ *store.Store }

func (past) Running(context.Context) iter.Seq2[history.Container, error] {
	return func(func(history.Container, error) bool) {}
}

func (past) Findings(context.Context, history.Subject) ([]finding.Finding, error) { return nil, nil }

func (past) Unsent(context.Context) ([]history.Alert, error) { return nil, nil }
func (past) Write(context.Context, *history.Batch) error     { return nil }
