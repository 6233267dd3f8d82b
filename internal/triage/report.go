package triage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// Schema names the JSON form of reports. Keys are added to it, never renamed.
const Schema = "tagwarden.triage/v1"

// A Report is the triage of one container of a workload.
type Report struct {
	// Time is when the evidence was gathered, in UTC.
	Time    time.Time       `json:"time"`
	Subject finding.Subject `json:"subject"`
	// Image is the reference as it was asked for.
	Image string `json:"image"`
	Decision
	Evidence []Item `json:"evidence"`
	Next     []Step `json:"next,omitempty"`
}

// Find returns the first item of a name, or nil.
func (r *Report) Find(n Name) *Item {
	i := slices.IndexFunc(r.Evidence, func(i Item) bool { return i.Name == n })
	if i < 0 {
		return nil
	}
	return &r.Evidence[i]
}

// Gaps are the items that could not be learnt.
func (r *Report) Gaps() []Item {
	var all []Item
	for _, i := range r.Evidence {
		if i.Missing != "" {
			all = append(all, i)
		}
	}
	return all
}

// Sort puts evidence into the order of the report.
func Sort(items []Item) {
	place := func(n Name) int { return slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == n }) }
	slices.SortStableFunc(items, func(a, b Item) int { return place(a.Name) - place(b.Name) })
}

// Markdown are the table of the rules and that of the words they read, as
// docs/triage.md has them.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| row | evidence | verdict | reason |\n|---|---|---|---|\n")
	for _, r := range Rules {
		var conditions []string
		for _, c := range r.When {
			words := make([]string, len(c.Is))
			for i, w := range c.Is {
				words[i] = "`" + string(w) + "`"
			}
			conditions = append(conditions, string(c.Name)+" "+strings.Join(words, " or "))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.ID, strings.Join(conditions, ", "), Decision{Verdict: r.Verdict, Urgent: r.Urgent}, r.Why)
	}
	b.WriteString("\n| evidence | can be | which means |\n|---|---|---|\n")
	for _, k := range Kinds {
		for _, m := range k.Words {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", k.Name, m.Word, m.Means)
		}
	}
	return b.String()
}
