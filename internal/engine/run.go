package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// batchSize is how many events are written to the history at once, if so many
// wait.
const batchSize = 512

// run is one call of [Engine.Run]. All of it belongs to one goroutine; the
// answers of registries come in through a channel.
type run struct {
	*Engine
	ctx    context.Context //nolint:containedctx // it lives as long as the call
	dup    *duplicates
	ledger *ledger
	judgement
	// unclear are the digests of which was told that they cannot be compared.
	unclear map[string]bool
	// lateRules is set when a rule asks for drift, so that it must be asked
	// again when the answer was late.
	lateRules bool

	batch history.Batch
	// told are what the sink is to be told once the batch is kept.
	told []telling

	asking  sync.WaitGroup
	answers chan answer
	pending int
	slots   chan struct{}
	// open are starts that could not be decided, by container id.
	open      map[string]*waiting
	nextRetry time.Time
	// learnt is set when a node has said something that open starts may be
	// decided by.
	learnt bool
	tags   *tagChecks
}

// waiting is a start whose question is open, and what was made of it.
type waiting struct {
	start *event.Start
	// rec is nil for a start that the rules need not judge again.
	rec *record
}

// telling is an event or an alert on its way to the sink.
type telling struct {
	event event.Event
	start *event.Start
	alert *falco.Alert
}

func (e *Engine) newRun(ctx context.Context) (*run, error) {
	r := &run{
		Engine: e, ctx: ctx, dup: newDuplicates(len(e.Sources)), ledger: newLedger(e.History, image.NewIdentities()),
		unclear: map[string]bool{}, answers: make(chan answer), slots: make(chan struct{}, asks),
		open: map[string]*waiting{}, nextRetry: time.Now().Add(retryEvery), tags: newTagChecks(e.CheckTags),
	}
	r.judgeBy(&judgement{e.Rules, e.Policy})
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.History == nil {
		return r, nil
	}
	if err := r.ledger.load(ctx); err != nil {
		return nil, err
	}
	unsent, err := e.History.Unsent(ctx)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	for _, a := range unsent {
		// Whether it was written before the process died cannot be known; to
		// write it again might double it.
		e.Log.WarnContext(ctx, "alert may not have been written before the last end", "alert", string(a.Text))
		r.batch.Sent = append(r.batch.Sent, a.ID)
	}
	return r, nil
}

// judgeBy takes new rules and a new policy.
func (r *run) judgeBy(j *judgement) {
	r.judgement, r.lateRules = *j, false
	for _, rule := range r.rules.Rules() {
		for _, name := range rule.FieldNames() {
			r.lateRules = r.lateRules || strings.HasPrefix(name, "tagwarden.drift")
		}
	}
}

// loop judges events until there are no more.
func (r *run) loop(events <-chan event.Event) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	beat := time.Now()
	for events != nil || r.pending > 0 {
		var err error
		select {
		case ev, ok := <-events:
			if !ok {
				events = nil
				err = r.retry()
				break
			}
			if err = r.take(ev); err == nil {
				err = r.more(events)
			}
		case a := <-r.answers:
			r.pending--
			err = a(r)
		case now := <-tick.C:
			err = r.tick(now)
			if now.Sub(beat) >= heartbeat {
				beat = now
				err = errors.Join(err, r.keep(r.ctx))
			}
		case <-r.ctx.Done():
			return r.last()
		}
		if err = errors.Join(err, r.commit(r.ctx)); err != nil {
			if r.ctx.Err() != nil {
				return r.last()
			}
			return err
		}
	}
	return r.last()
}

// last keeps what is left when the run ends.
func (r *run) last() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), lastWrite)
	defer cancel()
	return errors.Join(r.commit(ctx), r.keep(ctx))
}

// lastWrite is how long the end of a run may take.
const lastWrite = 10 * time.Second

// more takes the events that wait already, up to a batch.
func (r *run) more(events <-chan event.Event) error {
	if r.History == nil {
		return nil
	}
	for range batchSize {
		select {
		case ev, ok := <-events:
			if !ok {
				return nil // The loop will find that out, too.
			}
			if err := r.take(ev); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// take takes one event through history, rules and policy.
func (r *run) take(ev event.Event) error {
	if j := r.next.Swap(nil); j != nil {
		r.judgeBy(j)
	}
	switch ev := ev.(type) {
	case *event.Start:
		ev.Cluster = firstOf(ev.Cluster, r.Cluster)
		return r.start(ev)
	case *event.End:
		ev.Cluster = firstOf(ev.Cluster, r.Cluster)
		if r.ledger.remove(ev.ContainerID) {
			r.batch.Ends = append(r.batch.Ends, ev)
		}
		delete(r.open, ev.ContainerID)
	case *event.Node:
		r.ledger.learnNode(ev)
		r.learnt = true
	case *event.Synced:
		ev.Cluster = firstOf(ev.Cluster, r.Cluster)
		r.ledger.gone(ev)
		r.batch.Synced = append(r.batch.Synced, ev)
	case *event.Push:
		ev.Cluster = firstOf(ev.Cluster, r.Cluster)
		if err := r.push(ev); err != nil {
			return err
		}
	}
	r.told = append(r.told, telling{event: ev})
	return nil
}

// start takes one start through history, rules and policy.
func (r *run) start(s *event.Start) error {
	rec, again := r.dup.note(s)
	now := r.Now()
	if !again {
		r.count(func(st *Stats) {
			st.Starts++
			if s.Existing {
				st.Existing++
			} else {
				st.Lag = max(0, now.Sub(s.Time))
			}
		})
		r.told = append(r.told, telling{event: s})
	}
	// Of several sources, those count for the history that know what a pod
	// belongs to.
	known, verdict := r.ledger.confirm(s), (*drift.Verdict)(nil)
	if !known && (len(r.Sources) == 1 || s.Workload != event.Workload{}) {
		var err error
		if verdict, err = r.drift(s, rec); err != nil {
			return err
		}
	}
	switch {
	case again && (!rec.better || len(rec.fired) > 0 && !r.AllMatches):
		return nil
	case known && !again:
		// The rules judged it before our own restart. Whether its bytes changed
		// may not have been answered by then.
		r.batch.Confirmed = append(r.batch.Confirmed, s.ContainerID)
		return r.rejudge(&waiting{start: s}, true, nil)
	}
	r.evaluate(s, rec, verdict, now)
	return nil
}

// drift compares a start with what ran before, and notes it.
func (r *run) drift(s *event.Start, rec *record) (*drift.Verdict, error) {
	r.ledger.learn(s)
	sub, err := r.ledger.subject(r.ctx, history.SubjectOf(s))
	if err != nil {
		return nil, err
	}
	verdict, err := r.ledger.judge(r.ctx, sub, s, r.policy.Production(s.Namespace))
	if err != nil {
		return nil, err
	}
	r.ledger.add(sub, s)
	r.batch.Starts = append(r.batch.Starts, s)
	_, err = r.settle(&waiting{s, rec}, sub, &verdict, true)
	return &verdict, err
}

// settle does what follows from a verdict. It reports whether the question is
// settled; if not, a registry is asked when mayAsk is set.
func (r *run) settle(w *waiting, sub *subject, v *drift.Verdict, mayAsk bool) (settled bool, err error) {
	for i := range v.Findings {
		if err := r.raise(&v.Findings[i], w.start); err != nil {
			return false, err
		}
	}
	if r.OnVerdict != nil {
		r.OnVerdict(w.start, *v)
	}
	switch {
	case !v.Open || w.start.Digest == "":
		delete(r.open, w.start.ContainerID)
		return true, nil
	case mayAsk && len(v.Ask) > 0 && r.Resolver != nil:
		r.ask(w, sub, v.Ask)
		return false, nil
	}
	r.undecided(w, v)
	return false, nil
}

// undecided tells once of a digest that it could not be compared, and keeps the
// start for when more is known.
func (r *run) undecided(w *waiting, v *drift.Verdict) {
	s := w.start
	if len(r.open) < maxOpen {
		r.open[s.ContainerID] = w
	}
	key := fmt.Sprint(history.SubjectOf(s), history.RevisionOf(s), s.Digest)
	if r.unclear[key] {
		return
	}
	if len(r.unclear) >= maxUnclear {
		clear(r.unclear) // Better told again than kept for ever.
	}
	r.unclear[key] = true
	r.count(func(st *Stats) { st.Undecided++ })
	r.alert(s, undecided(v, s, r.Hostname))
}

// maxOpen is how many undecided starts are kept for later, and retryEvery is
// when they are tried again. maxUnclear is how many questions are remembered as
// told.
const (
	maxOpen    = 10_000
	maxUnclear = 100_000
	retryEvery = 5 * time.Minute
)

// retry decides anew about what was undecided, without asking anybody. On a
// large cluster nodes tell of new images all the time; once for many of them
// is enough.
func (r *run) retry() error {
	if !r.learnt {
		return nil
	}
	r.learnt = false
	for _, w := range r.open {
		if err := r.rejudge(w, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// tick is called every second.
func (r *run) tick(now time.Time) error {
	r.checkTags(now)
	if now.Before(r.nextRetry) {
		return r.retry()
	}
	r.learnt = false
	r.nextRetry = now.Add(retryEvery)
	for _, w := range r.open {
		if err := r.rejudge(w, true, nil); err != nil {
			return err
		}
	}
	return nil
}

// rejudge decides about a start that is in the ledger already. failed is why a
// registry gave no answer.
func (r *run) rejudge(w *waiting, mayAsk bool, failed error) error {
	s := w.start
	sub, err := r.ledger.subject(r.ctx, history.SubjectOf(s))
	if err != nil {
		return err
	}
	v, err := r.ledger.judge(r.ctx, sub, s, r.policy.Production(s.Namespace))
	if err != nil {
		return err
	}
	if failed != nil {
		v.Doubt += ": " + failed.Error()
	}
	settled, err := r.settle(w, sub, &v, mayAsk)
	if err == nil && settled && r.lateRules && w.rec != nil && (len(w.rec.fired) == 0 || r.AllMatches) {
		r.evaluate(s, w.rec, &v, r.Now())
	}
	return err
}

// raise tells of a finding, once.
func (r *run) raise(f *finding.Finding, s *event.Start) error {
	sub, err := r.ledger.subject(r.ctx, history.SubjectOf(s))
	if err != nil {
		return err
	}
	if !r.ledger.tell(sub, f, platformOf(s)) {
		return nil
	}
	r.batch.Findings = append(r.batch.Findings, *f)
	a := alertOf(f, s, r.Hostname)
	decision := r.policy.Decide(policy.Subject{
		Finding: f.ID, Rule: a.Rule, Namespace: s.Namespace, Workload: f.Subject.Workload,
		Image: event.FieldsOf(s, false).ImageName(), ContainerKind: f.Subject.Kind,
	}, r.Now())
	if decision.Action == policy.Mute {
		r.count(func(st *Stats) { st.Muted++ })
		return nil
	}
	r.count(func(st *Stats) { st.Findings++ })
	if r.OnFinding != nil {
		r.OnFinding(*f)
	}
	r.alert(s, a)
	return nil
}

// alert puts an alert on its way to the sink.
func (r *run) alert(s *event.Start, a falco.Alert) {
	r.count(func(st *Stats) { st.Alerts++ })
	r.told = append(r.told, telling{start: s, alert: &a})
}

// evaluate judges a start by the Falco rules that have not fired for it yet.
func (r *run) evaluate(s *event.Start, rec *record, v *drift.Verdict, now time.Time) {
	fields := event.FieldsOf(s, r.policy.Production(s.Namespace))
	fields.Classify(r.policy.Class)
	if v != nil && (v.State != drift.Unknown || len(v.Ask) == 0 || r.Resolver == nil) {
		fields.SetDrift(event.Drift{State: v.State.String(), Form: v.Form, From: v.From, Reason: v.Reason})
	}
	for _, rule := range r.rules.Evaluate(nil, fields) {
		if rec.fired[rule.Name] {
			continue
		}
		decision := r.policy.Decide(asked(s, fields, rule), now)
		alert := rule.Alert(fields, s.Time, firstOf(s.Node, r.Hostname))
		switch decision.Action {
		case policy.Mute:
			r.count(func(st *Stats) { st.Muted++ })
			continue
		case policy.Lower:
			if alert.Priority < falco.Notice {
				alert.Priority = falco.Notice
				r.count(func(st *Stats) { st.Lowered++ })
			}
		}
		rec.fire(rule.Name)
		r.alert(s, alert)
		if !r.AllMatches {
			break
		}
	}
}

// commit keeps what happened, and then tells of it.
func (r *run) commit(ctx context.Context) error {
	var sent []string
	if r.History != nil {
		for _, t := range r.told {
			if t.alert == nil {
				continue
			}
			text, err := json.Marshal(t.alert)
			if err != nil {
				return fmt.Errorf("encode alert of rule %q: %w", t.alert.Rule, err)
			}
			sent = append(sent, rand.Text())
			r.batch.Alerts = append(r.batch.Alerts, history.Alert{ID: sent[len(sent)-1], Text: text})
		}
		if len(r.batch.Starts)+len(r.batch.Ends)+len(r.batch.Synced)+len(r.batch.Findings)+len(r.batch.Pushes)+len(r.batch.Alerts) > 0 {
			if err := r.keep(ctx); err != nil {
				return err
			}
		}
	}
	for _, t := range r.told {
		if t.alert == nil {
			if err := r.Sink.Event(t.event); err != nil {
				return fmt.Errorf("write event: %w", err)
			}
			continue
		}
		if err := r.Sink.Alert(t.start, *t.alert); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
	}
	r.told = r.told[:0]
	if len(sent) == 0 {
		return nil
	}
	r.batch.Sent = append(r.batch.Sent, sent...)
	return r.keep(ctx)
}

// keep writes the batch, and that what runs still runs.
func (r *run) keep(ctx context.Context) error {
	defer func() { r.batch = history.Batch{} }()
	if r.History == nil {
		return nil
	}
	r.batch.Cluster, r.batch.Now = r.Cluster, r.Now()
	if err := r.History.Write(ctx, &r.batch); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	r.ledger.kept()
	return nil
}
