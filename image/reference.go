// Package image holds image references: what a pod, a Dockerfile or a command
// line asks a container runtime to run, and how far such a name can be relied
// on.
//
// The grammar is that of the OCI distribution spec (1.1, "Pulling manifests":
// <name>, <reference>) with Docker's short names as
// github.com/distribution/reference normalises them: nginx is
// docker.io/library/nginx. Two things are stricter than there, because no
// runtime can pull what they forbid: a digest must be complete (sha256 with 64
// lower-case hex digits, sha384 with 96, sha512 with 128), and the text may not
// be a template. One thing is different: no tag is ever made up. nginx stays
// without one, and its [Class] says so.
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
	if err := checkText(s); err != nil {
		return Reference{}, err
	}
	r := Reference{original: s}
	name := s
	if at := strings.IndexByte(s, '@'); at >= 0 {
		name = s[:at]
		d, reason, offset := parseDigest(s[at+1:])
		if reason != "" {
			return Reference{}, &ParseError{s, at + 1 + offset, reason}
		}
		r.digest = d
	}
	slash := strings.LastIndexByte(name, '/')
	if colon := strings.LastIndexByte(name, ':'); colon > slash {
		r.tag = name[colon+1:]
		if bad, reason := checkTag(r.tag); reason != "" {
			return Reference{}, &ParseError{s, colon + 1 + bad, reason}
		}
		name = name[:colon]
	}
	r.registry, r.path = splitRegistry(name)
	if r.registry != "" {
		if bad, reason := checkRegistry(r.registry); reason != "" {
			return Reference{}, &ParseError{s, bad, reason}
		}
	}
	start := len(name) - len(r.path)
	if bad, reason := checkPath(r.path); reason != "" {
		return Reference{}, &ParseError{s, start + bad, reason}
	}
	switch r.registry {
	case "", "index.docker.io":
		r.registry = dockerHub
	}
	r.official = r.registry == dockerHub && strings.IndexByte(r.path, '/') < 0
	if r.official && len(s) == 64 && isHex(r.path) {
		return Reference{}, &ParseError{s, 0, "64 hex digits are an image id, not a name; write name@sha256:" + s[:6] + "… or a tag"}
	}
	return r, nil
}

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
	if r.official {
		return dockerHub + "/" + official + "/" + r.path
	}
	return r.registry + "/" + r.path
}

// Familiar is the short form of [Reference.Name] that people write: nginx for
// docker.io/library/nginx, acme/api for docker.io/acme/api.
func (r Reference) Familiar() string {
	if r.registry == dockerHub {
		return strings.TrimPrefix(r.path, official+"/")
	}
	return r.registry + "/" + r.path
}

// String is the normalised reference: docker.io/library/nginx:1.25@sha256:….
// Parsing it gives a reference with the same parts.
func (r Reference) String() string {
	if r.original == "" {
		return ""
	}
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

// MarshalText writes the normalised reference.
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
	if first == "localhost" || strings.HasPrefix(first, "[") {
		return first, rest
	}
	for i := range len(first) {
		if c := first[i]; c == '.' || c == ':' || 'A' <= c && c <= 'Z' {
			return first, rest
		}
	}
	return "", name
}

// The checks return the byte that is wrong and why; no reason means no error.

func checkRegistry(host string) (bad int, reason string) {
	name, port := host, ""
	if host[0] == '[' {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return 0, `the IPv6 address lacks its "]"`
		}
		for i := 1; i < end; i++ {
			if c := host[i]; !isHexDigit(c) && !('A' <= c && c <= 'F') && c != ':' {
				return i, "not an IPv6 address"
			}
		}
		if end == 1 {
			return 0, "the IPv6 address is empty"
		}
		name, port = "", host[end+1:]
		if port != "" && port[0] != ':' {
			return end + 1, `want ":PORT" or "/" after the IPv6 address`
		}
	} else if colon := strings.IndexByte(host, ':'); colon >= 0 {
		name, port = host[:colon], host[colon:]
		if name == "" {
			return 0, "the registry's host name is missing"
		}
	}
	if port != "" {
		if port == ":" {
			return len(host) - 1, "the registry's port is missing"
		}
		for i := 1; i < len(port); i++ {
			if port[i] < '0' || port[i] > '9' {
				return len(host) - len(port) + i, "the registry's port is not a number"
			}
		}
	}
	label := 0 // where the current label of the host name starts
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			if c := name[i]; !isAlphanumeric(c) && c != '-' {
				return i, "not allowed in a registry's host name (letters, digits, '-' and '.' are)"
			}
			continue
		}
		switch {
		case len(name) == 0:
		case i == label:
			return i, "a part of the registry's host name is empty"
		case name[label] == '-' || name[i-1] == '-':
			return label, "a part of a registry's host name cannot begin or end with '-'"
		}
		label = i + 1
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
		case c != '.' && c != '_' && c != '-':
			if c == ':' {
				return i, "a second ':'; there is one tag, after the last '/'"
			}
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

func isLowerAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return isLowerAlphanumeric(c) || 'A' <= c && c <= 'Z' }

func isHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return s != ""
}
