// Package policy is the file tagwarden.yaml: which namespaces are production,
// what each finding does where, which images are for debugging or belong to the
// platform, which registries and signers are trusted, and who accepted which
// finding until when. It decides what becomes of a finding or an alert, and
// what the policy means for a container.
package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// maxSize is the size of the largest policy file that is read, in bytes. It is
// some thousand exceptions more than anybody can answer for.
const maxSize = 1 << 20

// A Policy is what one tagwarden.yaml says, over the defaults of [Default]. It
// never changes once made, so it is safe for concurrent use. The zero value
// knows no namespace and no image and has no exceptions.
type Policy struct {
	production        globs
	productionLabels  []labelSelector
	development       globs
	developmentLabels []labelSelector

	rules       map[finding.ID]*rule
	classes     []classRule
	allowed     globs // none allows all
	allowedText string
	signers     []*Signer
	admission   Admission
	// maxDays is how far ahead exceptions may end.
	maxDays int

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
	p := &Policy{debugImages: map[string]struct{}{}, rules: defaultRules(), admission: Admission{Unresolved: Warn}, maxDays: maxDays}
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
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, now)
}

// LoadAny is [Load] for a file that may be an object TagwardenException, too:
// that is the default policy with this exception.
func LoadAny(path string, now time.Time) (*Policy, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if p := Default(); kindOf(data) == KindException {
		e, err := p.ParseException(path, data, now)
		if err != nil {
			return nil, err
		}
		return p.WithExceptions([]*Exception{e}), nil
	}
	return Parse(path, data, now)
}

// kindOf returns the kind of the object in data, if it is one.
func kindOf(data []byte) string {
	r := &reader{}
	if n := child(r.document(data), "kind"); n != nil {
		return n.Value
	}
	return ""
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	// One byte more than allowed is enough for Parse to see that it is too much.
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return data, nil
}

// Production reports whether namespace is a production namespace.
func (p *Policy) Production(namespace string) bool {
	return namespace != "" && p.production.match(namespace)
}

// Development reports whether namespace is a development namespace. One that
// is also a production namespace counts as production alone.
func (p *Policy) Development(namespace string) bool {
	return p.Scope(namespace, nil) == Development
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
