package verdict

import (
	"fmt"
	"slices"
	"strings"
)

// A Drift is one finding about bytes that changed.
type Drift struct {
	// ID is that of the finding, such as TW-04.
	ID string
	// Form is its variety, such as new-pod.
	Form string
	// Workload is Kind/name.
	Workload string
	// To is the digest that is new; "" when it does not matter.
	To string
}

func (d Drift) String() string {
	_, hex, _ := strings.Cut(d.To, ":")
	return fmt.Sprintf("%s %s of %s, now %.12s", d.ID, d.Form, d.Workload, hex)
}

// undecidedRule is the rule of an alert that says that digests could not be
// compared.
const undecidedRule = "Image Digests Could Not Be Compared"

// drift returns what an alert says of changed bytes; ok is false for an alert
// about something else.
func (a Alert) drift() (d Drift, ok bool) {
	field := func(name string) string {
		text, _ := a.Fields[name].(string)
		return text
	}
	d = Drift{field("tagwarden.finding"), field("tagwarden.drift.form"), field("tagwarden.workload"), field("tagwarden.drift.to")}
	if a.Rule == undecidedRule {
		d.ID, d.Form = "undecided", ""
	}
	return d, d.ID != ""
}

// CheckDrift compares the findings in a namespace with those that are
// expected: each once, and no other. mayDoubt allows alerts that say that
// nobody can tell.
func CheckDrift(namespace string, expects []Drift, alerts []Alert, mayDoubt bool) (table string, problems []string) {
	var got []Drift
	for _, a := range alerts {
		d, ok := a.drift()
		if !ok || a.Of().Namespace != namespace || d.ID == "undecided" && mayDoubt {
			continue
		}
		got = append(got, d)
	}
	rows := [][]string{{"EXPECTED", "REPORTED", "RESULT"}}
	left := slices.Clone(got)
	for _, e := range expects {
		i := slices.IndexFunc(left, func(d Drift) bool {
			return d.ID == e.ID && d.Form == e.Form && d.Workload == e.Workload && (e.To == "" || d.To == e.To)
		})
		if i < 0 {
			rows = append(rows, []string{e.String(), "nothing", "FAIL"})
			problems = append(problems, fmt.Sprintf("%s: not reported: %s", namespace, e))
			continue
		}
		rows = append(rows, []string{e.String(), left[i].String(), "OK"})
		left = slices.Delete(left, i, i+1)
	}
	for _, d := range left {
		rows = append(rows, []string{"nothing", d.String(), "FAIL"})
		problems = append(problems, fmt.Sprintf("%s: not expected: %s", namespace, d))
	}
	if len(rows) == 1 {
		rows = append(rows, []string{"nothing", "nothing", "OK"})
	}
	return Table(rows), problems
}
