package verdict

import (
	"slices"
	"strings"
	"testing"
)

var (
	lab010 = Expect{Namespace: "default", Pod: "lab010", Container: "lab010", Image: "nginx:latest", Digest: "sha256:aa", Starts: 1, Alert: true}
	start  = Start{Namespace: "default", Pod: "lab010", PodUID: "u", Container: "lab010", ContainerID: "c1", Reference: "nginx:latest", Digest: "sha256:aa"}
	alert  = Alert{Fields: map[string]any{"k8s.ns.name": "default", "k8s.pod.name": "lab010", "container.name": "lab010"}}
)

// with returns s changed by f.
func with[T any](v T, f func(*T)) T {
	f(&v)
	return v
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name    string
		expect  Expect
		reports Reports
		want    string // part of the only problem, "" for none
		seen    string
	}{
		{"as expected", lab010, Reports{Starts: []Start{start}, Alerts: []Alert{alert}}, "", "start, alert"},
		{"no alert", lab010, Reports{Starts: []Start{start}}, "0 alerts, want 1", "start, no alert"},
		{"not seen", with(lab010, func(e *Expect) { e.Alert = false }), Reports{}, "0 starts reported, want 1", "nothing"},
		{"two alerts", lab010, Reports{Starts: []Start{start}, Alerts: []Alert{alert, alert}}, "2 alerts, want 1", "1 starts, 2 alerts"},
		{"false alert", with(lab010, func(e *Expect) { e.Alert = false }), Reports{Starts: []Start{start}, Alerts: []Alert{alert}}, "1 alerts, want 0", "start, alert"},
		{"image that never started", with(lab010, func(e *Expect) { e.Alert, e.Starts = false, 0 }), Reports{}, "", "nothing"},
		{
			"wrong tag", lab010,
			Reports{Starts: []Start{with(start, func(s *Start) { s.Reference = "nginx:1.25.3" })}, Alerts: []Alert{alert}},
			`reference "nginx:1.25.3", want "nginx:latest"`, "start, alert",
		},
		{
			"wrong digest", lab010,
			Reports{Starts: []Start{with(start, func(s *Start) { s.Digest = "sha256:bb" })}, Alerts: []Alert{alert}},
			`digest "sha256:bb"`, "start, alert",
		},
		{"no pod UID", lab010, Reports{Starts: []Start{with(start, func(s *Start) { s.PodUID = "" })}, Alerts: []Alert{alert}}, "no pod UID", "start, alert"},
		{"doubled", with(lab010, func(e *Expect) { e.Starts, e.Alert = 2, false }), Reports{Starts: []Start{start, start}}, "container c1 reported 2 times", "2 starts, no alert"},
		{"known container missing", with(lab010, func(e *Expect) { e.IDs = []string{"c9"} }), Reports{Starts: []Start{start}, Alerts: []Alert{alert}}, "container c9 not reported", "start, alert"},
		{
			"alert with the tag of the status", with(lab010, func(e *Expect) { e.Image = "nginx" }),
			Reports{
				Starts: []Start{with(start, func(s *Start) { s.Reference = "nginx" })},
				Alerts: []Alert{{Fields: map[string]any{"k8s.ns.name": "default", "k8s.pod.name": "lab010", "container.name": "lab010", "container.image.tag": "1.25.3"}}},
			},
			`alert with tag "1.25.3", want ""`, "start, alert",
		},
		{
			"unknown digest of a container that is gone", with(lab010, func(e *Expect) { e.Gone = []string{"c1"} }),
			Reports{Starts: []Start{with(start, func(s *Start) { s.Digest = "" })}, Alerts: []Alert{alert}},
			"", "start, alert",
		},
		{
			"wrong digest of a container that is gone", with(lab010, func(e *Expect) { e.Gone = []string{"c1"} }),
			Reports{Starts: []Start{with(start, func(s *Start) { s.Digest = "sha256:bb" })}, Alerts: []Alert{alert}},
			`digest "sha256:bb"`, "start, alert",
		},
		{
			"unknown digest", lab010,
			Reports{Starts: []Start{with(start, func(s *Start) { s.Digest = "" })}, Alerts: []Alert{alert}},
			`digest ""`, "start, alert",
		},
		{"muted", with(lab010, func(e *Expect) { e.Muted = []string{"kube"} }), Reports{Source: "kube", Starts: []Start{start}}, "", "start, no alert"},
		{"muted elsewhere", with(lab010, func(e *Expect) { e.Muted = []string{"kube"} }), Reports{Source: "containerd", Starts: []Start{start}}, "0 alerts, want 1", "start, no alert"},
		{
			"wrong kind", with(lab010, func(e *Expect) { e.Kind = "init" }),
			Reports{Starts: []Start{with(start, func(s *Start) { s.Kind = "container" })}, Alerts: []Alert{alert}},
			`kind "container", want "init"`, "start, alert",
		},
		{"another pod's", with(lab010, func(e *Expect) { e.Pod, e.Starts, e.Alert = "other", 0, false }), Reports{Starts: []Start{start}, Alerts: []Alert{alert}}, "", "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Check(tt.expect, tt.reports)
			if got.Observed != tt.seen {
				t.Errorf("observed %q, want %q", got.Observed, tt.seen)
			}
			switch {
			case tt.want == "" && len(got.Problems) > 0:
				t.Errorf("problems %q, want none", got.Problems)
			case tt.want != "" && (len(got.Problems) != 1 || !strings.Contains(got.Problems[0], tt.want)):
				t.Errorf("problems %q, want one with %q", got.Problems, tt.want)
			}
		})
	}
}

func TestTagOf(t *testing.T) {
	for ref, want := range map[string]string{
		"nginx": "", "nginx:1.25.3": "1.25.3", "localhost:5000/app": "", "localhost:5000/app:v1": "v1",
		"nginx@sha256:aa": "", "nginx:1@sha256:aa": "1", "": "",
	} {
		if got := tagOf(ref); got != want {
			t.Errorf("tagOf(%q) = %q, want %q", ref, got, want)
		}
	}
}

func TestAllSaysWhichSourceFailed(t *testing.T) {
	good := Reports{Source: "kube", Starts: []Start{start}, Alerts: []Alert{alert}}
	blind := Reports{Source: "containerd"}
	table, problems := All([]Expect{lab010}, []Reports{good, blind}, " (SIMULATED NODE)")
	want := `POD     IMAGE         EXPECTED      KUBE          CONTAINERD  RESULT (SIMULATED NODE)
lab010  nginx:latest  start, alert  start, alert  nothing     FAIL
`
	if table != want {
		t.Errorf("table:\n%swant:\n%s", table, want)
	}
	if len(problems) != 2 || !strings.HasPrefix(problems[0], "containerd: default/lab010/lab010: ") {
		t.Errorf("problems %q, want two of containerd", problems)
	}
	if _, problems := All([]Expect{lab010}, []Reports{good}, ""); len(problems) != 0 {
		t.Errorf("problems %q, want none", problems)
	}
}

func TestUnexpectedReports(t *testing.T) {
	other := with(start, func(s *Start) { s.Pod = "other" })
	elsewhere := with(start, func(s *Start) { s.Namespace = "earlier-scenario" })
	nameless := Alert{Output: "who?"}
	r := Reports{Source: "kube", Starts: []Start{start, other, elsewhere}, Alerts: []Alert{alert, nameless}}
	got := unexpected([]Expect{lab010}, r)
	want := []string{"kube: default/other/lab010: unexpected start of nginx:latest", "kube: //: unexpected alert: who?"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if about := r.About([]Expect{lab010}); len(about) != 1 || about[0].Of() != lab010.Of() {
		t.Errorf("About = %+v, want the one alert of the pod", about)
	}
}

func TestStartsLeavesOutWhatIsStillWritten(t *testing.T) {
	got, err := Starts([]byte("{\"type\":\"container_start\",\"pod\":\"a\"}\n\n{\"type\":\"container_end\"}\n{\"type\":\"container_start\",\"pod\":\"b\"}\n{\"po"))
	if err != nil || len(got) != 2 || got[1].Pod != "b" {
		t.Errorf("Lines = %+v, %v; want a and b", got, err)
	}
	if _, err := Starts([]byte("no json\n")); err == nil {
		t.Error("a line that is no JSON is accepted")
	}
}
