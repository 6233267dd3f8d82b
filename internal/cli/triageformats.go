package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/triage"
)

// print writes reports.
func (f *triageFlags) print(env Env, reports []triage.Report) error {
	var b strings.Builder
	switch *f.output {
	case "json":
		return writeTriageJSON(env.Stdout, reports, f.explain)
	case "markdown":
		for i := range reports {
			markdownReport(&b, &reports[i], f.explain)
		}
	default:
		for i := range reports {
			if i > 0 {
				b.WriteString("\n")
			}
			tableReport(&b, &reports[i], f.explain)
		}
	}
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

// triageJSON is what "triage -o json" prints.
type triageJSON struct {
	Schema  string             `json:"schema"`
	Reports []triageReportJSON `json:"reports"`
}

type triageReportJSON struct {
	triage.Report
	Technique *techniqueJSON `json:"technique,omitempty"`
	Explain   []triage.Row   `json:"explain,omitempty"`
}

type techniqueJSON struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Tactic string `json:"tactic"`
}

func writeTriageJSON(w io.Writer, reports []triage.Report, explain bool) error {
	out := triageJSON{Schema: triage.Schema, Reports: []triageReportJSON{}}
	for i := range reports {
		r := triageReportJSON{Report: reports[i]}
		if t, ok := finding.TW04.Technique(); ok && r.Verdict == triage.Escalate {
			r.Technique = &techniqueJSON{t.ID, t.Name, t.Tactic}
		}
		if explain {
			r.Explain = triage.Explain(r.Evidence)
		}
		out.Reports = append(out.Reports, r)
	}
	return writeJSON(w, out)
}

// subjectOf names what a report is about.
func subjectOf(r *triage.Report) string {
	s := r.Subject
	what := s.Workload
	if s.Namespace != "" {
		what = s.Namespace + "/" + what
	}
	return what + ", container " + s.Container
}

// placeOf is the place that a report is about.
func placeOf(r *triage.Report) string {
	var parts []string
	s := r.Subject
	for _, p := range []struct{ name, value string }{
		{"image ", r.Image}, {"pod ", s.Pod}, {"revision ", s.Revision}, {"node ", s.Node}, {"cluster ", s.Cluster},
	} {
		if p.value != "" {
			parts = append(parts, p.name+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// meta is what stands behind the value of an item.
func meta(i *triage.Item) string {
	var parts []string
	if !i.Time.IsZero() {
		parts = append(parts, i.Time.UTC().Format(time.RFC3339))
	}
	for _, p := range []string{i.Source, i.Trust} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// said is an item in one line.
func said(i *triage.Item) string {
	if i.Missing != "" {
		return "could not be learnt: " + i.Missing
	}
	if m := meta(i); m != "" {
		return i.Value + " [" + m + "]"
	}
	return i.Value
}

const (
	// reportWidth is how wide a report is; reportIndent is where values begin.
	reportWidth, reportIndent = 110, 15
)

func tableReport(b *strings.Builder, r *triage.Report, explain bool) {
	fmt.Fprintf(b, "%s  %s\n", strings.ToUpper(r.String()), subjectOf(r))
	wrap(b, "  ", reportWidth, placeOf(r))
	for _, reason := range r.Reasons {
		wrap(b, "  ", reportWidth, "because "+reason)
	}
	section := triage.Section(255)
	for _, k := range triage.Kinds {
		title := k.Title
		for i := range r.Evidence {
			item := &r.Evidence[i]
			if item.Name != k.Name {
				continue
			}
			if k.Section != section {
				section = k.Section
				fmt.Fprintf(b, "\n%s\n", section)
			}
			hanging(b, "  "+title, said(item))
			title = ""
		}
	}
	if explain {
		b.WriteString("\nRows of the table\n")
		for _, row := range triage.Explain(r.Evidence) {
			mark := "  "
			if row.Decides {
				mark = "> "
			}
			fmt.Fprintf(b, "%s%-27s %-6s %-20s %s\n", mark, row.Rule, row.Fits, row.Verdict, row.Because)
		}
	}
	if len(r.Next) > 0 {
		b.WriteString("\nNext (nothing of it was done)\n")
		for _, s := range r.Next {
			fmt.Fprintf(b, "  %s: %s\n", s.Action, s.What)
			for line := range strings.Lines(s.Command) {
				b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
			}
		}
	}
}

// hanging writes a title and a text beside it.
func hanging(b *strings.Builder, title, text string) {
	var lines strings.Builder
	wrap(&lines, strings.Repeat(" ", reportIndent), reportWidth, text)
	whole := lines.String()
	if len(title) < reportIndent {
		whole = title + whole[len(title):]
	} else {
		whole = title + " " + strings.TrimLeft(whole, " ")
	}
	b.WriteString(whole)
}

// literal is a cell whose text makes no links and no emphasis: some of it was
// chosen by whoever pushed.
func literal(s string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "[", `\[`).Replace(cell(s))
}

func markdownReport(b *strings.Builder, r *triage.Report, explain bool) {
	fmt.Fprintf(b, "## Triage: %s\n\n**%s**: %s\n\n%s\n", literal(subjectOf(r)), r.Decision, literal(strings.Join(r.Reasons, "; ")), literal(placeOf(r)))
	if t, ok := finding.TW04.Technique(); ok && r.Verdict == triage.Escalate {
		fmt.Fprintf(b, "\nMITRE ATT&CK %s (%s), %s\n", t.ID, t.Name, t.Tactic)
	}
	fmt.Fprintf(b, "\n| | evidence | | time | source |\n|---|---|---|---|---|\n")
	for _, k := range triage.Kinds {
		for i := range r.Evidence {
			item := &r.Evidence[i]
			if item.Name != k.Name {
				continue
			}
			value, at, source := literal(item.Value), "", item.Source
			if item.Missing != "" {
				value = "*could not be learnt:* " + literal(item.Missing)
			}
			if !item.Time.IsZero() {
				at = item.Time.UTC().Format(time.RFC3339)
			}
			if item.Trust != "" {
				source += ", " + item.Trust
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", k.Section, k.Title, value, at, literal(source))
		}
	}
	if explain {
		b.WriteString("\n| row | fits | verdict | because |\n|---|---|---|---|\n")
		for _, row := range triage.Explain(r.Evidence) {
			decides := ""
			if row.Decides {
				decides = " (decides)"
			}
			fmt.Fprintf(b, "| %s | %s%s | %s | %s |\n", row.Rule, row.Fits, decides, row.Verdict, literal(row.Because))
		}
	}
	for _, s := range r.Next {
		fmt.Fprintf(b, "\n%s: %s\n\n```sh\n%s\n```\n", s.Action, s.What, strings.TrimRight(s.Command, "\n"))
	}
	fmt.Fprintf(b, "\nGathered %s.\n\n", r.Time.UTC().Format(time.RFC3339))
}
