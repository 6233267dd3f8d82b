package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Report is the part of a report of "tagwarden triage -o json" that is compared.
type Report struct {
	Verdict  string
	Urgent   bool
	Rules    []string
	Reasons  []string
	Missing  []string
	Subject  struct{ Pod, Workload string }
	Evidence []Evidence
	Next     []struct{ Action, Command string }
}

// Evidence is one item of a report.
type Evidence struct{ Name, Is, Value, Time, Source, Trust, Missing string }

// A Triage is what triage must say.
type Triage struct {
	// Of is the finding whose alert is triaged, such as TW-04; empty for the
	// workload.
	Of string
	// Workload is namespace/kind/name.
	Workload string
	Verdict  string
	// Status is the exit status.
	Status int
	// Says has, by the name of evidence, texts that items of it have.
	Says map[string][]string
	// Next are the actions that are proposed, in their order.
	Next string
}

// Fingerprint is that of the alert about a finding in a namespace, or "".
func Fingerprint(namespace, id string, alerts []Alert) string {
	for _, a := range alerts {
		if d, ok := a.drift(); ok && d.ID == id && a.Of().Namespace == namespace {
			text, _ := a.Fields["tagwarden.fingerprint"].(string)
			return text
		}
	}
	return ""
}

// CheckTriage compares a report with what it must say.
func CheckTriage(want Triage, got Report, status int) (table string, problems []string) {
	verdict := got.Verdict
	if got.Urgent {
		verdict += " (urgent)"
	}
	result := "OK"
	if verdict != want.Verdict || status != want.Status {
		result = "FAIL"
		problems = append(problems, fmt.Sprintf("%s: triage says %s with exit status %d, want %s with %d: %s; missing: %s",
			want.Workload, verdict, status, want.Verdict, want.Status, strings.Join(got.Reasons, "; "), strings.Join(got.Missing, ", ")))
	}
	for _, name := range slices.Sorted(maps.Keys(want.Says)) {
		var said []string
		for _, e := range got.Evidence {
			if e.Name == name {
				said = append(said, strings.TrimSpace(e.Is+" "+e.Value+e.Missing+" "+e.Time+" "+e.Source+" "+e.Trust))
			}
		}
		for _, text := range want.Says[name] {
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, text) }) {
				result = "FAIL"
				problems = append(problems, fmt.Sprintf("%s: triage does not say %q of %s, but %q", want.Workload, text, name, said))
			}
		}
	}
	var next []string
	for _, n := range got.Next {
		next = append(next, n.Action)
	}
	if got := strings.Join(next, " "); got != want.Next {
		result = "FAIL"
		problems = append(problems, fmt.Sprintf("%s: the next steps are %q, want %q", want.Workload, got, want.Next))
	}
	return Table([][]string{{"TRIAGE", "EXPECTED", "GOT", "BECAUSE", "RESULT"}, {want.Workload, want.Verdict, verdict, strings.Join(got.Rules, ", "), result}}), problems
}
