// Package pin writes digests into files: the bytes of the references change, and
// not one other byte. What it writes it reads again before anybody else sees it,
// and what it cannot prove to be right it leaves alone, with the reason.
package pin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/manifest"
)

// A State says what became of a reference.
type State string

// The states.
const (
	// Pinned: it gets a digest that it did not have.
	Pinned State = "pinned"
	// Moved: it gets another digest than it had.
	Moved State = "moved"
	// Already: it has its digest.
	Already State = "already"
	// Left: it was left as it is, for a reason.
	Left State = "left"
	// Pending: it has no digest, and nobody was asked for one.
	Pending State = "pending"
	// Ignored: it has the form of a reference and names nothing that is pulled.
	Ignored State = "ignored"
)

// An Asked is a reference of a file, and what decides about its digest.
type Asked struct {
	*manifest.Reference
	// Image is the reference with the tag that it follows, and with its digest if
	// it has one. It is not set for an action.
	Image image.Reference
	// Follows is what is looked up: registry/repository:tag, normalised, or
	// owner/repository@revision of an action. It is "" for a digest that no tag
	// stands beside.
	Follows string
	// Name is Follows without the tag or the revision.
	Name string
	// Digest is the one that it has, or "". Of an action it is git: and the
	// commit.
	Digest string
}

// A Decision is what a reference is to be pinned to.
type Decision struct {
	// Digest is "" for one that is left as it is; then Err says why, and nil
	// that there is nothing to do. A commit has git: before it.
	Digest string
	// From says who knows the digest, as in a lock file.
	From string
	Err  error
	// Warnings are what a reader should know besides.
	Warnings []string
}

// An Item is what became of one reference.
type Item struct {
	File         string
	Line, Column int
	Path         string
	Object       manifest.Object
	Container    string
	// Before and After are the reference. They are the same where it was left.
	Before, After string
	// Follows, Old and New are the tag, and the digests that it had and has.
	Follows, Old, New string
	State             State
	// From says who knows the new digest.
	From string
	// Err is why it was left, or is ignored.
	Err      error
	Warnings []string
}

// A Style is how a digest is written.
type Style struct {
	// Comment writes name@digest, with the tag as a comment, where the format has
	// comments and the line has room. Elsewhere, and without it, it is
	// name:tag@digest.
	Comment bool
	// Renovate writes only what Renovate reads: newTag: tag@digest instead of a
	// field digest, which it takes to follow latest
	// (https://docs.renovatebot.com/modules/manager/kustomize/).
	Renovate bool
}

// An Editor pins the references of one file after the other. It keeps memory
// from one to the next, and is for one goroutine.
type Editor struct {
	Style Style
	// Decide says what a reference is to be pinned to. It is called by several
	// goroutines.
	Decide func(context.Context, *Asked) Decision

	finder manifest.Finder
}

// An Edited is what became of a file.
type Edited struct {
	// Text is that of the file afterwards. If nothing changed it is the one that
	// was given.
	Text    []byte
	Changed bool
	Items   []Item
	// Unscannable is where references may be that could not be read.
	Unscannable []manifest.Unscannable
	// Found is what was found before.
	Found manifest.Result
}

// decisions is how many references of a file are decided about at a time. Most
// wait for the same few registries.
const decisions = 16

// Edit pins the references of a file. The error is that of ctx: everything that
// stands in the way of one reference is said of it.
func (e *Editor) Edit(ctx context.Context, name string, format manifest.Format, data []byte) (*Edited, error) {
	found := e.finder.Find(format, data)
	slices.SortStableFunc(found.References, byPlace)
	out := &Edited{Text: data, Unscannable: found.Unscannable, Found: found, Items: make([]Item, len(found.References))}
	asked := make([]*Asked, len(found.References))
	decided := make([]Decision, len(found.References))
	var group errgroup.Group
	group.SetLimit(decisions)
	for i := range found.References {
		ref := &found.References[i]
		out.Items[i] = Item{
			File: name, Line: ref.Span.Line, Column: ref.Span.Column, Path: ref.Path, Object: ref.Object, Container: ref.Container,
			Before: ref.Text, After: ref.Text, State: Already,
		}
		a, err := ask(data, ref)
		if err != nil {
			decided[i].Err = err
			continue
		}
		asked[i] = a
		out.Items[i].Follows, out.Items[i].Old, out.Items[i].New = a.Follows, a.Digest, a.Digest
		group.Go(func() error {
			decided[i] = e.Decide(ctx, a)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	job := &splice{style: e.Style, finder: &e.finder, format: format, data: data, found: &found, wants: make([]want, len(asked))}
	for i, a := range asked {
		item, d := &out.Items[i], &decided[i]
		item.Warnings = d.Warnings
		switch {
		case errors.Is(d.Err, errPending):
			item.State = Pending
		case d.Err != nil:
			item.State, item.Err = Left, d.Err
		case a != nil && d.Digest != "" && d.Digest != a.Digest:
			job.add(i, a, d.Digest)
		case a != nil && a.Digest == "":
			item.State, item.Err = Left, errors.New("nobody said what its digest is")
		}
	}
	out.Text = job.run()
	for i := range job.wants {
		item, w := &out.Items[i], &job.wants[i]
		switch {
		case w.err != nil:
			item.State, item.Err = Left, w.err
		case len(w.edits) > 0:
			out.Changed = true
			item.After, item.New, item.From, item.State = w.text, decided[i].Digest, decided[i].From, Pinned
			if item.Old != "" {
				item.State = Moved
			}
		}
	}
	return out, nil
}

func byPlace(a, b manifest.Reference) int {
	return cmp.Or(cmp.Compare(a.Span.Start, b.Span.Start), cmp.Compare(a.Path, b.Path))
}

var (
	commit = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	// actionName is what comes before the @ of an action: owner/repository, and a
	// path in it.
	actionName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+)(/[^\s@]*)?$`)
	revision   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+-]*$`)
)

const git = "git:"

// ask reads a reference. The error says why it cannot be pinned.
func ask(data []byte, ref *manifest.Reference) (*Asked, error) {
	switch {
	case ref.Loose:
		return nil, errors.New("its document cannot be parsed, so that nothing can be proven of a change")
	case ref.Derived:
		return nil, errors.New("a variable stands for a part of it; write the digest into its value")
	case ref.Split == nil && string(data[ref.Span.Start:ref.Span.End]) != ref.Text:
		return nil, errors.New("its bytes are not known for certain")
	case ref.Action:
		return askAction(ref)
	}
	parsed, err := image.Parse(ref.Text)
	if err != nil {
		if e, ok := errors.AsType[*image.ParseError](err); ok {
			return nil, errors.New("not a reference: " + e.Reason)
		}
		return nil, fmt.Errorf("not a reference: %w", err)
	}
	a := &Asked{Reference: ref, Image: parsed, Digest: parsed.Digest().String(), Name: parsed.Name()}
	tag := parsed.Tag()
	switch {
	case tag != "":
	case a.Digest == "" && ref.Split != nil && ref.Format != manifest.Dockerfile:
		return nil, errors.New("the tag is chosen elsewhere: the fields here have none")
	case a.Digest == "" && mayGetTag(ref):
		return nil, errors.New("it has no tag, and whoever reads the field may put one to it; write the tag")
	case a.Digest == "":
		tag = "latest"
	default:
		tag = tagBeside(data, ref)
	}
	if tag == "" {
		return a, nil // A digest that follows nothing.
	}
	text := a.Name + ":" + tag
	if a.Digest != "" {
		text += "@" + a.Digest
	}
	// What stands beside a digest need not be a tag.
	if whole, err := image.Parse(text); err == nil {
		a.Image, a.Follows = whole, a.Name+":"+tag
	}
	return a, nil
}

// mayGetTag reports whether a reference without a tag may be a name alone: in
// values, for a chart that has the tag in another field, and in custom resources
// for an operator that knows its version. What has containers, as pods, workflows
// and tasks do, is run as it stands.
func mayGetTag(ref *manifest.Reference) bool {
	switch {
	case ref.Format == manifest.HelmValues:
		return true
	case ref.Format != manifest.Kubernetes || ref.ContainerKind != manifest.Other:
		return false
	}
	return !runs.MatchString(ref.Path)
}

// runs are the paths of fields that are run as they stand, beside those of pods.
var runs = regexp.MustCompile(`(?i)(?:\.(?:container|script|stepTemplate)|(?:steps|sidecars|containers)\[\d+\])\.image$`)

// tagBeside is the tag for people beside a digest: in its own field, or first in
// the comment.
func tagBeside(data []byte, ref *manifest.Reference) string {
	if ref.Split != nil && ref.Split.Tag.End > ref.Split.Tag.Start {
		return string(data[ref.Split.Tag.Start:ref.Split.Tag.End])
	}
	return tagInComment(ref.Comment)
}

// tagInComment is the tag of a comment that says one: "1.25", and of the forms
// that Renovate reads "tag=1.25" and "renovate: tag=1.25". Other words are none.
func tagInComment(comment string) string {
	first, _, _ := strings.Cut(comment, "#")
	first = strings.TrimSpace(first)
	first = strings.TrimSpace(strings.TrimPrefix(first, "renovate:"))
	tag, marked := strings.CutPrefix(first, "tag=")
	if !marked {
		tag, marked = strings.CutPrefix(first, "@")
	}
	if rest, ok := strings.CutPrefix(first, "ratchet:"); ok { // Of https://github.com/sethvargo/ratchet.
		_, tag, marked = strings.Cut(rest, "@")
	}
	if strings.ContainsAny(tag, " \t") || !marked && !saysTag(tag) {
		return ""
	}
	return tag
}

// saysTag tells the tag of a comment from a word: it has a digit, or is latest.
func saysTag(word string) bool {
	return word == "latest" || strings.ContainsAny(word, "0123456789")
}

// tagComment is the comment that says a tag.
func tagComment(tag string) string {
	if saysTag(tag) {
		return " # " + tag
	}
	return " # tag=" + tag
}

func askAction(ref *manifest.Reference) (*Asked, error) {
	name, rev, ok := strings.Cut(ref.Text, "@")
	m := actionName.FindStringSubmatch(name)
	if !ok || m == nil {
		return nil, errors.New("not an action: want owner/repository@revision")
	}
	a := &Asked{Reference: ref, Name: m[1]}
	if commit.MatchString(rev) {
		a.Digest = git + rev
		rev = tagInComment(ref.Comment)
	} else if !revision.MatchString(rev) {
		return nil, fmt.Errorf("not a revision of git: %.80q", rev)
	}
	if revision.MatchString(rev) {
		a.Follows = a.Name + "@" + rev
	}
	return a, nil
}
