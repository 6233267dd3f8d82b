package pin

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/internal/manifest"
)

// An edit replaces the bytes of a file from start up to end.
type edit struct {
	start, end int
	text       string
	kind       editKind
}

type editKind uint8

const (
	value   editKind = iota // of a scalar
	fill                    // of a scalar that had none
	added                   // a key with a value
	comment                 // no value at all
)

// A want is what is to become of one reference.
type want struct {
	edits []edit
	// text is the reference afterwards, as it is to be found again.
	text string
	// err is why nothing becomes of it.
	err error
}

// A splice changes the references of one file.
type splice struct {
	style  Style
	finder *manifest.Finder
	format manifest.Format
	data   []byte
	found  *manifest.Result
	// wants are by the index of the reference.
	wants []want
}

// maxSingle is how many edits are tried one by one if they cannot all be proven
// right together. Each is a parse of the file.
const maxSingle = 100

// add notes what a reference is to be pinned to.
func (s *splice) add(i int, a *Asked, digest string) {
	w := &s.wants[i]
	switch {
	case a.Action:
		s.action(w, a, digest)
	case a.Split != nil && a.Format == manifest.Dockerfile:
		s.dockerfile(w, a, digest)
	case a.Split != nil:
		s.split(w, a, digest)
	default:
		s.whole(w, a, digest)
	}
	if w.err != nil {
		w.edits = nil
	}
}

// nameIn is a reference as its author spells it, without tag and digest.
func nameIn(text string) string {
	name, _, _ := strings.Cut(text, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	return name
}

func (s *splice) whole(w *want, a *Asked, digest string) {
	if a.Digest != "" {
		before, _, _ := strings.Cut(a.Text, "@")
		w.text = before + "@" + digest
		w.edits = []edit{{a.Span.Start, a.Span.End, w.text, value}}
		return
	}
	name, tag := nameIn(a.Text), a.Image.Tag()
	w.text = name + ":" + tag + "@" + digest
	if a.Format == manifest.Devcontainer && a.Path == "features" {
		w.text = name + "@" + digest // Features have one of the two.
	}
	if s.style.Comment {
		if at, ok := s.room(a.Reference); ok {
			w.text = name + "@" + digest
			w.edits = []edit{{a.Span.Start, a.Span.End, w.text, value}, {at, at, tagComment(tag), comment}}
			return
		}
	}
	w.edits = []edit{{a.Span.Start, a.Span.End, w.text, value}}
}

// room is where a comment can follow a value: nothing but blanks and another
// comment come after it on its line.
func (s *splice) room(ref *manifest.Reference) (at int, ok bool) {
	switch {
	case ref.Style == manifest.Block, s.format == manifest.Dockerfile, s.format == manifest.Terraform, s.format == manifest.Devcontainer, manifest.IsJSON(s.data):
		return 0, false
	}
	at = ref.Span.End
	if ref.Style != manifest.Plain {
		at++ // The quote.
	}
	rest := strings.TrimRight(string(s.lineFrom(at)), "\r")
	after := strings.TrimLeft(rest, " \t")
	return at, after == "" || after[0] == '#' && len(after) < len(rest)
}

// lineFrom is the rest of a line without its end.
func (s *splice) lineFrom(at int) []byte {
	rest := s.data[min(at, len(s.data)):]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

func (s *splice) lineStart(at int) int { return bytes.LastIndexByte(s.data[:at], '\n') + 1 }

func (s *splice) action(w *want, a *Asked, digest string) {
	name, rev, _ := strings.Cut(a.Text, "@")
	w.text = name + "@" + strings.TrimPrefix(digest, git)
	w.edits = []edit{{a.Span.Start, a.Span.End, w.text, value}}
	if a.Digest != "" {
		return
	}
	at, ok := s.room(a.Reference)
	if !ok {
		w.err = errors.New("there is no room for a comment with the tag on its line; write it on a line of its own")
		return
	}
	w.edits = append(w.edits, edit{at, at, tagComment(rev), comment})
}

// split pins a reference in fields. A digest goes where there is a field for it,
// and behind the tag otherwise: the templates of most charts put the two
// together.
func (s *splice) split(w *want, a *Asked, digest string) {
	f := a.Split
	before, _, _ := strings.Cut(a.Text, "@")
	w.text = before + "@" + digest
	tag := string(s.data[f.Tag.Start:f.Tag.End])
	switch {
	case a.Anchored:
		w.err = errors.New("a part of it has an anchor, by which it may stand elsewhere, too; write the fields out")
	case a.Digest != "" && f.Digest.End > f.Digest.Start:
		w.edits = []edit{{f.Digest.Start, f.Digest.End, digest, value}}
	case a.Digest != "":
		tag, _, _ = strings.Cut(tag, "@")
		w.edits = []edit{{f.Tag.Start, f.Tag.End, tag + "@" + digest, value}}
	case f.Tag.End == f.Tag.Start:
		w.err = errors.New("it has no tag that a digest could be put to")
	case f.NoDigest != (manifest.Span{}) && !s.style.Renovate:
		text := digest
		if s.data[f.NoDigest.Start-1] == ':' {
			text = " " + text
		}
		w.edits = []edit{{f.NoDigest.Start, f.NoDigest.End, text, fill}}
		if s.format == manifest.Kustomization {
			w.text = nameIn(a.Text) + "@" + digest
		}
	case s.format == manifest.Kustomization && !s.style.Renovate:
		s.kustomize(w, a, digest)
	default:
		w.edits = []edit{{f.Tag.Start, f.Tag.End, tag + "@" + digest, value}}
	}
}

// kustomize puts a field digest behind newTag, which stays for people: kustomize
// writes both into the reference, and its older versions the digest alone
// (https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/images/).
func (s *splice) kustomize(w *want, a *Asked, digest string) {
	w.text = nameIn(a.Text) + "@" + digest
	tag := a.Split.Tag
	end := tag.End
	quoted := tag.Start > 0 && (s.data[tag.Start-1] == '"' || s.data[tag.Start-1] == '\'')
	if quoted {
		end++
	}
	// The key is on the line of its value, or somebody else may write it.
	start := s.lineStart(tag.Start)
	key := bytes.LastIndex(s.data[start:tag.Start], []byte("newTag"))
	if a.Style == manifest.Block || key < 0 {
		w.err = errors.New("newTag and its value are not on one line; write a digest beside it")
		return
	}
	head := s.data[start : start+key]
	keyQuote := ""
	if n := len(head); n > 0 && (head[n-1] == '"' || head[n-1] == '\'') {
		keyQuote, head = string(head[n-1:]), head[:n-1]
	}
	if s.inFlow(end) {
		valueQuote := ""
		if keyQuote == `"` { // As in JSON.
			valueQuote = `"`
		}
		w.edits = []edit{{end, end, ", " + keyQuote + "digest" + keyQuote + ": " + valueQuote + digest + valueQuote, added}}
		return
	}
	if strings.Trim(string(head), " -\ufeff") != "" {
		w.err = errors.New("there are other things before newTag on its line; write a digest beside it")
		return
	}
	// Behind the whole line with its comment, as deep as its neighbour.
	at := end + len(bytes.TrimRight(s.lineFrom(end), "\r"))
	lineEnd := "\n"
	if i := bytes.IndexByte(s.data, '\n'); i > 0 && s.data[i-1] == '\r' {
		lineEnd = "\r\n"
	}
	indent := strings.Repeat(" ", len(strings.TrimPrefix(string(head), "\ufeff")))
	w.edits = []edit{{at, at, lineEnd + indent + keyQuote + "digest" + keyQuote + ": " + digest, added}}
}

// inFlow reports whether a value ends in a flow mapping: a comma or a brace comes
// next.
func (s *splice) inFlow(at int) bool {
	for at < len(s.data) {
		switch c := s.data[at]; c {
		case ' ', '\t', '\r', '\n':
			at++
		case '#':
			at += len(s.lineFrom(at))
		default:
			return c == ',' || c == '}'
		}
	}
	return false
}

// argument is the begin of a line that gives a variable a default, up to the
// value.
var argument = regexp.MustCompile(`(?i)^[ \t]*ARG[ \t]+(?:\S+[ \t]+)*?(\w+)=["']?\S*$`)

// dockerfile pins a reference that is put together of several places: where its
// tag stands, which may be the default of an ARG.
func (s *splice) dockerfile(w *want, a *Asked, digest string) {
	f := a.Split
	before, _, _ := strings.Cut(a.Text, "@")
	at := f.Tag
	var text string
	switch {
	case a.Digest != "" && f.Digest.End > f.Digest.Start:
		at, text = f.Digest, digest
	case a.Digest != "", f.Tag.End == f.Tag.Start && a.Image.Tag() != "latest":
		w.err = errors.New("it is put together of several variables; write the digest into one of them")
		return
	case f.Tag.End > f.Tag.Start:
		text = string(s.data[f.Tag.Start:f.Tag.End]) + "@" + digest
	case f.Repository.End > f.Repository.Start && nameIn(a.Text) == a.Text:
		before += ":latest"
		at, text = f.Repository, string(s.data[f.Repository.Start:f.Repository.End])+":latest@"+digest
	default:
		w.err = errors.New("it is put together of several variables; write the digest into one of them")
		return
	}
	w.text = before + "@" + digest
	line := s.data[s.lineStart(at.Start):at.Start]
	if m := argument.FindSubmatch(line); m != nil {
		use := regexp.MustCompile(`\$\{?` + regexp.QuoteMeta(string(m[1])) + `\b`)
		for _, u := range use.FindAllIndex(s.data, -1) {
			start := s.data[s.lineStart(u[0]):]
			if len(start) < len("FROM ") || !strings.EqualFold(string(bytes.TrimLeft(start, " \t")[:len("FROM")]), "FROM") {
				w.err = fmt.Errorf("its variable %s is used for other things, too; write the digest by hand", m[1])
				return
			}
		}
	}
	w.edits = []edit{{at.Start, at.End, text, value}}
}

// run makes the edits that can be proven right, and returns the text. What could
// not be proven is said in the wants.
func (s *splice) run() []byte {
	s.conflicts()
	all := s.edits(nil)
	if len(all) == 0 {
		return s.data
	}
	text := apply(s.data, all)
	err := s.verify(text, nil, all)
	if err == nil {
		return text
	}
	// One of them is to blame, and the others should not suffer.
	refused := func(i int, err error) {
		s.wants[i] = want{err: fmt.Errorf("refused, since more than the reference would change: %w", err)}
	}
	one := len(all) == 1
	only := make([]bool, len(s.wants))
	for i := range s.wants {
		if len(s.wants[i].edits) == 0 {
			continue
		}
		if len(all) > maxSingle || one {
			refused(i, err)
			continue
		}
		only[i] = true
		some := s.edits(only)
		if err := s.verify(apply(s.data, some), only, some); err != nil {
			only[i] = false
			refused(i, err)
		}
	}
	return apply(s.data, s.edits(nil))
}

// conflicts refuses what several references want of the same bytes, if it is not
// the same.
func (s *splice) conflicts() {
	type owned struct {
		edit
		of int
	}
	var all []owned
	for i := range s.wants {
		for _, e := range s.wants[i].edits {
			all = append(all, owned{e, i})
		}
	}
	slices.SortFunc(all, func(a, b owned) int { return compareEdits(a.edit, b.edit) })
	last := 0 // The one that reaches furthest.
	for i := 1; i < len(all); i++ {
		a, b := &all[last], &all[i]
		if a.edit != b.edit && (b.start < a.end || b.start == a.start) {
			for _, o := range []int{a.of, b.of} {
				s.wants[o] = want{err: errors.New("several references share these bytes and have different digests; write them apart")}
			}
		}
		if b.end >= a.end {
			last = i
		}
	}
}

func compareEdits(a, b edit) int {
	switch {
	case a.start != b.start:
		return a.start - b.start
	case a.end != b.end:
		return a.end - b.end
	}
	return strings.Compare(a.text, b.text)
}

// edits are those of all wants, or of some, in order, each once.
func (s *splice) edits(only []bool) []edit {
	var all []edit
	for i := range s.wants {
		if only == nil || only[i] {
			all = append(all, s.wants[i].edits...)
		}
	}
	slices.SortFunc(all, compareEdits)
	return slices.Compact(all)
}

func apply(data []byte, edits []edit) []byte {
	grown := 0
	for _, e := range edits {
		grown += len(e.text)
	}
	out := make([]byte, 0, len(data)+grown)
	at := 0
	for _, e := range edits {
		out = append(out, data[at:e.start]...)
		out = append(out, e.text...)
		at = e.end
	}
	return append(out, data[at:]...)
}

// verify parses the text and compares it with the one before: the values that
// were to change did, no other, and the references are found again as they are
// to be.
func (s *splice) verify(text []byte, only []bool, edits []edit) error {
	changes, err := s.finder.Changes(s.format, s.data, text)
	if err != nil {
		return err
	}
	if s.format != manifest.Dockerfile {
		if err := s.named(changes, edits); err != nil {
			return err
		}
	}
	again := s.finder.Find(s.format, text)
	if len(again.Unscannable) != len(s.found.Unscannable) {
		return errors.New("a part that could be read no longer can, or the other way round")
	}
	// What is filled in can change the order of places.
	type found struct {
		text, path, container string
		object                manifest.Object
	}
	left := map[found]int{}
	for i := range again.References {
		r := &again.References[i]
		left[found{r.Text, r.Path, r.Container, r.Object}]++
	}
	for i := range s.found.References {
		was := &s.found.References[i]
		expected := was.Text
		if len(s.wants[i].edits) > 0 && (only == nil || only[i]) {
			expected = s.wants[i].text
		}
		key := found{expected, was.Path, was.Container, was.Object}
		if left[key] == 0 {
			return fmt.Errorf("line %d: nothing is found as %.300s", was.Span.Line, expected)
		}
		left[key]--
	}
	if len(again.References) != len(s.found.References) {
		return fmt.Errorf("%d references became %d", len(s.found.References), len(again.References))
	}
	return nil
}

// named checks that the changes are exactly the edits.
func (s *splice) named(changes []manifest.Change, edits []edit) error {
	left := make([]edit, 0, len(edits))
	for _, e := range edits {
		if e.kind != comment {
			left = append(left, e)
		}
	}
	for _, c := range changes {
		i := slices.IndexFunc(left, func(e edit) bool { return s.makes(e, c) })
		if i < 0 {
			return fmt.Errorf("%s: %.80q became %.200q", c.Path, c.Before, c.After)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Errorf("the parser does not see that %.200q was written", left[0].text)
	}
	return nil
}

// makes reports whether an edit makes a change.
func (s *splice) makes(e edit, c manifest.Change) bool {
	switch e.kind {
	case added:
		return c.Added && strings.HasSuffix(c.Path, ".digest") && strings.Contains(e.text, c.After) && c.After != ""
	case fill:
		return !c.Added && (c.Before == "" || c.Before == "~" || strings.EqualFold(c.Before, "null")) && c.After == strings.TrimSpace(e.text)
	}
	before, after := strings.TrimRight(c.Before, "\n"), strings.TrimRight(c.After, "\n")
	if s.format == manifest.GitHubActions {
		const scheme = "docker://"
		if rest, ok := strings.CutPrefix(before, scheme); ok && strings.HasPrefix(after, scheme) {
			before, after = rest, strings.TrimPrefix(after, scheme)
		}
	}
	return !c.Added && before == string(s.data[e.start:e.end]) && after == e.text
}
