package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
	"github.com/tagwarden/tagwarden/internal/scan"
)

// pinTotal counts what became of references.
type pinTotal struct {
	Files   int `json:"files"`
	Changed int `json:"changedFiles"`
	// References are all but those that are ignored.
	References int `json:"references"`
	Pinned     int `json:"pinned"`
	Moved      int `json:"moved"`
	Already    int `json:"already"`
	// Pending have no digest, and --check asks for none.
	Pending int `json:"pending"`
	Left    int `json:"left"`
	Ignored int `json:"ignored"`
	// Unscannable are places that could not be read.
	Unscannable int `json:"unscannable"`
	// Disagreements are references of which the lock file says something else.
	Disagreements int `json:"disagreements"`
	// Looks are the texts that look like a reference, and Lookalikes those that
	// are none to the program.
	Looks      int `json:"looks,omitempty"`
	Lookalikes int `json:"lookalikes,omitempty"`
}

func (t *pinTotal) add(p *pinnedFile) {
	t.Files++
	if p.changed {
		t.Changed++
	}
	t.Unscannable += len(p.unscannable)
	t.Looks += p.looks
	t.Lookalikes += len(p.lookalikes)
	for i := range p.items {
		item := &p.items[i]
		t.References++
		switch item.State {
		case pin.Pinned:
			t.Pinned++
		case pin.Moved:
			t.Moved++
		case pin.Already:
			t.Already++
		case pin.Ignored:
			t.Ignored++
			t.References--
		case pin.Pending:
			t.Pending++
		case pin.Left:
			t.Left++
		}
	}
}

// line sums up.
func (t *pinTotal) line(written bool) string {
	would, move := "to pin", "to move"
	if written {
		would, move = "pinned", "moved"
	}
	s := fmt.Sprintf("%s in %s: %d %s", plural(t.References, "reference"), plural(t.Files, "file"), t.Pinned+t.Pending, would)
	if t.Moved > 0 {
		s += fmt.Sprintf(", %d %s", t.Moved, move)
	}
	s += fmt.Sprintf(", %d pinned before", t.Already)
	if t.Left > 0 {
		s += fmt.Sprintf(", %d not pinned", t.Left)
	}
	if t.Unscannable > 0 {
		s += fmt.Sprintf(", %s not read", plural(t.Unscannable, "place"))
	}
	return s
}

// A pinReport writes what became of files, as it comes.
type pinReport interface {
	add(w io.Writer, p *pinnedFile) error
	end(ctx context.Context, w io.Writer, t *pinTotal, disagree []pin.Disagreement, f *pinFlags) error
}

func newPinReport(output string, patch bool, facts func(context.Context, *pinMove) []string) pinReport {
	switch {
	case patch:
		return pinPatch{}
	case output == "json":
		return &pinJSON{}
	case output == "markdown":
		return &pinMarkdown{facts: facts}
	}
	return &pinTable{}
}

// pinPatch prints a patch alone.
type pinPatch struct{}

func (pinPatch) add(w io.Writer, p *pinnedFile) error {
	_, err := w.Write(p.diff)
	return err
}

func (pinPatch) end(context.Context, io.Writer, *pinTotal, []pin.Disagreement, *pinFlags) error {
	return nil
}

// pinTable lists what changes and what was left, by file.
type pinTable struct {
	some    bool
	looking []string
}

func (t *pinTable) add(w io.Writer, p *pinnedFile) error {
	var b strings.Builder
	for i := range p.items {
		item := &p.items[i]
		switch item.State {
		case pin.Pinned, pin.Moved:
			fmt.Fprintf(&b, "  %d:%d  %s\n", item.Line, item.Column, inLine(item.Before))
			fmt.Fprintf(&b, "    -> %s  (%s)\n", inLine(item.After), inLine(item.From))
		case pin.Pending:
			fmt.Fprintf(&b, "  %d:%d  %s has no digest\n", item.Line, item.Column, inLine(item.Before))
		case pin.Left:
			fmt.Fprintf(&b, "  %d:%d  %s\n    not pinned: %s\n", item.Line, item.Column, inLine(item.Before), inLine(item.Err.Error()))
		case pin.Already, pin.Ignored:
		}
	}
	for _, u := range p.unscannable {
		line := ""
		if u.Line > 0 {
			line = fmt.Sprintf("%d  ", u.Line)
		}
		fmt.Fprintf(&b, "  %snot read: %s\n", line, inLine(u.Reason))
	}
	for _, l := range p.lookalikes {
		t.looking = append(t.looking, fmt.Sprintf("  %s:%d:%d  %s\n", inLine(p.name), l.Line, l.Column, l.Text))
	}
	if b.Len() == 0 {
		return nil
	}
	head := inLine(p.name) + "\n"
	if t.some {
		head = "\n" + head
	}
	t.some = true
	_, err := io.WriteString(w, head+b.String())
	return err
}

func (t *pinTable) end(_ context.Context, w io.Writer, total *pinTotal, disagree []pin.Disagreement, f *pinFlags) error {
	var b strings.Builder
	if t.some {
		b.WriteString("\n")
	}
	for i := range disagree {
		fmt.Fprintf(&b, "%s\n", inLine(disagree[i].String()))
	}
	if f.coverage {
		fmt.Fprintf(&b, "%s like a reference: %d found as one, %d not\n%s", map[bool]string{true: "1 text looks", false: fmt.Sprintf("%d texts look", total.Looks)}[total.Looks == 1],
			total.Looks-total.Lookalikes, total.Lookalikes, strings.Join(t.looking, ""))
	}
	b.WriteString(total.line(f.write) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// pinSchema names the form of "pin -o json"; keys are added, never renamed.
const pinSchema = "tagwarden.pin/v1"

type pinItemJSON struct {
	File      string          `json:"file"`
	Line      int             `json:"line"`
	Column    int             `json:"column"`
	Object    manifest.Object `json:"object"`
	Container string          `json:"container,omitempty"`
	Path      string          `json:"path"`
	State     pin.State       `json:"state"`
	Before    string          `json:"before"`
	After     string          `json:"after"`
	Follows   string          `json:"follows,omitempty"`
	OldDigest string          `json:"oldDigest,omitempty"`
	NewDigest string          `json:"newDigest,omitempty"`
	From      string          `json:"from,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Warnings  []string        `json:"warnings,omitempty"`
}

type pinLookJSON struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Text   string `json:"text"`
}

// pinJSON writes a member a line.
type pinJSON struct {
	begun bool
	items list
	gaps  []scan.Unscannable
	looks []pinLookJSON
}

func (j *pinJSON) begin(w io.Writer) error {
	if j.begun {
		return nil
	}
	j.begun, j.items.indent = true, "    "
	_, err := fmt.Fprintf(w, "{\n  \"schema\": %q,\n  \"references\": [", pinSchema)
	return err
}

func (j *pinJSON) add(w io.Writer, p *pinnedFile) error {
	if err := j.begin(w); err != nil {
		return err
	}
	for _, u := range p.unscannable {
		j.gaps = append(j.gaps, scan.Unscannable{File: p.name, Line: u.Line, Reason: u.Reason})
	}
	for _, l := range p.lookalikes {
		j.looks = append(j.looks, pinLookJSON{p.name, l.Line, l.Column, l.Text})
	}
	for i := range p.items {
		x := &p.items[i]
		reason := ""
		if x.Err != nil {
			reason = x.Err.Error()
		}
		err := j.items.add(w, pinItemJSON{
			p.name, x.Line, x.Column, x.Object, x.Container, x.Path, x.State, x.Before, x.After, x.Follows, x.Old, x.New, x.From, reason, x.Warnings,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *pinJSON) end(_ context.Context, w io.Writer, t *pinTotal, disagree []pin.Disagreement, _ *pinFlags) error {
	if err := j.begin(w); err != nil {
		return err
	}
	gaps, looks, disagreements, sum := list{indent: "    "}, list{indent: "    "}, list{indent: "    "}, list{}
	var b strings.Builder
	b.WriteString(j.items.end() + ",\n  \"unscannable\": [")
	for _, u := range j.gaps {
		if err := gaps.add(&b, u); err != nil {
			return err
		}
	}
	b.WriteString(gaps.end() + ",\n  \"lookalikes\": [")
	for _, l := range j.looks {
		if err := looks.add(&b, l); err != nil {
			return err
		}
	}
	b.WriteString(looks.end() + ",\n  \"disagreements\": [")
	for i := range disagree {
		if err := disagreements.add(&b, disagree[i].String()); err != nil {
			return err
		}
	}
	b.WriteString(disagreements.end() + ",\n  \"summary\": ")
	var s strings.Builder
	if err := sum.add(&s, t); err != nil {
		return err
	}
	b.WriteString(strings.TrimSpace(s.String()) + "\n}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// A pinMove is one reference that gets a digest, wherever it stands.
type pinMove struct {
	follows, old, new string
	from              string
	action            bool
	places            []string
}

// pinMarkdown writes the body of a pull request.
type pinMarkdown struct {
	moves []*pinMove
	left  []string
	// facts are what else is known of a move, a line each.
	facts func(context.Context, *pinMove) []string
}

func (m *pinMarkdown) add(_ io.Writer, p *pinnedFile) error {
	for i := range p.items {
		item := &p.items[i]
		place := fmt.Sprintf("%s:%d", p.name, item.Line)
		switch item.State {
		case pin.Pinned, pin.Moved:
			at := slices.IndexFunc(m.moves, func(x *pinMove) bool {
				return x.follows == item.Follows && x.old == item.Old && x.new == item.New
			})
			if at < 0 {
				at = len(m.moves)
				m.moves = append(m.moves, &pinMove{follows: item.Follows, old: item.Old, new: item.New, from: item.From, action: strings.HasPrefix(item.New, "git:")})
			}
			m.moves[at].places = append(m.moves[at].places, place)
		case pin.Left:
			m.left = append(m.left, fmt.Sprintf("| %s | %s | %s |", imagediff.Code(place), imagediff.Code(item.Before), cell(item.Err.Error())))
		case pin.Already, pin.Pending, pin.Ignored:
		}
	}
	for _, u := range p.unscannable {
		m.left = append(m.left, fmt.Sprintf("| %s | | %s |", imagediff.Code(fmt.Sprintf("%s:%d", p.name, u.Line)), cell(u.Reason)))
	}
	return nil
}

func (m *pinMarkdown) end(ctx context.Context, w io.Writer, t *pinTotal, disagree []pin.Disagreement, f *pinFlags) error {
	const most = 100 // A pull request has room for 65,536 characters.
	slices.SortStableFunc(m.moves, func(a, b *pinMove) int { return strings.Compare(a.follows, b.follows) })
	var b strings.Builder
	fmt.Fprintf(&b, "## Image digests\n\n%s.\n", t.line(f.write))
	if len(m.moves) > 0 {
		b.WriteString("\n| reference | from | to | places |\n|---|---|---|---|\n")
	}
	for i, x := range m.moves {
		if i == most {
			fmt.Fprintf(&b, "| and %d more | | | |\n", len(m.moves)-most)
			break
		}
		places := imagediff.Code(x.places[0])
		if n := len(x.places); n > 1 {
			places += fmt.Sprintf(" and %d more", n-1)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", imagediff.Code(x.follows), codeOr(x.old), codeOr(x.new), places)
	}
	ctx, cancel := context.WithTimeout(ctx, allFactsTime)
	defer cancel()
	for i, x := range m.moves {
		if i >= most || x.action || x.old == "" || m.facts == nil {
			continue
		}
		if facts := m.facts(ctx, x); len(facts) > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n", imagediff.Code(x.follows))
			for _, fact := range facts {
				fmt.Fprintf(&b, "- %s\n", fact)
			}
		}
	}
	if len(m.left) > 0 {
		b.WriteString("\n### Not pinned\n\n| place | reference | why |\n|---|---|---|\n")
		for i, line := range m.left {
			if i == most {
				fmt.Fprintf(&b, "| and %d more | | |\n", len(m.left)-most)
				break
			}
			b.WriteString(line + "\n")
		}
	}
	if len(disagree) > 0 {
		b.WriteString("\n### Files and lock file disagree\n\n")
		for i := range disagree {
			fmt.Fprintf(&b, "- %s\n", cell(disagree[i].String()))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func codeOr(digest string) string {
	if digest == "" {
		return "–"
	}
	return imagediff.Code(shortDigest(digest))
}
