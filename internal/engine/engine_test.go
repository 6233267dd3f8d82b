package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/rules"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// starts is a source that sees the given starts and ends.
type starts []event.Start

func (s starts) Watch(_ context.Context, emit func(event.Event)) error {
	for _, x := range s {
		emit(&x)
	}
	return nil
}

func (s starts) String() string { return "test" }

// sink keeps what it is told.
type sink struct {
	got []string
	err error
}

func (s *sink) Event(e event.Event) error {
	if x, ok := e.(*event.Start); ok {
		s.got = append(s.got, "start "+x.Pod)
	}
	return s.err
}

func (s *sink) Alert(x *event.Start, a falco.Alert) error {
	s.got = append(s.got, a.Priority.String()+" "+x.Pod)
	return nil
}

func run(t *testing.T, pol string, all bool, sources ...engine.Source) ([]string, engine.Stats) {
	t.Helper()
	cat, err := event.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	opt := falco.DefaultOptions()
	opt.Catalog = cat
	set, results := falco.Load([]falco.File{{Name: "rules", Data: rules.Tagwarden}}, opt)
	if set == nil {
		t.Fatal(results[0].Errors)
	}
	p, err := policy.Parse("tagwarden.yaml", []byte(pol), noon)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	e := &engine.Engine{Sources: sources, Rules: set, Policy: p, Sink: s, Now: func() time.Time { return noon }, AllMatches: all}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.got, e.Stats()
}

func pod(name, namespace, reference string) event.Start {
	return event.Start{
		Time: noon.Add(-time.Second), Source: "kube", Namespace: namespace, Pod: name, Container: "c",
		Kind: event.Container, ContainerID: strings.Repeat(name, 16), Reference: reference,
	}
}

// onNode is the same start as a node without the reference sees it.
func onNode(s event.Start, name string) event.Start {
	s.Source, s.Reference, s.Image, s.Kind = "containerd", "", name, ""
	return s
}

func ephemeral(s event.Start) event.Start {
	s.Kind = event.Ephemeral
	return s
}

func TestRun(t *testing.T) {
	t.Parallel()
	const excepted = `
exceptions:
  - finding: F-01
    namespace: prod
    image: nginx
    owner: o
    ticket: t
    reason: r
    expires: 2026-12-01
`
	for _, tc := range []struct {
		name    string
		policy  string
		all     bool
		sources []engine.Source
		want    []string
		stats   engine.Stats
	}{
		{
			"the three pods of lab 010", "", false,
			[]engine.Source{starts{pod("a", "default", "nginx:latest"), pod("b", "default", "nginx"), pod("c", "default", "nginx:1.25.3")}},
			[]string{"start a", "Warning a", "start b", "Warning b", "start c"},
			engine.Stats{Starts: 3, Alerts: 2, Lag: time.Second},
		},
		{
			"development namespaces are muted and counted", "", false,
			[]engine.Source{starts{pod("a", "dev-x", "nginx")}},
			[]string{"start a"},
			engine.Stats{Starts: 1, Muted: 1, Lag: time.Second},
		},
		{
			"a class of the policy is that of the rules, too", "classes: [{image: acme/*, tag: 'r-*', class: fixed}, {image: acme/*, tag: '1.*', class: floating}]", false,
			[]engine.Source{starts{pod("a", "shop", "acme/api:r-x"), pod("b", "shop", "acme/api:1.2.3"), pod("c", "shop", "acme/api:latest")}},
			[]string{"start a", "start b", "Warning b", "start c", "Warning c"},
			engine.Stats{Starts: 3, Alerts: 2, Lag: time.Second},
		},
		{
			"a finding that the policy turns off is muted", "findings: {F-01: {elsewhere: 'off'}}", false,
			[]engine.Source{starts{pod("a", "shop", "nginx"), pod("b", "prod", "nginx")}},
			[]string{"start a", "start b", "Warning b"},
			engine.Stats{Starts: 2, Alerts: 1, Muted: 1, Lag: time.Second},
		},
		{
			"platform images alert as a notice", "", false,
			[]engine.Source{starts{pod("a", "kube-system", "registry.k8s.io/dns:latest")}},
			[]string{"start a", "Notice a"},
			engine.Stats{Starts: 1, Alerts: 1, Lowered: 1, Lag: time.Second},
		},
		{
			"ephemeral containers are left alone", "", false,
			[]engine.Source{starts{ephemeral(pod("a", "default", "nginx"))}},
			[]string{"start a"},
			engine.Stats{Starts: 1, Lag: time.Second},
		},
		{
			"the first match wins", "", false,
			[]engine.Source{starts{pod("a", "prod", "nginx")}},
			[]string{"start a", "Warning a"},
			engine.Stats{Starts: 1, Alerts: 1, Lag: time.Second},
		},
		{
			"or all do", "", true,
			[]engine.Source{starts{pod("a", "prod", "nginx")}},
			[]string{"start a", "Warning a", "Notice a"},
			engine.Stats{Starts: 1, Alerts: 2, Lag: time.Second},
		},
		{
			"an exception from one rule does not hide the next", excepted, false,
			[]engine.Source{starts{pod("a", "prod", "nginx")}},
			[]string{"start a", "Notice a"},
			engine.Stats{Starts: 1, Alerts: 1, Muted: 1, Lag: time.Second},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, stats := run(t, tc.policy, tc.all, tc.sources...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.stats, stats); diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTwoSourcesOfOneStart: whichever comes first, one start and one alert.
func TestTwoSourcesOfOneStart(t *testing.T) {
	t.Parallel()
	kube := pod("a", "default", "nginx")
	for name, node := range map[string]event.Start{
		"the node is misled by the runtime's name": onNode(kube, "docker.io/library/nginx:1.25.3"),
		"the node knows the tag":                   onNode(kube, "docker.io/library/nginx:latest"),
	} {
		got, stats := run(t, "", false, starts{kube}, starts{node})
		if len(got) != 2 || stats.Starts != 1 || stats.Alerts != 1 {
			t.Errorf("%s: got %v, want one start and one alert", name, got)
		}
	}
}

func TestRunEndsWhenTheSinkFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("pipe closed")
	many := make(starts, 10_000)
	for i := range many {
		many[i] = pod("a", "default", "nginx:1.25.3")
	}
	s := &sink{err: broken}
	e := &engine.Engine{Sources: []engine.Source{many}, Rules: noRules(t), Policy: policy.Default(), Sink: s, Now: time.Now}
	if err := e.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	if len(s.got) != 1 {
		t.Errorf("the sink was called %d times, want once", len(s.got))
	}
}

func TestFindingOf(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]string{
		"container,F-01":                  "F-01",
		"container,T1525,image_tag":       "F-01",
		"container,T1525,image_digest":    "TW-02",
		"container,mitre_execution,shell": "",
		"":                                "",
	} {
		if got := engine.FindingOf(strings.Split(tags, ",")); string(got) != want {
			t.Errorf("%s: got %q, want %q", tags, got, want)
		}
	}
}
