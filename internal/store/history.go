package store

import (
	"context"
	"iter"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
)

// History is a store as a watcher of one cluster keeps it.
type History struct {
	store   *Store
	cluster string
}

// History returns the history of a cluster in the store.
func (s *Store) History(cluster string) *History { return &History{s, cluster} }

// Running yields what ran when the store was last written.
func (h *History) Running(ctx context.Context) iter.Seq2[history.Container, error] {
	return func(yield func(history.Container, error) bool) {
		for c, err := range h.store.Running(ctx, h.cluster) {
			out := history.Container{Subject: c.Subject, Kind: c.Kind, Seen: history.Seen{
				Revision: c.Revision, Reference: c.Reference, Digest: c.Digest, DigestOf: c.DigestOf, Platform: c.Platform,
				First: c.Started, Pod: c.Pod, PodUID: c.PodUID, Node: c.Node, ContainerID: c.ContainerID,
			}}
			if !yield(out, err) {
				return
			}
		}
	}
}

// Findings returns what was raised about a subject.
func (h *History) Findings(ctx context.Context, of history.Subject) ([]finding.Finding, error) {
	return h.store.FindingsAbout(ctx, of)
}

// Write keeps a batch. A recording may be of several clusters; the history of
// each is its own.
func (h *History) Write(ctx context.Context, b *history.Batch) error {
	byCluster := map[string]*Batch{}
	of := func(cluster string) *Batch {
		if byCluster[cluster] == nil {
			byCluster[cluster] = &Batch{Cluster: cluster, Now: b.Now}
		}
		return byCluster[cluster]
	}
	own := of(h.cluster)
	own.Confirmed, own.Alerts, own.Sent, own.Pushes = b.Confirmed, b.Alerts, b.Sent, b.Pushes
	for i := range b.Findings {
		own.Findings = append(own.Findings, history.Record{Finding: b.Findings[i], Delivered: history.Delivered})
	}
	clusters := []string{h.cluster}
	add := func(cluster string) *Batch {
		if byCluster[cluster] == nil {
			clusters = append(clusters, cluster)
		}
		return of(cluster)
	}
	for _, s := range b.Starts {
		x := add(s.Cluster)
		x.Starts = append(x.Starts, s)
	}
	for _, e := range b.Ends {
		x := add(e.Cluster)
		x.Ends = append(x.Ends, e)
	}
	for _, y := range b.Synced {
		x := add(y.Cluster)
		x.Synced = append(x.Synced, y)
	}
	// The alerts stand in the last write: they must not be there without what
	// they are about.
	for _, cluster := range clusters[1:] {
		if err := h.store.Write(ctx, byCluster[cluster]); err != nil {
			return err
		}
	}
	return h.store.Write(ctx, own)
}

// Seen returns what was seen of a subject; see [Store.Seen].
func (h *History) Seen(ctx context.Context, of history.Subject) ([]history.Seen, error) {
	return h.store.Seen(ctx, of)
}

// SeenIn returns what was seen in one revision; see [Store.SeenIn].
func (h *History) SeenIn(ctx context.Context, of history.Subject, revision string) ([]history.Seen, error) {
	return h.store.SeenIn(ctx, of, revision)
}

// Approved returns the digests that are expected; see [Store.Approved].
func (h *History) Approved(ctx context.Context, of history.Subject, reference string) ([]string, error) {
	return h.store.Approved(ctx, of, reference)
}

// Unsent returns the alerts that may not have been written; see [Store.Unsent].
func (h *History) Unsent(ctx context.Context) ([]history.Alert, error) { return h.store.Unsent(ctx) }
