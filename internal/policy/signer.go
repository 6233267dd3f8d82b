package policy

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Signer is an identity whose signatures are trusted. It has a PublicKey, or
// an Issuer and an identity.
type Signer struct {
	Name string
	// PublicKey is the PEM text of a key (PKIX, as cosign.pub is).
	PublicKey string
	// Issuer is the OIDC issuer of a keyless signature, and Identity the subject
	// of its certificate: an address or a workflow. IdentityRegexp is a pattern
	// that the whole subject matches, instead.
	Issuer, Identity, IdentityRegexp string

	images globs
}

// Signs reports whether the signer is one for images of name, a normalised
// repository.
func (s *Signer) Signs(name string) bool { return s.images.match(name) }

// Images returns the patterns over normalised repositories that it signs.
func (s *Signer) Images() []string { return s.images.patterns() }

// Signers returns the trusted signers in the order of the file.
func (p *Policy) Signers() []*Signer { return slices.Clone(p.signers) }

func (r *reader) signer(n *yaml.Node, path string) *Signer {
	s := &Signer{}
	text := func(to *string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) { *to, _ = r.text(n, path) }
	}
	has := r.mapping(n, path,
		field{"name", text(&s.Name)},
		field{"images", func(n *yaml.Node, path string) { s.images = r.globs(n, path, imageGlob) }},
		field{"publicKey", func(n *yaml.Node, path string) { s.PublicKey = r.publicKey(n, path) }},
		field{"issuer", text(&s.Issuer)},
		field{"identity", text(&s.Identity)},
		field{"identityRegexp", func(n *yaml.Node, path string) {
			s.IdentityRegexp, _ = convert(r, n, path, func(s string) (string, error) {
				_, err := regexp.Compile(s)
				if err != nil {
					return "", errors.New(quote(s) + " is no regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: "))
				}
				return s, nil
			})
		}},
	)
	if has == nil {
		return s
	}
	for _, required := range []struct{ key, hint string }{
		{"name", "write what people call it, e.g. name: release"},
		{"images", "write which images it signs, e.g. images: [ghcr.io/acme/**]"},
	} {
		if has[required.key] == nil {
			r.fail(n, join(path, required.key), "missing, %s", required.hint)
		}
	}
	keyless := has["issuer"] != nil || has["identity"] != nil || has["identityRegexp"] != nil
	switch {
	case has["publicKey"] != nil && keyless:
		r.fail(has["publicKey"], join(path, "publicKey"), "issuer or identity is given, too: a signer has a key or an identity")
	case has["publicKey"] != nil:
	case !keyless:
		r.fail(n, path, "missing publicKey, or else issuer and identity")
	case has["issuer"] == nil:
		r.fail(n, join(path, "issuer"), "missing, write e.g. issuer: https://token.actions.githubusercontent.com")
	case has["identity"] == nil && has["identityRegexp"] == nil:
		r.fail(n, join(path, "identity"), "missing: without one everybody with an account at the issuer would be trusted")
	case has["identity"] != nil && has["identityRegexp"] != nil:
		r.fail(has["identityRegexp"], join(path, "identityRegexp"), "identity is given, too, keep one of them")
	}
	return s
}

// publicKey reads the PEM text of a public key.
func (r *reader) publicKey(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.fail(n, path, "found %s, expected the PEM text of a public key", describe(n))
		return ""
	}
	block, rest := pem.Decode([]byte(n.Value))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		r.fail(n, path, "not the PEM text of one public key, write it in a block that begins with |")
		return ""
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		r.fail(n, path, "not a public key in the form of PKIX, as cosign.pub has it")
		return ""
	}
	return string(pem.EncodeToMemory(block))
}
