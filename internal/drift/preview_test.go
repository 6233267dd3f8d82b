package drift_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
)

func TestAtNextStart(t *testing.T) {
	t.Parallel()
	const tag = "registry.example/api:latest"
	keeps := func(name string, n int) *event.Node {
		return &event.Node{Name: name, Platform: "linux/amd64", Images: [][]string{{digest(n)}}, Tags: map[string]string{tag: digest(n)}}
	}
	empty := func(name string) *event.Node { return &event.Node{Name: name, Platform: "linux/amd64"} }
	full := empty("n2")
	for i := range 50 {
		full.Images = append(full.Images, []string{digest(100 + i)})
	}
	arm := keeps("arm", 2)
	arm.Platform = "linux/arm64"
	kind := func(k string) func(*event.Start) { return func(s *event.Start) { s.Workload.Kind = k } }
	static := func(s *event.Start) { s.Workload.Kind, s.Owner = "Pod", &event.Owner{Kind: "Node", Name: "n1"} }
	none := func(*event.Start) {}
	for _, tc := range []struct {
		name  string
		pull  string
		what  func(*event.Start)
		to    int // 0: not known
		nodes []*event.Node
		want  string // restart, pod, node
		other []string
	}{
		{"pulled each time, and the tag moved", "Always", none, 2, []*event.Node{keeps("n1", 1), empty("n2")}, "different different different", []string{"n1", "n2"}},
		{"pulled each time, and the tag is what runs", "Always", none, 1, []*event.Node{keeps("n1", 1), keeps("n2", 2)}, "same same same", nil},
		{"kept where it runs, pulled elsewhere", "IfNotPresent", none, 2, []*event.Node{keeps("n1", 1), keeps("n2", 1), empty("n3")}, "same by node by node", []string{"n3"}},
		{"kept everywhere", "IfNotPresent", none, 2, []*event.Node{keeps("n1", 1), keeps("n2", 1)}, "same same same", nil},
		{"another pod has pulled the new bytes to the node", "IfNotPresent", none, 2, []*event.Node{keeps("n1", 2), keeps("n2", 1)}, "different by node same", []string{"n1"}},
		{"a node keeps old bytes, and the tag did not move", "IfNotPresent", none, 1, []*event.Node{keeps("n1", 1), keeps("n2", 2)}, "same by node different", []string{"n2"}},
		{"never pulled", "Never", none, 2, []*event.Node{keeps("n1", 1), empty("n2")}, "same by node no start", nil},
		{"a node does not tell of all its images", "IfNotPresent", none, 2, []*event.Node{keeps("n1", 1), full}, "same not known not known", nil},
		{"nodes of another platform do not count", "IfNotPresent", none, 2, []*event.Node{keeps("n1", 1), arm, keeps("n2", 1)}, "same same same", nil},
		{"nothing is known of nodes", "IfNotPresent", none, 2, nil, "not known not known not known", nil},
		{"nothing is known of nodes, but it is pulled", "Always", none, 2, nil, "different different not known", nil},
		{"the registry does not answer, the nodes keep it", "IfNotPresent", none, 0, []*event.Node{keeps("n1", 1), keeps("n2", 1)}, "same same same", nil},
		{"the registry does not answer", "Always", none, 0, []*event.Node{keeps("n1", 1), keeps("n2", 1)}, "not known not known not known", nil},
		{"nobody makes a bare pod anew", "Always", kind("Pod"), 2, []*event.Node{keeps("n1", 1)}, "different not again not again", []string{"n1"}},
		{"a DaemonSet comes back on its node", "IfNotPresent", kind("DaemonSet"), 2, []*event.Node{keeps("n1", 1), empty("n2")}, "same same not again", nil},
		{"so does a static pod", "Always", static, 2, []*event.Node{keeps("n1", 1)}, "different different not again", []string{"n1"}},
		{"one node has nowhere to go", "Always", none, 1, []*event.Node{keeps("n1", 1)}, "same same not again", nil},
	} {
		s := start("a", "r1", 0, digest(1))
		s.PullPolicy = tc.pull
		tc.what(s)
		to := ""
		if tc.to > 0 {
			to = digest(tc.to)
		}
		got := drift.AtNextStart(s, to, tc.nodes, known(1, 2))
		if text := fmt.Sprint(got.Restart, " ", got.Pod, " ", got.Node); text != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, text, tc.want)
		}
		var other []string
		for _, n := range got.Different {
			other = append(other, n.Node)
		}
		if diff := cmp.Diff(tc.other, other); diff != "" && len(tc.other)+len(other) > 0 {
			t.Errorf("%s: nodes with other bytes (-want +got):\n%s", tc.name, diff)
		}
		if unknown := got.Restart == drift.NextUnknown || got.Pod == drift.NextUnknown || got.Node == drift.NextUnknown; unknown != (got.Doubt != "") {
			t.Errorf("%s: doubt %q", tc.name, got.Doubt)
		}
	}
}
