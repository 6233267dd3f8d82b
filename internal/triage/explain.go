package triage

import (
	"fmt"
	"slices"
	"strings"
)

// A Row is what became of one rule.
type Row struct {
	Rule    string `json:"rule"`
	Verdict string `json:"verdict"`
	// Fits is yes, no, or maybe where evidence is missing.
	Fits string `json:"fits"`
	// Decides is set for the row that decided.
	Decides bool `json:"decides,omitempty"`
	// Because says what the conditions met.
	Because string `json:"because"`
}

// Explain says of every rule whether it fits the evidence, in the order of the
// table. No row decides where the verdict waits for something.
func Explain(items []Item) []Row {
	d := Decide(items)
	rows := make([]Row, len(Rules))
	for i, r := range Rules {
		row := &rows[i]
		*row = Row{Rule: r.ID, Verdict: Decision{Verdict: r.Verdict, Urgent: r.Urgent}.String(), Fits: "yes"}
		row.Decides = len(d.Missing) == 0 && len(d.Rules) > 0 && d.Rules[0] == r.ID
		var because []string
		for _, c := range r.When {
			switch words := possible(c.Name, items); {
			case len(words) != 1:
				because = append(because, string(c.Name)+" is not known")
				if row.Fits == "yes" {
					row.Fits = "maybe"
				}
			case slices.Contains(c.Is, words[0]):
				because = append(because, fmt.Sprintf("%s is %s", c.Name, words[0]))
			default:
				because, row.Fits = append(because, fmt.Sprintf("%s is %s", c.Name, words[0])), "no"
			}
		}
		row.Because = strings.Join(because, ", ")
	}
	return rows
}
