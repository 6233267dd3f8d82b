// Package policy is the file tagwarden.yaml: which namespaces are production,
// which images are for debugging or belong to the platform, and who accepted
// which finding until when. It decides what becomes of a finding or an alert.
package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxSize is the size of the largest policy file that is read, in bytes. It is
// some thousand exceptions more than anybody can answer for.
const maxSize = 1 << 20

// A Policy is what one tagwarden.yaml says, over the defaults of [Default]. It
// never changes once made, so it is safe for concurrent use. The zero value
// knows no namespace and no image and has no exceptions.
type Policy struct {
	production  globs
	development globs

	// debugImages holds every name of every debug image, as it is normalised
	// and as people write it.
	debugImages    map[string]struct{}
	infrastructure globs
	alertEphemeral bool
	exceptions     []*Exception
	knownPushers   []pushers

	productionSet  bool // by the file
	debugImagesSet bool // by the file
}

// Default returns the policy of an empty file.
func Default() *Policy {
	p := &Policy{debugImages: map[string]struct{}{}}
	for _, s := range defaultProduction {
		p.production = append(p.production, must(namespaceGlob(s)))
	}
	for _, s := range defaultDevelopment {
		p.development = append(p.development, must(namespaceGlob(s)))
	}
	for _, s := range defaultDebugImages {
		p.addDebugImage(must(debugImage(s)))
	}
	for _, s := range defaultInfrastructureImages {
		p.infrastructure = append(p.infrastructure, must(imageGlob(s)))
	}
	return p
}

// Load reads the policy file at path. The error says what [Parse] says, or
// that the file cannot be read; in that case it wraps an [io/fs.PathError].
func Load(path string, now time.Time) (*Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	// One byte more than allowed is enough for Parse to see that it is too much.
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return Parse(path, data, now)
}

// Production reports whether namespace is a production namespace.
func (p *Policy) Production(namespace string) bool {
	return namespace != "" && p.production.match(namespace)
}

// Development reports whether namespace is a development namespace. One that
// is also a production namespace counts as production alone.
func (p *Policy) Development(namespace string) bool {
	return namespace != "" && p.development.match(namespace) && !p.production.match(namespace)
}

// DebugImage reports whether name, a normalised repository
// (docker.io/library/busybox) or its short form (busybox), is a debug image.
func (p *Policy) DebugImage(name string) bool {
	_, ok := p.debugImages[name]
	return ok
}

// InfrastructureImage reports whether name, a normalised repository, belongs
// to the platform rather than to those who use it.
func (p *Policy) InfrastructureImage(name string) bool {
	return name != "" && p.infrastructure.match(name)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// AlertEphemeral reports whether ephemeral containers are to be judged like
// all others.
func (p *Policy) AlertEphemeral() bool { return p.alertEphemeral }
