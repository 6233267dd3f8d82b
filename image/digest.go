package image

import (
	"fmt"
	"strconv"
	"strings"
)

// Digest is a content digest, algorithm:hex, as [ParseDigest] made it: of an
// index, a manifest or a config. The empty Digest means that there is none.
type Digest string

// algorithms are the digest algorithms that a runtime can verify (OCI image
// spec 1.1, descriptor.md "Registered algorithms", and sha384, which
// opencontainers/go-digest knows), with their number of hex digits.
var algorithms = [...]struct {
	prefix string
	digits int
}{
	{"sha256:", 64},
	{"sha512:", 128},
	{"sha384:", 96},
}

// ParseDigest reads a digest: sha256:, sha384: or sha512: and all of its hex
// digits in lower case. It does not allocate memory for a valid digest.
func ParseDigest(s string) (Digest, error) {
	d, _, reason := parseDigest(s)
	if reason != "" {
		return "", fmt.Errorf("invalid digest %s: %s", quoted(s), reason)
	}
	return d, nil
}

// parseDigest returns the byte where s is not a digest and why.
func parseDigest(s string) (d Digest, bad int, reason string) {
	for _, a := range algorithms {
		hex, found := strings.CutPrefix(s, a.prefix)
		if !found {
			continue
		}
		switch n := leadingHex(hex); {
		case n < len(hex) && 'A' <= hex[n] && hex[n] <= 'F':
			return "", len(a.prefix) + n, "a digest is written in lower case"
		case n < len(hex):
			return "", len(a.prefix) + n, "a digest has hex digits only"
		case n < a.digits:
			return "", len(a.prefix), "the digest is too short: " + digits(n) + " instead of " + strconv.Itoa(a.digits)
		case n > a.digits:
			return "", len(a.prefix), "the digest is too long: " + digits(n) + " instead of " + strconv.Itoa(a.digits)
		}
		return Digest(s), 0, ""
	}
	algorithm, _, found := strings.Cut(s, ":")
	switch {
	case s == "":
		return "", 0, "nothing after '@'; write a digest, or leave the '@' out"
	case !found:
		return "", 0, "after '@' comes a digest such as sha256:…; a tag comes after ':'"
	case strings.EqualFold(algorithm, "sha256"), strings.EqualFold(algorithm, "sha512"), strings.EqualFold(algorithm, "sha384"):
		return "", 0, "a digest's algorithm is written in lower case"
	}
	return "", 0, "unknown digest algorithm; sha256, sha384 and sha512 are known"
}

func digits(n int) string {
	if n == 1 {
		return "1 digit"
	}
	return strconv.Itoa(n) + " digits"
}

// Valid reports whether d is a digest that [ParseDigest] takes. The empty
// Digest is not.
func (d Digest) Valid() bool {
	_, _, reason := parseDigest(string(d))
	return reason == ""
}

// String is the digest as text.
func (d Digest) String() string { return string(d) }

// Algorithm is the part before the colon: sha256.
func (d Digest) Algorithm() string {
	a, _, _ := strings.Cut(string(d), ":")
	return a
}

// Hex is the part after the colon.
func (d Digest) Hex() string {
	_, h, _ := strings.Cut(string(d), ":")
	return h
}

// FromImageID reads what a Kubernetes container status calls imageID. The
// forms that runtimes give:
//
//	docker.io/library/nginx@sha256:…     containerd, CRI-O: an index or a manifest
//	docker-pullable://nginx@sha256:…     dockershim, cri-dockerd: the same
//	sha256:…                             containerd, of an imported image: a config
//	64 hex digits                        CRI-O, may be after a restart: a config
//	docker://sha256:…                    dockershim, cri-dockerd: Docker's image id
//
// Docker's image id is a config digest, but that of an index or a manifest
// where Docker keeps images in containerd's store: [ContentFromImageID] tells
// what is certain.
//
// name is the repository as the runtime wrote it, or "" where the form has
// none. ok is false where there is no digest, as while a container waits, and
// where what stands before it is not a repository.
func FromImageID(s string) (name string, d Digest, ok bool) {
	if _, after, found := strings.Cut(s, "://"); found {
		s = after
	}
	if isImageID(s) {
		return "", Digest("sha256:" + s), true
	}
	name, digest, named := strings.Cut(s, "@")
	if !named {
		name, digest = "", s
	} else if _, err := Parse(name); err != nil {
		return "", "", false
	}
	d, _, reason := parseDigest(digest)
	if reason != "" {
		return "", "", false
	}
	return name, d, true
}

// ContentFromImageID is what an imageID says of its digest, for
// [Identities.Add]: the kind is [KindConfig] where the form has no repository
// and is not Docker's, and then it is for the platform on of the node that
// wrote it. Every other form leaves the kind unknown. ok is that of
// [FromImageID].
func ContentFromImageID(s string, on Platform) (c Content, ok bool) {
	name, d, ok := FromImageID(s)
	if !ok {
		return Content{}, false
	}
	if name == "" && !strings.HasPrefix(s, "docker") {
		return Content{Digest: d, Kind: KindConfig, Platform: on}, true
	}
	return Content{Digest: d}, true
}
