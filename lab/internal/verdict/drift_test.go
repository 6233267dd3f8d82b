package verdict

import (
	"strings"
	"testing"
)

func TestCheckDrift(t *testing.T) {
	finding := func(ns, id, form, to string) Alert {
		return Alert{Rule: "r", Fields: map[string]any{
			"k8s.ns.name": ns, "tagwarden.finding": id, "tagwarden.drift.form": form, "tagwarden.workload": "Deployment/api", "tagwarden.drift.to": to,
		}}
	}
	doubt := Alert{Rule: undecidedRule, Fields: map[string]any{"k8s.ns.name": "a"}}
	want := Drift{ID: "TW-04", Form: "new-pod", Workload: "Deployment/api", To: "sha256:b"}
	for name, tc := range map[string]struct {
		expects  []Drift
		alerts   []Alert
		mayDoubt bool
		problem  string
	}{
		"as expected":            {[]Drift{want}, []Alert{finding("a", "TW-04", "new-pod", "sha256:b"), {Rule: "F-01"}}, false, ""},
		"nothing":                {nil, nil, false, ""},
		"elsewhere":              {nil, []Alert{finding("b", "TW-04", "new-pod", "sha256:b")}, false, ""},
		"missed":                 {[]Drift{want}, nil, false, "not reported"},
		"another form":           {[]Drift{want}, []Alert{finding("a", "TW-04", "in-place", "sha256:b")}, false, "not reported"},
		"another digest":         {[]Drift{want}, []Alert{finding("a", "TW-04", "new-pod", "sha256:c")}, false, "not expected"},
		"false":                  {nil, []Alert{finding("a", "TW-05", "skew", "sha256:b")}, false, "not expected"},
		"twice":                  {[]Drift{want}, []Alert{finding("a", "TW-04", "new-pod", "sha256:b"), finding("a", "TW-04", "new-pod", "sha256:b")}, false, "not expected"},
		"doubt":                  {nil, []Alert{doubt}, false, "not expected"},
		"doubt that is expected": {nil, []Alert{doubt}, true, ""},
	} {
		_, problems := CheckDrift("a", tc.expects, tc.alerts, tc.mayDoubt)
		if got := strings.Join(problems, "; "); (got == "") != (tc.problem == "") || !strings.Contains(got, tc.problem) {
			t.Errorf("%s: problems %q, want %q", name, got, tc.problem)
		}
	}
}
