// Package pushes asks registries when a tag was last pushed, by whom, and who
// may write: evidence for who has to decide whether a change was meant.
//
// It comes in two ways. A [Receiver] takes what registries tell by themselves,
// as webhooks ([Parse] reads them). A [Source] asks the API of a registry
// ([For] finds the right one).
//
// No answer is worth more than who gave it, so each has its source and its
// [Trust]. What nobody recorded stays empty: the zero time and "" mean "not
// known", never "now" or "nobody".
package pushes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tagwarden/tagwarden/image"
)

// Kind is the software or the service that a registry is. It says which API
// it has, and which form its webhooks have.
type Kind string

// The kinds. [For] knows the services by their hosts; self-hosted registries
// are named in [Config.Kinds].
const (
	Distribution Kind = "distribution" // CNCF Distribution, docker-registry; webhooks only
	DockerHub    Kind = "dockerhub"
	GitHub       Kind = "github"
	GitLab       Kind = "gitlab"
	Harbor       Kind = "harbor"
	Quay         Kind = "quay"
	Zot          Kind = "zot" // webhooks only
	ECR          Kind = "ecr"
	Google       Kind = "google" // Artifact Registry, also as gcr.io
	Azure        Kind = "azure"
)

// Trust is how much a fact is worth, by who says so. Facts of different trust
// are never merged into one.
type Trust uint8

// The classes of trust, from the least. The zero Trust is [Claimed], so that
// nothing is believed by mistake.
const (
	// Claimed is said by somebody whom nobody checks: the publisher, in the
	// image's own config and labels, or the sender of a webhook that nothing
	// proves. An attacker chooses it freely.
	Claimed Trust = iota
	// Observed is what Tagwarden saw itself, such as the first time that a tag
	// led to a digest. The push was not later than that.
	Observed
	// Recorded is what the registry recorded when it took the push. Who runs
	// the registry, or has taken it over, can forge it; a publisher cannot.
	Recorded
)

var trusts = [...]string{Claimed: "publisher-claimed", Observed: "observed", Recorded: "registry-recorded"}

// String is publisher-claimed, observed or registry-recorded.
func (t Trust) String() string {
	if int(t) < len(trusts) {
		return trusts[t]
	}
	return fmt.Sprintf("Trust(%d)", uint8(t))
}

// MarshalText is [Trust.String].
func (t Trust) MarshalText() ([]byte, error) {
	if int(t) >= len(trusts) {
		return nil, fmt.Errorf("no such trust: %d", uint8(t))
	}
	return []byte(trusts[t]), nil
}

// UnmarshalText reads what [Trust.MarshalText] wrote.
func (t *Trust) UnmarshalText(text []byte) error {
	i := slices.Index(trusts[:], string(text))
	if i < 0 {
		return fmt.Errorf("no such trust: %s", quoted(string(text)))
	}
	*t = Trust(i)
	return nil
}

// Push is that a tag came to lead to a digest, or that a digest came. Its texts
// are from outside; they have no control characters and bounded lengths.
type Push struct {
	// Repository is the name as [image.Reference.Name] gives it:
	// docker.io/library/nginx.
	Repository string `json:"repository"`
	// Tag is "" for a push by digest alone.
	Tag string `json:"tag,omitempty"`
	// Digest is that of the index or the manifest; "" where it is not known.
	Digest image.Digest `json:"digest,omitempty"`
	// At is when; the zero time where it is not known.
	At time.Time `json:"at,omitzero"`
	// OfDigest is true where At is when the registry got the digest: a tag
	// that was moved to it later does not show.
	OfDigest bool `json:"ofDigest,omitempty"`
	// By is the account that pushed, as the registry names it.
	By string `json:"by,omitempty"`
	// Addr is the address that it pushed from. Behind a proxy that is the
	// proxy's, or what the client said.
	Addr string `json:"addr,omitempty"`
	// UserAgent is what the pushing client said it was.
	UserAgent string `json:"userAgent,omitempty"`
	// Source is where this is from, such as "Docker Hub API".
	Source string `json:"source"`
	// Trust is what it is worth.
	Trust Trust `json:"trust"`
	// Confirmed is true where the registry answered a question of ours, or we
	// saw it ourselves. It is false for claims and for what a webhook said.
	// That is a hint, as messages are repeated, late and forged: ask the
	// registry with a HEAD request where the tag leads, and set it if the
	// digest is this one.
	Confirmed bool `json:"confirmed"`
}

// String is the push as one line: what, when, who, and what that is worth.
func (p Push) String() string {
	s := p.Repository
	if p.Tag != "" {
		s += ":" + p.Tag
	}
	if p.Digest != "" {
		s += "@" + string(p.Digest)
	}
	s += " pushed"
	switch {
	case p.At.IsZero():
		s += " at an unknown time"
	case p.OfDigest:
		s += " " + p.At.Format(time.RFC3339) + " (the digest; the tag may have moved to it later)"
	default:
		s += " " + p.At.Format(time.RFC3339)
	}
	if p.By != "" {
		s += " by " + p.By
	}
	return s + " (" + p.Trust.String() + ", " + p.Source + ")"
}

// Writer is somebody who may push to a repository.
type Writer struct {
	// Name is that of a user, a team or a robot, as the registry writes it.
	Name string `json:"name"`
	// Role is what the registry calls the right that it is by: "admin".
	Role string `json:"role"`
	// Source is where this is from, such as "Quay API".
	Source string `json:"source"`
}

// Observe makes the push of what was seen: at a time, a tag led to a digest.
func Observe(ref image.Reference, digest image.Digest, at time.Time) Push {
	return Push{
		Repository: ref.Name(), Tag: tagOf(ref), Digest: digest, At: at,
		Source: "own observation", Trust: Observed, Confirmed: true,
	}
}

// The labels that a publisher says its own story in (OCI image spec 1.1,
// annotations.md "Pre-Defined Annotation Keys").
const (
	labelCreated = "org.opencontainers.image.created"
	labelAuthors = "org.opencontainers.image.authors"
)

// Claims is what an image's config says of its own making: one push for its
// creation time, and one for its label if that says another one. It is
// [Claimed]: reproducible builds have 1970 here, and attackers what they like.
// The format is that of the OCI image spec 1.1, config.md. The error is about
// a config that nobody can read.
func Claims(ref image.Reference, digest image.Digest, config []byte) ([]Push, error) {
	var c struct {
		Created string `json:"created"`
		Author  string `json:"author"`
		Config  struct {
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("read the config of %s: it is no image config; check the digest", ref)
	}
	claim := func(created, author, source string) Push {
		return Push{
			Repository: ref.Name(), Tag: ref.Tag(), Digest: digest, At: rfc3339(created),
			By: clean(author), Source: source, Trust: Claimed,
		}
	}
	var claims []Push
	p := claim(c.Created, c.Author, "image config")
	if !p.At.IsZero() || p.By != "" {
		claims = append(claims, p)
	}
	l := claim(c.Config.Labels[labelCreated], c.Config.Labels[labelAuthors], "image labels")
	if (!l.At.IsZero() || l.By != "") && (!l.At.Equal(p.At) || l.By != p.By) {
		claims = append(claims, l)
	}
	return claims, nil
}

// tagOf is the tag that a runtime takes a reference by; "" where that is a
// digest alone.
func tagOf(ref image.Reference) string {
	if ref.Tag() == "" && !ref.Pinned() {
		return "latest"
	}
	return ref.Tag()
}

// newestFirst sorts pushes; those without a time come last.
func newestFirst(pushes []Push) {
	slices.SortStableFunc(pushes, func(a, b Push) int { return b.At.Compare(a.At) })
}

// maxText is the longest text from outside that a push or a writer has, in
// bytes.
const maxText = 256

// clean is text from outside as one line of bounded length: it goes to
// terminals, logs and databases.
func clean(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError {
			s = s[:len(s)-n]
		}
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// digest is s, or "" if that is no digest.
func digestOf(s string) image.Digest {
	d, err := image.ParseDigest(s)
	if err != nil {
		return ""
	}
	return d
}

// rfc3339 reads a time as most registries write it; the zero time if it is
// none, or one that no registry can have been there at.
func rfc3339(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return sane(t)
}

// unix reads seconds since 1970; 0 is no time.
func unix(seconds float64) time.Time {
	const year10000 = 253402300800
	if !(seconds > 0 && seconds < year10000) {
		return time.Time{}
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e6)*1e3).UTC()
}

// sane is t in UTC, or the zero time where JSON could not hold it.
func sane(t time.Time) time.Time {
	if t.Year() < 1 || t.Year() > 9999 || t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
