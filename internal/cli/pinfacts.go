package cli

import (
	"context"
	"os"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/version"
)

const (
	// allFactsTime is how long is asked about all moves, and factsTime about one:
	// the layers that differ have to be read.
	allFactsTime = 15 * time.Minute
	factsTime    = 2 * time.Minute
	// mostHighlights is how many differences of two images are told.
	mostHighlights = 10
)

// facts is what a pull request says of a tag that moved: what changed in the image,
// when the registry says that it was pushed, by whom, and what that is worth. What
// is not known is said.
func (r *pinRun) facts(ctx context.Context, m *pinMove) []string {
	ref, err := image.Parse(m.follows)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, factsTime)
	defer cancel()
	return append(r.imageFacts(ctx, ref.Name(), m.old, m.new), pushFacts(ctx, ref, m.new)...)
}

// imageFacts are the most telling differences of the images before and after.
func (r *pinRun) imageFacts(ctx context.Context, name, before, after string) []string {
	a, err := image.Parse(name + "@" + before)
	if err != nil {
		return nil
	}
	b, err := image.Parse(name + "@" + after)
	if err != nil {
		return nil
	}
	d, err := imagediff.Compare(ctx, r.client, a, b, imagediff.Options{})
	if err != nil {
		return []string{"not compared: " + cell(err.Error())}
	}
	if d.Same {
		return []string{"the same content on every platform"}
	}
	var facts []string
	for _, h := range d.Highlight(mostHighlights) {
		facts = append(facts, h.Markdown())
	}
	return facts
}

// pushFacts are the pushes of a tag that a registry tells of.
func pushFacts(ctx context.Context, ref image.Reference, digest string) []string {
	keychain := registry.Files(registry.DefaultFiles(os.Getenv)...)
	source, ok := pushes.For(ref, pushes.Config{
		UserAgent: "tagwarden/" + version.Get().Version, Env: os.Getenv,
		Credentials: func(ctx context.Context, host, repository string) (pushes.Credential, error) {
			c, err := keychain(ctx, host, repository)
			return pushes.Credential{Username: c.Username, Password: c.Password}, err
		},
	})
	if !ok {
		return []string{"when it was pushed, and by whom, is not known: no API of " + imagediff.Code(ref.Registry()) + " is known that tells it"}
	}
	all, err := source.Pushes(ctx, ref)
	const most = 3
	var facts []string
	for i, p := range all {
		if len(facts) < most && (i == 0 || p.Digest.String() == digest) {
			facts = append(facts, cell(p.String()))
		}
	}
	if err != nil {
		facts = append(facts, "not all is known of its pushes: "+cell(err.Error()))
	}
	return facts
}
