package imagediff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxHighlights is how many highlights a Diff has in itself.
const maxHighlights = 10

// Highlight is one telling difference: a subject, such as a path or the name
// of a part of the config, and what is with it.
type Highlight struct {
	// Subject can be empty. It is printable; all that an image has to say is in
	// it, and nothing in What.
	Subject string
	What    string
	// Platforms are those it is on, or empty if it is on all that both images
	// have.
	Platforms []string

	rank int
}

// String is the highlight as one line of plain text, such as
// "/usr/bin/nginx changed (executable)".
func (h Highlight) String() string {
	return strings.TrimSpace(h.Subject+" "+h.What) + h.on()
}

// Markdown is the highlight as one line of Markdown, with the subject as code:
// nothing in it can become a link, a mention, HTML or another line.
func (h Highlight) Markdown() string {
	if h.Subject == "" {
		return h.What + h.on()
	}
	return Code(h.Subject) + " " + h.What + h.on()
}

func (h Highlight) on() string {
	if len(h.Platforms) == 0 {
		return ""
	}
	return ", on " + strings.Join(h.Platforms, ", ")
}

// Code is a printable text as code in Markdown, also in a cell of a table.
// A backtick becomes an apostrophe.
func Code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", `\|`, "\n", " ", "\r", " ").Replace(s) + "`"
}

// Ranks of highlights, before and after those of the marks of files.
const (
	rankUnchecked = iota - 20
	rankPlatform
	rankRuns // what is run, and as whom
	rankMarked
)

// Highlight lists the most telling differences, at most limit of them, the
// weightiest first: what could not be compared, a platform that only one image
// has, what runs and as whom (entrypoint, cmd, user, and the variables that
// decide what is loaded), files that have marks, the numbers of packages and
// files, other bases, and the rest of the config. It is empty for images that
// are the same.
//
// The line that is left out last says how many there are besides. Paths and
// names are the images' own; values of variables and labels are not in it.
func (d *Diff) Highlight(limit int) []Highlight {
	var all []Highlight
	var shared []string
	places := map[[2]string]int{}
	note := func(p *Platform, rank int, subject, format string, args ...any) {
		h := Highlight{Subject: subject, What: fmt.Sprintf(format, args...), rank: rank}
		at, known := places[[2]string{h.Subject, h.What}]
		if !known {
			at, all = len(all), append(all, h)
			places[[2]string{h.Subject, h.What}] = at
		}
		if p != nil {
			all[at].Platforms = append(all[at].Platforms, p.Platform)
		}
	}
	if n := len(d.Unchecked); n > 0 {
		u := d.Unchecked[0]
		note(nil, rankUnchecked, u.What, "could not be compared%s", map[bool]string{true: fmt.Sprintf(", and %d more", n-1)}[n > 1])
	}
	for i := range d.Platforms {
		p := &d.Platforms[i]
		if p.In != "both" {
			note(nil, rankPlatform, p.Platform, "is only in %s", strings.ToUpper(p.In))
			continue
		}
		shared = append(shared, p.Platform)
		p.highlight(func(rank int, subject, format string, args ...any) { note(p, rank, subject, format, args...) })
	}
	for i := range all {
		if len(all[i].Platforms) == len(shared) {
			all[i].Platforms = nil
		}
	}
	slices.SortStableFunc(all, func(x, y Highlight) int { return cmp.Compare(x.rank, y.rank) })
	if limit > 0 && len(all) > limit {
		left := len(all) - limit + 1
		all = append(all[:limit-1:limit-1], Highlight{What: fmt.Sprintf("and %d more", left)})
	}
	return all
}

// loads are the variables that decide what a program loads or where it is
// looked for.
var loads = []string{"PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "PYTHONPATH", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "RUBYOPT", "PERL5OPT"}

// highlight notes the differences on one platform.
func (p *Platform) highlight(note func(rank int, subject, format string, args ...any)) {
	rest := map[string]int{}
	var fields []string
	for _, c := range p.Config {
		switch c.Field {
		case "entrypoint", "cmd", "user", "healthcheck", "workingDir":
			note(rankRuns, c.Field, "changed")
			continue
		case "env":
			if slices.Contains(loads, c.Key) {
				note(rankRuns, "env "+c.Key, "%s", changeOf(c.A, c.B))
				continue
			}
		case "created", "annotation":
			continue
		}
		if rest[c.Field]++; rest[c.Field] == 1 {
			fields = append(fields, c.Field)
		}
	}
	marked := 0
	for _, f := range p.Files.List {
		if len(f.Marks) > 0 {
			note(rankMarked+f.rank, f.Path, "%s (%s)", f.Change, strings.Join(f.Marks, ", "))
			marked++
		}
	}
	after := rankMarked + len(marks)
	n := map[string]int{}
	for _, c := range p.Packages {
		n[c.Change]++
	}
	if len(p.Packages) > 0 {
		note(after, "", "packages: %s", numbers(n[Added], n[Changed], n[Removed]))
	}
	if f := &p.Files; f.Added+f.Changed+f.Removed > marked {
		note(after+1, "", "files: %s", numbers(f.Added, f.Changed, f.Removed))
	}
	if from, to := p.baseChange(); from != to {
		note(after+2, from+" → "+to, "(base)")
	}
	for _, field := range fields {
		note(after+3, field, "changed (%d)", rest[field])
	}
	if p.In == "both" && !p.Same && p.Complete && len(p.Files.List) == 0 && len(p.Packages) == 0 {
		if n := p.SharedLayers; n == len(p.A.Layers) && n == len(p.B.Layers) {
			note(after+4, "", "the layers are the same")
		} else {
			note(after+4, "", "no file differs but in its time")
		}
	}
}

func changeOf(a, b *string) string {
	switch {
	case a == nil:
		return Added
	case b == nil:
		return Removed
	}
	return Changed
}

func numbers(added, changed, removed int) string {
	var parts []string
	for _, n := range []struct {
		n    int
		what string
	}{{added, Added}, {changed, Changed}, {removed, Removed}} {
		if n.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.n, n.what))
		}
	}
	return strings.Join(parts, ", ")
}

// baseChange is what the images are based on, where it is known to differ.
func (p *Platform) baseChange() (from, to string) {
	if p.A == nil || p.B == nil {
		return "", ""
	}
	a, b := &p.A.Base, &p.B.Base
	switch {
	case a.Name != b.Name:
		return cmp.Or(a.Name, "unknown"), cmp.Or(b.Name, "unknown")
	case a.Digest != b.Digest:
		return cmp.Or(a.Digest, "unknown"), cmp.Or(b.Digest, "unknown")
	}
	return cmp.Or(a.OS, "unknown"), cmp.Or(b.OS, "unknown")
}
