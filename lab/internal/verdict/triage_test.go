package verdict

import (
	"strings"
	"testing"
)

func TestCheckTriage(t *testing.T) {
	want := Triage{Workload: "ns/deploy/api", Verdict: "hygiene (urgent)", Status: 1, Next: "pin", Says: map[string][]string{"pusher": {"by mallory", "recorded"}}}
	got := Report{Verdict: "hygiene", Urgent: true, Evidence: []Evidence{{Name: "pusher", Value: "by mallory", Trust: "recorded"}}}
	got.Next = append(got.Next, struct{ Action, Command string }{Action: "pin"})
	if table, problems := CheckTriage(want, got, 1); len(problems) > 0 || !strings.Contains(table, "OK") {
		t.Errorf("%s%q", table, problems)
	}
	bad := got
	bad.Urgent, bad.Evidence, bad.Next = false, nil, nil
	if table, problems := CheckTriage(want, bad, 0); len(problems) != 4 || !strings.Contains(table, "FAIL") {
		t.Errorf("%s%d problems, want 4: %q", table, len(problems), problems)
	}
	alert := Alert{Fields: map[string]any{"k8s.ns.name": "ns", "tagwarden.finding": "TW-04", "tagwarden.fingerprint": "abc"}}
	if got := Fingerprint("ns", "TW-04", []Alert{{}, alert}); got != "abc" {
		t.Errorf("fingerprint %q", got)
	}
	if got := Fingerprint("other", "TW-04", []Alert{alert}); got != "" {
		t.Errorf("fingerprint %q of another namespace", got)
	}
}
