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
// digits in lower case.
func ParseDigest(s string) (Digest, error) {
	d, reason, _ := parseDigest(s)
	if reason != "" {
		return "", fmt.Errorf("invalid digest %s: %s", quoted(s), reason)
	}
	return d, nil
}

// parseDigest returns the reason and the byte where s is not a digest.
func parseDigest(s string) (d Digest, reason string, bad int) {
	for _, a := range algorithms {
		if !strings.HasPrefix(s, a.prefix) {
			continue
		}
		hex := s[len(a.prefix):]
		for i := range len(hex) {
			if !isHexDigit(hex[i]) {
				if 'A' <= hex[i] && hex[i] <= 'F' {
					return "", "a digest is written in lower case", len(a.prefix) + i
				}
				return "", "a digest has hex digits only", len(a.prefix) + i
			}
		}
		switch {
		case len(hex) < a.digits:
			return "", "the digest is too short: " + digits(len(hex)) + " instead of " + digits(a.digits), len(a.prefix)
		case len(hex) > a.digits:
			return "", "the digest is too long: " + digits(len(hex)) + " instead of " + digits(a.digits), len(a.prefix)
		}
		return Digest(s), "", 0
	}
	algorithm, _, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return "", "nothing after '@'; write a digest, or leave the '@' out", 0
	case !ok:
		return "", "after '@' comes a digest such as sha256:…; a tag comes after ':'", 0
	case strings.EqualFold(algorithm, "sha256"), strings.EqualFold(algorithm, "sha512"), strings.EqualFold(algorithm, "sha384"):
		return "", "a digest's algorithm is written in lower case", 0
	}
	return "", "unknown digest algorithm; sha256, sha384 and sha512 are known", 0
}

func digits(n int) string {
	if n == 1 {
		return "1 digit"
	}
	return strconv.Itoa(n) + " digits"
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
//	docker.io/library/nginx@sha256:…                containerd, CRI-O
//	docker-pullable://nginx@sha256:…                dockershim, of a pulled image
//	docker://sha256:…, sha256:…                     an image id: a config digest
//
// name is the repository as the runtime wrote it, or "" where the form has
// none; then d is the digest of a config, else that of an index or a manifest.
// ok is false where there is no digest, as while a container waits.
func FromImageID(s string) (name string, d Digest, ok bool) {
	if _, after, found := strings.Cut(s, "://"); found {
		s = after
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		name, s = s[:at], s[at+1:]
	}
	d, err := ParseDigest(s)
	if err != nil {
		return "", "", false
	}
	return name, d, true
}
