package cli

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/store"
)

// kept is the history that an engine keeps in a store.
type kept struct {
	*store.Store
	cluster string
}

// openHistory opens the store for the one process that writes it.
func openHistory(ctx context.Context, path, cluster string, log *slog.Logger) (*kept, error) {
	s, err := store.Open(ctx, path, store.Options{Log: log})
	if err != nil {
		return nil, err
	}
	if err := s.Lock(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &kept{s, cluster}, nil
}

// Running yields what ran when the store was last written.
func (k *kept) Running(ctx context.Context) iter.Seq2[history.Container, error] {
	return func(yield func(history.Container, error) bool) {
		for c, err := range k.Store.Running(ctx, k.cluster) {
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
func (k *kept) Findings(ctx context.Context, of history.Subject) ([]finding.Finding, error) {
	return k.FindingsAbout(ctx, of)
}

// Write keeps a batch. A recording may be of several clusters; the history of
// each is its own.
func (k *kept) Write(ctx context.Context, b *history.Batch) error {
	byCluster := map[string]*store.Batch{}
	of := func(cluster string) *store.Batch {
		if byCluster[cluster] == nil {
			byCluster[cluster] = &store.Batch{Cluster: cluster, Now: b.Now}
		}
		return byCluster[cluster]
	}
	own := of(k.cluster)
	own.Confirmed, own.Alerts, own.Sent = b.Confirmed, b.Alerts, b.Sent
	for i := range b.Findings {
		own.Findings = append(own.Findings, history.Record{Finding: b.Findings[i], Delivered: history.Delivered})
	}
	clusters := []string{k.cluster}
	add := func(cluster string) *store.Batch {
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
		if err := k.Store.Write(ctx, byCluster[cluster]); err != nil {
			return err
		}
	}
	return k.Store.Write(ctx, own)
}

// facts keeps what registries say of digests in a store: each is asked for once,
// ever.
type facts struct{ *store.Store }

// Content finds what was put; see [registry.Cache].
func (f facts) Content(ctx context.Context, d image.Digest) (image.Content, bool, error) {
	got, err := f.Contents(ctx, d.String())
	if err != nil || len(got) == 0 {
		return image.Content{}, false, err
	}
	c := image.Content{Digest: d, Kind: kindOf(got[0].Kind), Config: image.Digest(got[0].Config)}
	if got[0].Platform != "" {
		if c.Platform, err = image.ParsePlatform(got[0].Platform); err != nil {
			return image.Content{}, false, err
		}
	}
	for _, child := range got[0].Children {
		x := image.Child{Digest: image.Digest(child.Digest)}
		if child.Platform != "" {
			if x.Platform, err = image.ParsePlatform(child.Platform); err != nil {
				return image.Content{}, false, err
			}
		}
		c.Children = append(c.Children, x)
	}
	return c, true, nil
}

// PutContent keeps c; see [registry.Cache].
func (f facts) PutContent(ctx context.Context, c image.Content) error {
	out := store.Content{Digest: c.Digest.String(), Kind: c.Kind.String(), Platform: platformName(c.Platform), Config: c.Config.String(), Learned: time.Now().UTC()}
	for _, child := range c.Children {
		out.Children = append(out.Children, store.Child{Digest: child.Digest.String(), Platform: platformName(child.Platform)})
	}
	return f.PutContents(ctx, out)
}

// platformName is empty where the platform is not known.
func platformName(p image.Platform) string {
	if p == (image.Platform{}) {
		return ""
	}
	return p.String()
}

// kindOf is the kind that a name stands for.
func kindOf(name string) image.Kind {
	for _, k := range []image.Kind{image.KindIndex, image.KindManifest, image.KindConfig} {
		if k.String() == name {
			return k
		}
	}
	return image.KindUnknown
}
