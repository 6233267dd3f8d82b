package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Fault is what is wrong with a reference by itself, wherever it stands.
type Fault struct {
	ID        finding.ID      // "" where nothing is wrong
	Reference image.Reference // the zero value where it is invalid
	Class     image.Class
	Message   string // what is wrong, in a sentence without a full stop
	Fix       string // what to write instead
}

// Fault returns what is wrong with the reference that text spells: F-01, TW-02,
// TW-09 or nothing.
func (p *Policy) Fault(text string) Fault {
	ref, err := image.Parse(text)
	if err != nil {
		if text = shown(text); text == "" {
			text = "the empty text"
		}
		return Fault{
			ID: finding.TW09, Class: image.Invalid,
			Message: fmt.Sprintf("%s is no image reference: %v", text, parseReason(err)),
			Fix:     "write registry/repository:tag@sha256:DIGEST, with a digest of 64 lower-case hex digits",
		}
	}
	class, why := p.Class(ref)
	f := Fault{Reference: ref, Class: class}
	switch class {
	case image.Pinned:
		return f
	case image.Fixed:
		f.ID, f.Message = finding.TW02, fmt.Sprintf("%s is not pinned to a digest: %s", text, why)
	default:
		f.ID, f.Message = finding.F01, fmt.Sprintf("%s is mutable: %s", text, why)
	}
	f.Fix = WriteInstead(ref)
	return f
}

// WriteInstead returns what to write instead of a reference without a digest,
// where the digest is not known.
func WriteInstead(ref image.Reference) string {
	name, tag := ref.Familiar(), ref.Tag()
	if tag == "" || strings.EqualFold(tag, "latest") {
		tag = "VERSION"
	}
	name += ":" + tag
	return "write " + name + "@sha256:DIGEST; tagwarden image resolve " + name + " prints the digest"
}

// shown is a text that is no reference, and so may be anything, on one line that
// is not endless.
func shown(text string) string {
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	if q := strconv.Quote(text); q != `"`+text+`"` {
		return q
	}
	return text
}

// parseReason is why a text is no reference, without the text.
func parseReason(err error) string {
	if parse, ok := errors.AsType[*image.ParseError](err); ok {
		return parse.Reason
	}
	return err.Error()
}
