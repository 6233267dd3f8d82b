package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/store"
)

// openStore opens the store for the one process that writes it.
func openStore(ctx context.Context, path string, log *slog.Logger) (*store.Store, error) {
	s, err := store.Open(ctx, path, store.Options{Log: log})
	if err != nil {
		return nil, err
	}
	if err := s.Lock(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
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
