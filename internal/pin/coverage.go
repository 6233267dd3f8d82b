package pin

import (
	"regexp"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/manifest"
)

// A Lookalike is a text that looks like a reference and is not among those that
// were found: in the text of a ConfigMap, in a variable, in a comment.
type Lookalike struct {
	Text         string
	Line, Column int
}

// looks is what may be a reference: a host with a dot or a port, or localhost, a
// path, and a tag or a digest.
var looks = regexp.MustCompile(`(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::\d{1,5})?(?:/[a-z0-9][a-z0-9._-]*)+(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?(?:@sha256:[0-9a-f]{64})?`)

// Coverage counts the texts of a file that look like a reference with a registry,
// and lists those that were not found. It errs on the side of too many.
func Coverage(data []byte, found *manifest.Result) (all int, missed []Lookalike) {
	places := newLines(data)
	for _, m := range looks.FindAllIndex(data, -1) {
		start, end := m[0], m[1]
		text := string(data[start:end])
		if start > 0 && strings.IndexByte("/@:.-_~$", data[start-1]) >= 0 && !strings.HasSuffix(string(data[:start]), "docker://") {
			continue // A part of an address or of a path.
		}
		ref, err := image.Parse(text)
		if err != nil || ref.Tag() == "" && !ref.Pinned() {
			continue
		}
		all++
		if covered(found, start, end) {
			continue
		}
		line, column := places.at(start)
		missed = append(missed, Lookalike{text, line, column})
	}
	return all, missed
}

// covered reports whether a reference that was found has the bytes.
func covered(found *manifest.Result, start, end int) bool {
	for i := range found.References {
		r := &found.References[i]
		if r.Span.Start < end && start < r.Span.End {
			return true
		}
	}
	return false
}

// lines counts lines forward.
type lines struct {
	data        []byte
	upTo, start int
	line        int
}

func newLines(data []byte) *lines { return &lines{data: data, line: 1} }

// at is the place of an offset that is not before the last one asked for.
func (l *lines) at(offset int) (line, column int) {
	for ; l.upTo < offset; l.upTo++ {
		if l.data[l.upTo] == '\n' {
			l.line++
			l.start = l.upTo + 1
		}
	}
	return l.line, 1 + len([]rune(string(l.data[l.start:offset])))
}
