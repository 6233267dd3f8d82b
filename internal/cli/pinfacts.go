package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/version"
)

// factsTime is how long is asked about one move.
const factsTime = 30 * time.Second

// facts makes what a pull request says of a tag that moved: when the registry
// says it was pushed, by whom, and what that is worth. What is not known is said.
func (f *pinFlags) facts(r *pinRun) func(context.Context, *pinMove) []string {
	if *f.offline {
		return nil
	}
	return func(ctx context.Context, m *pinMove) []string {
		ref, err := image.Parse(m.follows)
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, factsTime)
		defer cancel()
		return pushFacts(ctx, ref, m.new)
	}
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
		return []string{"when it was pushed, and by whom, is not known: " + ref.Registry() + " has no API for it that is known"}
	}
	const most = 3
	var facts []string
	all, err := source.Pushes(ctx, ref)
	for i, p := range all {
		if i == most {
			break
		}
		if p.Digest == "" || p.Digest.String() == digest || i == 0 {
			facts = append(facts, cell(p.String()))
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		facts = append(facts, fmt.Sprintf("not all is known of its pushes: %s", cell(err.Error())))
	}
	return facts
}
