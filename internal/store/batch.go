package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
)

// A Batch is what is written at once, of one cluster.
type Batch struct {
	// Now is the heartbeat: what runs is known to have run until then. Zero
	// leaves it as it is.
	Now     time.Time
	Cluster string

	// Starts are containers that may be new to the store. One that it knows
	// already is not counted again: while it runs it is confirmed, and once it
	// ended it is left as it is.
	Starts []*event.Start
	// Ends are containers that run no longer. One whose start is not known yet
	// is remembered for when it comes.
	Ends []*event.End
	// Confirmed are the ids of containers that were known before the store was
	// opened, and were seen again.
	Confirmed []string
	// Synced are the scopes in which everything that runs has been a start or
	// confirmed since the store was opened. What has not, ended while nobody
	// watched, at a time between the last heartbeat then and now; it is taken
	// to have ended at that heartbeat. They count after all of the above.
	Synced []*event.Synced

	// Findings were raised with these starts. One whose fingerprint the store
	// has is left as it is.
	Findings []history.Record
	// Sending and Delivered are fingerprints of findings that are about to be
	// given to the sink, and that the sink has taken. A finding never goes back
	// to an earlier state.
	Sending, Delivered []string

	// Pushes are what registries said of tags. One that is known already is
	// kept once; it can become confirmed.
	Pushes []*event.Push

	// Alerts are about to be written to the sink, Sent are the ids of those
	// that were; see [Store.Unsent].
	Alerts []history.Alert
	Sent   []string

	// Contents and Same are what was learnt of digests; see [Store.PutContents]
	// and [Store.PutSame].
	Contents []Content
	Same     [][]string
}

// Write keeps b, all of it or nothing. When it returns nil, everything in b is
// on the disk and outlives the end of the process and a loss of power. Writing
// the same batch again changes nothing.
//
// The order of starts and ends within a batch does not matter, only their
// times do.
func (s *Store) Write(ctx context.Context, b *Batch) error {
	return s.change(ctx, "write to", func(ctx context.Context, w *writer) error {
		return w.batch(ctx, b)
	})
}

func (w *writer) batch(ctx context.Context, b *Batch) error {
	if err := b.check(); err != nil {
		return err
	}
	id, err := w.word(ctx, b.Cluster)
	if err != nil {
		return err
	}
	cluster := place{id, b.Cluster}
	ends := make(map[string]int64, len(b.Ends))
	for _, e := range b.Ends {
		ends[e.ContainerID] = max(ends[e.ContainerID], nanos(e.Time))
	}
	if err := w.heartbeat(ctx, cluster, b.Now); err != nil {
		return err
	}
	for _, id := range b.Confirmed {
		if err := w.confirm(ctx, cluster, id); err != nil {
			return err
		}
	}
	for _, e := range inOrder(b) {
		switch e := e.(type) {
		case *event.Start:
			end, ok := ends[e.ContainerID]
			if !ok {
				end = never
			}
			err = w.start(ctx, cluster, e, end)
		case *event.End:
			err = w.end(ctx, cluster, e)
		}
		if err != nil {
			return err
		}
	}
	for _, scope := range b.Synced {
		if err := w.synced(ctx, cluster, scope); err != nil {
			return err
		}
	}
	for i := range b.Findings {
		if err := w.finding(ctx, &b.Findings[i]); err != nil {
			return err
		}
	}
	if err := w.delivery(ctx, history.Sending, b.Sending); err != nil {
		return err
	}
	if err := w.delivery(ctx, history.Delivered, b.Delivered); err != nil {
		return err
	}
	if err := w.pushes(ctx, b.Pushes); err != nil {
		return err
	}
	if err := w.alerts(ctx, b); err != nil {
		return err
	}
	if err := w.contents(ctx, b.Contents); err != nil {
		return err
	}
	return w.same(ctx, b.Same, b.Now)
}

// check finds a batch that mixes clusters: its heartbeat would be wrong for
// some of it.
func (b *Batch) check() error {
	other := func(what, cluster string) error {
		if cluster == b.Cluster {
			return nil
		}
		return fmt.Errorf("%s of cluster %q in a batch of cluster %q; write a batch for each", what, cluster, b.Cluster)
	}
	for _, s := range b.Starts {
		if err := other("start of container "+s.ContainerID, s.Cluster); err != nil {
			return err
		}
	}
	for _, e := range b.Ends {
		if err := other("end of container "+e.ContainerID, e.Cluster); err != nil {
			return err
		}
	}
	for _, y := range b.Synced {
		if err := other("end of a list", y.Cluster); err != nil {
			return err
		}
	}
	return nil
}

// inOrder returns starts and ends in the order in which they happened. At one
// time, ends come first: what replaces a container starts when that has ended.
func inOrder(b *Batch) []event.Event {
	all := make([]event.Event, 0, len(b.Starts)+len(b.Ends))
	for _, e := range b.Ends {
		all = append(all, e)
	}
	for _, s := range b.Starts {
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b event.Event) int { return cmp.Compare(nanos(a.At()), nanos(b.At())) })
	return all
}
