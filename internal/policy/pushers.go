package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// pushers says who is expected to push some images.
type pushers struct {
	image glob
	names globs
}

// KnownPusher reports whether name, as the registry writes it, is expected to
// push the image, a normalised repository, and whether the policy says of
// anybody that he is: where it does not, nobody is unknown.
func (p *Policy) KnownPusher(image, name string) (known, listed bool) {
	for i := range p.knownPushers {
		k := &p.knownPushers[i]
		if image == "" || !k.image.match(image) {
			continue
		}
		listed = true
		if name != "" && k.names.match(name) {
			return true, true
		}
	}
	return false, listed
}

// pushers reads one item of knownPushers.
func (r *reader) pushers(n *yaml.Node, path string) pushers {
	var k pushers
	has := r.mapping(n, path,
		field{"image", func(n *yaml.Node, path string) { k.image, _ = convert(r, n, path, imageGlob) }},
		field{"names", func(n *yaml.Node, path string) { k.names = r.globs(n, path, narrow(pusherGlob)) }},
	)
	if has == nil {
		return k
	}
	for _, required := range []struct{ key, hint string }{
		{"image", "write whose pushers these are, e.g. image: ghcr.io/acme/**"},
		{"names", "write who pushes it, as the registry names him, e.g. names: [ci-bot]"},
	} {
		if has[required.key] == nil {
			r.fail(n, join(path, required.key), "missing, %s", required.hint)
		}
	}
	return k
}

// maxPusher is the longest name of a pusher, in characters.
const maxPusher = 256

// pusherGlob returns the glob over accounts of registries that s spells. They
// can have any characters: robot$acme+ci, ci@acme.iam.gserviceaccount.com.
func pusherGlob(s string) (glob, error) {
	switch {
	case s == "":
		return glob{}, errors.New("the name of a pusher is missing")
	case utf8.RuneCountInString(s) > maxPusher:
		return glob{}, fmt.Errorf("the name of a pusher has at most %d characters", maxPusher)
	case strings.Contains(s, "**"):
		return glob{}, fmt.Errorf("%s: ** is for images alone, write * here", quote(s))
	}
	return newGlob(s), nil
}
