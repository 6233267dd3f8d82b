package finding_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"testing"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// The table that is documented to users.
func TestDefaults(t *testing.T) {
	for _, want := range []struct {
		id                    finding.ID
		production, elsewhere string
		technique             string
	}{
		{"F-01", "high", "low", "T1525"},
		{"TW-02", "medium", "info", "T1525"},
		{"TW-03", "medium", "info", "T1525"},
		{"TW-04", "critical", "high", "T1525"},
		{"TW-05", "high", "medium", "T1525"},
		{"TW-06", "high", "low", "T1525"},
		{"TW-07", "high", "medium", "T1525"},
		{"TW-08", "medium", "low", ""},
		{"TW-09", "high", "medium", ""},
		{"TW-10", "medium", "low", ""},
		{"TW-11", "medium", "low", ""},
		{"TW-12", "high", "medium", "T1525"},
	} {
		id, err := finding.ParseID(string(want.id))
		if err != nil {
			t.Errorf("ParseID(%q): %v", want.id, err)
			continue
		}
		if got := id.Severity(true).String(); got != want.production {
			t.Errorf("%s in production: got %s, want %s", id, got, want.production)
		}
		if got := id.Severity(false).String(); got != want.elsewhere {
			t.Errorf("%s elsewhere: got %s, want %s", id, got, want.elsewhere)
		}
		technique, ok := id.Technique()
		if technique.ID != want.technique || ok != (want.technique != "") {
			t.Errorf("%s: got technique %+v, %t, want %q", id, technique, ok, want.technique)
		}
		if ok && technique.Tactic != "Persistence" {
			t.Errorf("%s: got tactic %q, want Persistence", id, technique.Tactic)
		}
	}
}

func TestIDs(t *testing.T) {
	ids := finding.IDs()
	if len(ids) != 12 || !slices.IsSorted(ids) {
		t.Errorf("IDs() = %v, want twelve, sorted", ids)
	}
	names := map[string]finding.ID{}
	for _, id := range ids {
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`).MatchString(id.Name()) {
			t.Errorf("%s: name %q is not made of words and hyphens", id, id.Name())
		}
		if other, ok := names[id.Name()]; ok {
			t.Errorf("%s and %s have the same name %q", id, other, id.Name())
		}
		names[id.Name()] = id
		if id.Title() == "" {
			t.Errorf("%s has no title", id)
		}
		if id.Severity(true) < id.Severity(false) {
			t.Errorf("%s is milder in production (%s) than elsewhere (%s)", id, id.Severity(true), id.Severity(false))
		}
	}
}

func TestUnknownID(t *testing.T) {
	for _, s := range []string{"", "f-01", "F01", "TW-1", "TW-99"} {
		if id, err := finding.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %q, want an error", s, id)
		}
		id := finding.ID(s)
		if _, ok := id.Technique(); ok || id.Name() != "" || id.Title() != "" || id.Severity(true) != finding.Info {
			t.Errorf("%q has a definition", s)
		}
	}
}

func TestSeverityOrder(t *testing.T) {
	order := []finding.Severity{finding.Info, finding.Low, finding.Medium, finding.High, finding.Critical}
	for i := 1; i < len(order); i++ {
		if order[i-1] >= order[i] {
			t.Errorf("%s is not milder than %s", order[i-1], order[i])
		}
	}
	var zero finding.Severity
	if zero != finding.Info {
		t.Errorf("the zero severity is %s, want info", zero)
	}
}

func TestSeverityText(t *testing.T) {
	for _, name := range []string{"info", "low", "medium", "high", "critical"} {
		var s finding.Severity
		in := `"` + name + `"`
		if err := json.Unmarshal([]byte(in), &s); err != nil {
			t.Errorf("read %s: %v", in, err)
			continue
		}
		out, err := json.Marshal(s)
		if err != nil || string(out) != in {
			t.Errorf("%s written again: got %s, %v", in, out, err)
		}
	}
	for _, name := range []string{"", "High", "warning", "5"} {
		s := finding.High
		if err := s.UnmarshalText([]byte(name)); err == nil || s != finding.High {
			t.Errorf("UnmarshalText(%q) = %v and sets %s, want an error and no change", name, err, s)
		}
	}
	if text, err := finding.Severity(5).MarshalText(); err == nil {
		t.Errorf("Severity(5) is written as %q, want an error", text)
	}
	if got, want := finding.Severity(5).String(), "Severity(5)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
