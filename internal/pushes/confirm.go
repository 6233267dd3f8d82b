package pushes

import (
	"context"
	"fmt"

	"github.com/tagwarden/tagwarden/image"
)

// Confirm asks the registry whether a push that somebody told of took place.
// resolve sends the HEAD request: it gives the digest that a reference has now.
// Where that is the digest of the push, or the push has none, it is confirmed
// and has the digest. Where the tag leads elsewhere by now, or the registry
// cannot be asked, the push stays a hint; the error says why the registry could
// not be asked.
func Confirm(ctx context.Context, p Push, resolve func(context.Context, image.Reference) (image.Digest, error)) (Push, error) {
	name := p.Repository
	switch {
	case p.Tag != "":
		name += ":" + p.Tag
	case p.Digest != "":
		name += "@" + string(p.Digest)
	}
	ref, err := image.Parse(name)
	if err != nil {
		return p, fmt.Errorf("confirm a push: %w", err)
	}
	now, err := resolve(ctx, ref)
	if err != nil {
		return p, fmt.Errorf("confirm the push of %s: %w", ref, err)
	}
	if p.Digest == "" {
		p.Digest = now
	}
	p.Confirmed = now != "" && p.Digest == now
	return p, nil
}
