// Package image holds image references: what a pod, a Dockerfile or a command
// line asks a container runtime to run, and how far such a name can be relied
// on. It also holds their digests, and [Identities] tells which of them stand
// for the same bytes.
//
// The grammar is that of the OCI distribution spec (1.1, "Pulling manifests":
// <name>, <reference>) with the registry and the short names that
// github.com/distribution/reference adds to it (v0.6, ParseNormalizedNamed):
// nginx is docker.io/library/nginx. [Parse] takes exactly the texts that are
// taken there, with SHA-256, SHA-384 and SHA-512 linked in; containerd, Docker
// and the kubelet read references with that package. Two answers differ:
//
//   - No tag is ever made up. nginx stays without one, and its [Class] says so.
//   - [Reference.Familiar] shortens a name only as far as it keeps its meaning:
//     docker.io/localhost/app is not localhost/app.
package image

import "strings"

const (
	// dockerHub is the registry of a reference that names none.
	dockerHub = "docker.io"
	// official is the namespace on Docker Hub of a reference that names none.
	official = "library"

	maxRepository = 255 // distribution/reference RepositoryNameTotalLengthMax
	maxTag        = 128 // OCI distribution spec, <reference> as a tag
)

// Reference is a well-formed image reference, as [Parse] made it. References
// are comparable; two of them are equal when they were written alike. The zero
// value is not a valid reference.
type Reference struct {
	original string
	registry string
	path     string // repository without "library/"
	official bool   // "library/" was left out
	tag      string
	digest   Digest
}

// Parse reads a reference as a container runtime does. The error is a
// [*ParseError] that says what is wrong, where, and what to write instead.
// Parse does not allocate memory for a well-formed reference.
func Parse(s string) (Reference, error) {
	r, bad, reason := parse(s)
	if reason == "" {
		return r, nil
	}
	// What is wrong with the text as a whole says more than the first part
	// that does not fit.
	if at, why := explain(s); why != "" {
		bad, reason = at, why
	}
	return Reference{}, &ParseError{s, bad, reason}
}

// parse returns the byte that is wrong and why; no reason means no error. So
// do the checks of the parts.
func parse(s string) (r Reference, bad int, reason string) {
	r.original = s
	name := s
	if at := strings.IndexByte(s, '@'); at >= 0 {
		name = s[:at]
		if r.digest, bad, reason = parseDigest(s[at+1:]); reason != "" {
			return r, at + 1 + bad, reason
		}
	}
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 && strings.IndexByte(name[colon:], '/') < 0 {
		r.tag = name[colon+1:]
		if bad, reason = checkTag(r.tag); reason != "" {
			return r, colon + 1 + bad, reason
		}
		name = name[:colon]
	}
	r.registry, r.path = splitRegistry(name)
	if r.registry != "" {
		if bad, reason = checkRegistry(r.registry); reason != "" {
			return r, bad, reason
		}
	}
	if bad, reason = checkPath(r.path); reason != "" {
		return r, len(name) - len(r.path) + bad, reason
	}
	if r.registry == "" || r.registry == "index.docker.io" {
		r.registry = dockerHub
	}
	r.official = r.registry == dockerHub && strings.IndexByte(r.path, '/') < 0
	if limit := maxRepository - len(official+"/"); r.official && len(r.path) > limit {
		return r, len(name) - len(r.path) + limit, `the repository is longer than 255 characters with the "library/" that belongs before it`
	}
	if isImageID(s) {
		return r, 0, "64 hex digits are an image id, not a name; write name@sha256:" + s[:6] + "… or a tag"
	}
	return r, 0, ""
}

// isImageID reports whether s can only be the id of a local image.
func isImageID(s string) bool { return len(s) == 64 && isHex(s) }

// Registry is the registry's host with its port: docker.io, localhost:5000.
func (r Reference) Registry() string { return r.registry }

// Repository is the path in the registry: library/nginx.
func (r Reference) Repository() string {
	if r.official {
		return official + "/" + r.path
	}
	return r.path
}

// Tag is the tag, or "" where the reference has none.
func (r Reference) Tag() string { return r.tag }

// Digest is the digest, or "" where the reference has none.
func (r Reference) Digest() Digest { return r.digest }

// Pinned reports whether the reference names exactly one content.
func (r Reference) Pinned() bool { return r.digest != "" }

// Name is registry and repository: docker.io/library/nginx.
func (r Reference) Name() string {
	switch {
	case r.official:
		return dockerHub + "/" + official + "/" + r.path
	case r.path == "":
		return ""
	}
	return r.registry + "/" + r.path
}

// Familiar is the shortest name that [Parse] reads as [Reference.Name], as
// people write it: nginx for docker.io/library/nginx, acme/api for
// docker.io/acme/api.
func (r Reference) Familiar() string {
	if r.registry != dockerHub {
		return r.Name()
	}
	short := r.path
	if name, found := strings.CutPrefix(short, official+"/"); found && strings.IndexByte(name, '/') < 0 {
		short = name
	}
	if registry, _ := splitRegistry(short); registry != "" || isImageID(short) {
		return dockerHub + "/" + short
	}
	return short
}

// String is the normalised reference: docker.io/library/nginx:1.25@sha256:….
// Parsing it gives a reference with the same parts.
func (r Reference) String() string {
	s := r.Name()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if r.digest != "" {
		s += "@" + string(r.digest)
	}
	return s
}

// Original is the text that was parsed, byte for byte.
func (r Reference) Original() string { return r.original }

// MarshalText writes the normalised reference, and nothing for the zero value.
func (r Reference) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a reference with [Parse].
func (r *Reference) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// splitRegistry separates the registry from a name without tag and digest, by
// Docker's rule: the first component is a host if it has a dot, a colon or an
// upper-case letter, or is localhost. registry is "" where none is named.
func splitRegistry(name string) (registry, path string) {
	first, rest, found := strings.Cut(name, "/")
	if !found {
		return "", name
	}
	if first == "localhost" {
		return first, rest
	}
	for i := range len(first) {
		if c := first[i]; c == '.' || c == ':' || 'A' <= c && c <= 'Z' {
			return first, rest
		}
	}
	return "", name
}

func checkRegistry(registry string) (bad int, reason string) {
	host, port := registry, ""
	if registry[0] == '[' {
		end := strings.IndexByte(registry, ']')
		if end < 0 {
			return 0, `the IPv6 address lacks its "]"`
		}
		host, port = registry[:end+1], registry[end+1:]
		if bad, reason = checkIPv6(registry[1:end]); reason != "" {
			return 1 + bad, reason
		}
	} else {
		if colon := strings.IndexByte(registry, ':'); colon >= 0 {
			host, port = registry[:colon], registry[colon:]
		}
		if bad, reason = checkHost(host); reason != "" {
			return bad, reason
		}
	}
	bad, reason = checkPort(port)
	return len(host) + bad, reason
}

// checkIPv6 is as generous as distribution/reference: the digits are right,
// the address need not be.
func checkIPv6(address string) (bad int, reason string) {
	if address == "" {
		return 0, "the IPv6 address is empty"
	}
	for i := range len(address) {
		if c := address[i]; !isHexDigit(c) && !isUpperHexDigit(c) && c != ':' {
			return i, "not allowed in an IPv6 address (hex digits and ':' are)"
		}
	}
	return 0, ""
}

func checkHost(host string) (bad int, reason string) {
	if host == "" {
		return 0, "the registry's host name is missing"
	}
	label := 0 // where the current label starts
	for i := 0; i <= len(host); i++ {
		if i < len(host) && host[i] != '.' {
			if c := host[i]; !isAlphanumeric(c) && c != '-' {
				return i, "not allowed in a registry's host name (letters, digits, '-' and '.' are)"
			}
			continue
		}
		switch {
		case i == label:
			return i, "a part of the registry's host name is empty"
		case host[label] == '-':
			return label, "a part of a registry's host name cannot begin with '-'"
		case host[i-1] == '-':
			return i - 1, "a part of a registry's host name cannot end with '-'"
		}
		label = i + 1
	}
	return 0, ""
}

// checkPort takes a port with the ':' before it, or nothing.
func checkPort(port string) (bad int, reason string) {
	switch {
	case port == "":
		return 0, ""
	case port[0] != ':':
		return 0, `want ":PORT" or "/" after the IPv6 address`
	case port == ":":
		return 0, "the registry's port is missing"
	}
	if n := 1 + leadingDigits(port[1:]); n < len(port) {
		return n, "the registry's port is not a number"
	}
	return 0, ""
}

func checkPath(path string) (bad int, reason string) {
	if path == "" {
		return 0, "the repository is missing"
	}
	if len(path) > maxRepository {
		return maxRepository, "the repository is longer than 255 characters"
	}
	start := 0 // of the current component
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if i == start {
				if i == len(path) {
					return i - 1, "ends with a slash; the repository is not complete"
				}
				return i, "a part of the repository is empty (two slashes, or one at the start)"
			}
			if !isLowerAlphanumeric(path[i-1]) {
				return i - 1, "a part of a repository must end with a lower-case letter or a digit"
			}
			start = i + 1
			continue
		}
		c := path[i]
		switch {
		case isLowerAlphanumeric(c):
		case 'A' <= c && c <= 'Z':
			return i, "a repository has no upper-case letters; write it in lower case"
		case c == ':':
			return i, "a second ':'; there is one tag, after the last '/'"
		case c != '.' && c != '_' && c != '-':
			return i, "not allowed in a repository (lower-case letters, digits, '.', '_' and '-' are)"
		case i == start:
			return i, "a part of a repository must begin with a lower-case letter or a digit"
		case path[i-1] == '-' && c == '-':
		case path[i-1] == '_' && c == '_' && i-1 > start && isLowerAlphanumeric(path[i-2]):
		case !isLowerAlphanumeric(path[i-1]):
			return i, "separators in a repository are one '.', one or two '_', or any number of '-'"
		}
	}
	return 0, ""
}

func checkTag(tag string) (bad int, reason string) {
	if tag == "" {
		return 0, "nothing after ':'; write a tag, or leave the ':' out"
	}
	if len(tag) > maxTag {
		return maxTag, "the tag is longer than 128 characters"
	}
	for i := range len(tag) {
		c := tag[i]
		switch {
		case isAlphanumeric(c) || c == '_':
		case c != '.' && c != '-':
			return i, "not allowed in a tag (letters, digits, '_', '.' and '-' are)"
		case i == 0:
			return i, "a tag must begin with a letter, a digit or '_'"
		}
	}
	return 0, ""
}

func isLowerAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) }

func isAlphanumeric(c byte) bool { return isLowerAlphanumeric(c) || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHexDigit(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }

func isUpperHexDigit(c byte) bool { return 'A' <= c && c <= 'F' }

func isHex(s string) bool { return s != "" && leadingHex(s) == len(s) }

func leadingHex(s string) int {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return i
		}
	}
	return len(s)
}

func leadingDigits(s string) int {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return i
		}
	}
	return len(s)
}
