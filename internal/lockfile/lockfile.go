// Package lockfile holds tagwarden.lock: which digest each image reference is
// pinned to, one line a reference, sorted, so that a review shows what moved.
package lockfile

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tagwarden/tagwarden/image"
)

// Name is what the file is called unless somebody says otherwise.
const Name = "tagwarden.lock"

// MaxSize is the size of the largest file that is read, in bytes: some hundred
// thousand references.
const MaxSize = 64 << 20

// Header begins every lock file that is written. The version of the format
// follows it.
const Header = "# tagwarden.lock "

const header = Header + "v1\n# reference digest platforms when from\n"

// The words for what a digest is of, where its platforms are not known.
const (
	Index    = "index"    // all platforms of an index
	Manifest = "manifest" // the one platform of an image
	Commit   = "commit"   // a commit of git, for a GitHub action
	Unknown  = "-"
)

// A Line is what one reference is pinned to.
type Line struct {
	// Reference is normalised and has a tag: docker.io/library/nginx:1.25. That
	// of a GitHub action is owner/repository@revision.
	Reference string
	// Digest is that of an index or a manifest. A commit of git has the
	// algorithm git: and 40 or 64 hex digits.
	Digest string
	// Platforms are those of the digest, with commas between; or one of the words
	// of this package.
	Platforms string
	// When is when that was so, in whole seconds.
	When time.Time
	// From says who said so: registry:HOST, cluster:NAME, history, file. It has
	// no blanks.
	From string
}

// IsCommit reports whether the line is about a GitHub action.
func (l *Line) IsCommit() bool { return strings.HasPrefix(l.Digest, git) }

const git = "git:"

// A File is a lock file. The zero File is empty and ready. It is not safe for
// concurrent use while it changes.
type File struct {
	lines map[string]Line
	// by finds a reference by what it is pinned to.
	by map[pinned]string
}

type pinned struct{ name, digest string }

// A ParseError says what is wrong with a lock file, and where.
type ParseError struct {
	// Line and Column count from 1, Column in characters.
	Line, Column int
	Reason       string
}

// Error is LINE:COLUMN: reason.
func (e *ParseError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Reason) }

var (
	commit    = regexp.MustCompile(`^git:(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	action    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+@[^\s@]+$`)
	platforms = regexp.MustCompile(`^(?:-|index|manifest|commit|[a-z0-9_./-]+(?:,[a-z0-9_./-]+)*)$`)
)

// Parse reads a lock file. The error is a [*ParseError]. An empty text is an
// empty file.
func Parse(data []byte) (*File, error) {
	f := &File{}
	number := 0
	for text := range bytes.Lines(data) {
		number++
		line := strings.TrimRight(string(text), "\r\n")
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
			if v, ok := strings.CutPrefix(line, Header); ok && v != "v1" {
				return nil, &ParseError{1, 1, fmt.Sprintf("format %.20q is newer than this program; update tagwarden", v)}
			}
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := parseLine(line)
		if err != nil {
			err.Line = number
			return nil, err
		}
		if before, ok := f.lines[l.Reference]; ok {
			return nil, &ParseError{number, 1, fmt.Sprintf("%s has a line before, with %s; keep one of them", l.Reference, before.Digest)}
		}
		f.Set(l)
	}
	return f, nil
}

// parseLine reads one line. The error has no line number.
func parseLine(line string) (Line, *ParseError) {
	type field struct {
		text   string
		column int
	}
	var fields []field
	column := 1
	for rest := line; rest != ""; {
		word, after, _ := strings.Cut(rest, " ")
		if word != "" {
			fields = append(fields, field{word, column})
		}
		column += utf8.RuneCountInString(word) + 1
		rest = after
	}
	bad := func(n int, format string, a ...any) *ParseError {
		e := &ParseError{Column: utf8.RuneCountInString(line) + 1, Reason: fmt.Sprintf(format, a...)}
		if n < len(fields) {
			e.Column = fields[n].column
		}
		return e
	}
	const want = 5
	if len(fields) != want {
		return Line{}, bad(min(want, len(fields)), "want reference, digest, platforms, time and origin, with blanks between; there are %d", len(fields))
	}
	l := Line{Reference: fields[0].text, Digest: fields[1].text, Platforms: fields[2].text, From: fields[4].text}
	if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(line) {
		return Line{}, bad(0, "has characters that do not print")
	}
	if l.IsCommit() {
		switch {
		case !commit.MatchString(l.Digest):
			return Line{}, bad(1, "%.80q is no commit; write git: and its 40 or 64 hex digits", l.Digest)
		case !action.MatchString(l.Reference):
			return Line{}, bad(0, "%.80q is no GitHub action; write owner/repository@revision", l.Reference)
		}
	} else {
		ref, err := image.Parse(l.Reference)
		switch {
		case err != nil:
			return Line{}, bad(0, "%v", err)
		case ref.Tag() == "" || ref.Pinned() || ref.String() != l.Reference:
			return Line{}, bad(0, "%.300s is not written in full; want registry/repository:tag, as in docker.io/library/nginx:1.25", l.Reference)
		case !image.Digest(l.Digest).Valid():
			return Line{}, bad(1, "%.80q is no digest; it is sha256: and 64 lower-case hex digits", l.Digest)
		}
	}
	if !platforms.MatchString(l.Platforms) {
		return Line{}, bad(2, "%.80q are no platforms; write linux/amd64,linux/arm64 or index", l.Platforms)
	}
	when, err := time.Parse(time.RFC3339, fields[3].text)
	if err != nil || when.UTC().Format(time.RFC3339) != fields[3].text {
		return Line{}, bad(3, "%.40q is no time; write it in UTC, as 2026-01-31T15:04:05Z", fields[3].text)
	}
	l.When = when.UTC()
	return l, nil
}

// Len is how many lines there are.
func (f *File) Len() int { return len(f.lines) }

// Get finds the line of a reference as [Line] has it.
func (f *File) Get(reference string) (Line, bool) {
	l, ok := f.lines[reference]
	return l, ok
}

// Find finds the reference of an image that is pinned to a digest: what a bare
// digest in a file follows. ok is false where there is none, or more than one.
func (f *File) Find(name, digest string) (reference string, ok bool) {
	reference = f.by[pinned{name, digest}]
	return reference, reference != ""
}

// Set keeps a line in the place of the one that its reference had. The line must
// be one that Parse takes; blanks in its origin become underscores.
func (f *File) Set(l Line) {
	if f.lines == nil {
		f.lines, f.by = map[string]Line{}, map[pinned]string{}
	}
	l.When = l.When.UTC().Truncate(time.Second)
	l.Platforms = cmp.Or(l.Platforms, Unknown)
	l.From = cmp.Or(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == ' ' || r == utf8.RuneError {
			return '_'
		}
		return r
	}, l.From), Unknown)
	if old, ok := f.lines[l.Reference]; ok {
		if key := (pinned{nameOf(old.Reference), old.Digest}); f.by[key] == old.Reference {
			delete(f.by, key)
		}
	}
	f.lines[l.Reference] = l
	key := pinned{nameOf(l.Reference), l.Digest}
	if other, ok := f.by[key]; ok && other != l.Reference {
		f.by[key] = "" // Which of the two is meant nobody can tell.
	} else {
		f.by[key] = l.Reference
	}
}

// nameOf is a reference of a line without its tag or revision.
func nameOf(reference string) string {
	if name, _, ok := strings.Cut(reference, "@"); ok {
		return name
	}
	return reference[:max(0, strings.LastIndexByte(reference, ':'))]
}

// All are the lines, sorted by their references.
func (f *File) All() []Line {
	return slices.SortedFunc(maps.Values(f.lines), func(a, b Line) int { return cmp.Compare(a.Reference, b.Reference) })
}

// Bytes is the file as it is written. Parsing it gives an equal file.
func (f *File) Bytes() []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for _, l := range f.All() {
		fmt.Fprintf(&b, "%s %s %s %s %s\n", l.Reference, l.Digest, l.Platforms, l.When.Format(time.RFC3339), l.From)
	}
	return b.Bytes()
}
