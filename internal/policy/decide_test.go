package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

const mutableTag = "Container Started with Mutable Image Tag"

func checkAction(t *testing.T, p *policy.Policy, s policy.Subject, want policy.Action) policy.Decision {
	t.Helper()
	d := p.Decide(s, today)
	if d.Action != want {
		t.Errorf("%+v: got %s (%s), want %s", s, d.Action, d.Reason, want)
	}
	if d.Reason == "" {
		t.Errorf("%+v: %s without a reason", s, d.Action)
	}
	return d
}

// "kubectl debug uses images without pinned tags": the exception is scoped to
// ephemeral containers.
func TestFalsePositiveNoteDebugContainers(t *testing.T) {
	p := policy.Default()
	debug := policy.Subject{Finding: finding.F01, Rule: mutableTag, Namespace: "production", Image: "docker.io/library/alpine", ContainerKind: "ephemeral"}
	checkAction(t, p, debug, policy.Mute)
	for _, kind := range []string{"container", "init", "sidecar", ""} {
		s := debug
		s.ContainerKind = kind
		checkAction(t, p, s, policy.Alert)
	}
	for _, id := range finding.IDs() {
		s := debug
		s.Finding = id
		want := policy.Alert
		if id == finding.F01 || id == finding.TW02 {
			want = policy.Mute
		}
		checkAction(t, p, s, want)
	}
	checkAction(t, parse(t, "ephemeralContainers: alert\n"), debug, policy.Alert)
	checkAction(t, parse(t, "ephemeralContainers: ignore\n"), debug, policy.Mute)
}

// "Teams use :latest during active development": alerts are scoped so that
// development namespaces do not raise any.
func TestFalsePositiveNoteDevelopmentNamespaces(t *testing.T) {
	p := policy.Default()
	for namespace, want := range map[string]policy.Action{
		"dev": policy.Mute, "dev-anna": policy.Mute, "payments-dev": policy.Mute, "sandbox": policy.Mute,
		"production": policy.Alert, "prod": policy.Alert, "staging": policy.Alert, "default": policy.Alert,
		"devops": policy.Alert, "device-api": policy.Alert, "": policy.Alert,
	} {
		s := policy.Subject{Finding: finding.TW02, Namespace: namespace, Image: "docker.io/library/nginx", ContainerKind: "container"}
		checkAction(t, p, s, want)
		s.Finding = finding.TW04
		checkAction(t, p, s, policy.Alert)
		s.Finding, s.Rule = "", "Terminal Shell in Container"
		checkAction(t, p, s, policy.Alert)
	}
	both := parse(t, "namespaces: {production: [dev-live], development: [dev-*]}\n")
	checkAction(t, both, policy.Subject{Finding: finding.F01, Namespace: "dev-live"}, policy.Alert)
	checkAction(t, both, policy.Subject{Finding: finding.F01, Namespace: "dev-anna"}, policy.Mute)
	if both.Development("dev-live") {
		t.Error("dev-live is production and development at once")
	}
}

// "Some platform tools use floating tags": they stay visible, as notices, to
// be pinned in the baseline hardening.
func TestFalsePositiveNoteBaseInfrastructureImages(t *testing.T) {
	p := policy.Default()
	for image, want := range map[string]policy.Action{
		"registry.k8s.io/pause":                                       policy.Lower,
		"registry.k8s.io/ingress-nginx/controller":                    policy.Lower,
		"docker.io/calico/node":                                       policy.Lower,
		"602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/kube-proxy": policy.Lower,
		"111111111111.dkr.ecr.eu-west-1.amazonaws.com/eks/kube-proxy": policy.Alert,
		"docker.io/library/nginx":                                     policy.Alert,
		"registry.k8s.io.example.com/pause":                           policy.Alert,
		"":                                                            policy.Alert,
	} {
		s := policy.Subject{Finding: finding.F01, Namespace: "production", Image: image, ContainerKind: "container"}
		d := checkAction(t, p, s, want)
		if want == policy.Lower && !strings.Contains(d.Reason, "baseline hardening") {
			t.Errorf("%s: the reason %q does not say what to do", image, d.Reason)
		}
		s.Finding = finding.TW04
		checkAction(t, p, s, policy.Alert)
	}
}

func TestExceptionScopes(t *testing.T) {
	full := policy.Subject{
		Finding: finding.F01, Rule: mutableTag, Namespace: "payments", Workload: "Deployment/api",
		Image: "ghcr.io/acme/api", ContainerKind: "init",
	}
	for _, test := range []struct {
		scope string
		want  policy.Action
	}{
		{"finding: F-01, namespace: payments", policy.Mute},
		{"finding: F-01, namespace: pay*", policy.Mute},
		{"finding: F-01, namespace: pay", policy.Alert},
		{"finding: TW-02, namespace: payments", policy.Alert},
		{"rule: Container Started with Mutable Image Tag, namespace: payments", policy.Mute},
		{"rule: Another Rule, namespace: payments", policy.Alert},
		{"finding: F-01, workload: Deployment/api", policy.Mute},
		{"finding: F-01, workload: '*/api'", policy.Mute},
		{"finding: F-01, workload: Deployment/*", policy.Mute},
		{"finding: F-01, workload: StatefulSet/api", policy.Alert},
		{"finding: F-01, image: ghcr.io/acme/api", policy.Mute},
		{"finding: F-01, image: ghcr.io/acme/*", policy.Mute},
		{"finding: F-01, image: ghcr.io/*", policy.Alert},
		{"finding: F-01, image: ghcr.io/**", policy.Mute},
		{"finding: F-01, image: '**/api'", policy.Mute},
		{"finding: F-01, image: acme/api", policy.Alert}, // docker.io/acme/api
		{"finding: F-01, containerKind: init", policy.Mute},
		{"finding: F-01, containerKind: sidecar", policy.Alert},
		{"finding: F-01, namespace: payments, workload: Deployment/api, image: ghcr.io/acme/api, containerKind: init", policy.Mute},
		{"finding: F-01, namespace: payments, workload: Deployment/api, image: ghcr.io/acme/web, containerKind: init", policy.Alert},
	} {
		p := parse(t, exceptions(test.scope))
		d := checkAction(t, p, full, test.want)
		if (d.Exception != nil) != (test.want == policy.Mute) {
			t.Errorf("%s: %s with exception %v", test.scope, d.Action, d.Exception)
		}
	}
}

// An exception does not hold for a subject that does not know the field.
func TestNeverMuteByGuess(t *testing.T) {
	for _, scope := range []string{"namespace: pay*", "workload: '*/a*'", "image: '**/api'", "containerKind: init"} {
		p := parse(t, exceptions("finding: F-01, "+scope))
		checkAction(t, p, policy.Subject{Finding: finding.F01}, policy.Alert)
	}
	// An alert of a rule without a finding is muted by its name alone.
	p := parse(t, exceptions("finding: F-01, namespace: payments"))
	checkAction(t, p, policy.Subject{Rule: mutableTag, Namespace: "payments"}, policy.Alert)
	p = parse(t, exceptions("rule: Terminal Shell in Container, namespace: payments"))
	checkAction(t, p, policy.Subject{Rule: "Terminal Shell in Container", Namespace: "payments"}, policy.Mute)
	checkAction(t, p, policy.Subject{Namespace: "payments"}, policy.Alert)
}

func TestExceptionExpires(t *testing.T) {
	p := parse(t, strings.ReplaceAll(exceptions("finding: F-01, namespace: payments"), "2027-11-23", "2027-03-31"))
	s := policy.Subject{Finding: finding.F01, Namespace: "payments"}
	berlin := time.FixedZone("CEST", 2*60*60)
	const (
		holds = "team-payments accepts it until 2027-03-31 (PAY-123): why not"
		over  = "the exception of team-payments (PAY-123) expired after 2027-03-31"
	)
	for _, test := range []struct {
		now    time.Time
		action policy.Action
		reason string
	}{
		{today, policy.Mute, holds},
		{time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC), policy.Mute, holds},
		{time.Date(2027, 3, 31, 23, 59, 59, 999999999, time.UTC), policy.Mute, holds},
		{time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC), policy.Alert, over},
		{time.Date(2027, 4, 1, 1, 59, 59, 0, berlin), policy.Mute, holds},
		{time.Date(2027, 4, 1, 2, 0, 0, 0, berlin), policy.Alert, over},
	} {
		d := p.Decide(s, test.now)
		if d.Action != test.action || d.Reason != test.reason {
			t.Errorf("%s: got %s (%s), want %s (%s)", test.now, d.Action, d.Reason, test.action, test.reason)
		}
		if expired := p.Exceptions()[0].Expired(test.now); expired != (test.action == policy.Alert) {
			t.Errorf("%s: expired is %t, but the action %s", test.now, expired, d.Action)
		}
	}
}

// An exception is a finding from two weeks before its end, for as long as it is
// in the policy.
func TestExpiring(t *testing.T) {
	text := ""
	for _, day := range []string{"2026-05-01", "2026-11-22", "2026-11-23", "2026-12-01", "2026-12-06", "2026-12-07", "2027-06-01"} {
		one := strings.ReplaceAll(exceptions("finding: F-01, namespace: until-"+day), "2027-11-23", day)
		text += strings.TrimPrefix(one, "exceptions:\n")
	}
	p := parse(t, "exceptions:\n"+text)
	var got []string
	for _, f := range p.Expiring(today) {
		if f.ID != finding.TW10 || f.Fix == "" || !strings.Contains(f.Message, "team-payments (PAY-123)") {
			t.Errorf("finding %+v", f)
		}
		got = append(got, fmt.Sprintf("%s:%d %s %s", f.Location.File, f.Location.Line, f.Form, f.Subject.Namespace))
	}
	if diff := cmp.Diff([]string{
		"tagwarden.yaml:2 expired until-2026-05-01",
		"tagwarden.yaml:3 expired until-2026-11-22",
		"tagwarden.yaml:4 expires until-2026-11-23",
		"tagwarden.yaml:5 expires until-2026-12-01",
		"tagwarden.yaml:6 expires until-2026-12-06",
	}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// The exception that is written first speaks, and an expired one does not
// stand in the way of another.
func TestFirstExceptionThatHolds(t *testing.T) {
	text := exceptions("finding: F-01, namespace: payments", "finding: F-01, namespace: pay*", "finding: F-01, containerKind: init")
	text = strings.Replace(text, "2027-11-23", "2026-11-22", 1)
	d := parse(t, text).Decide(policy.Subject{Finding: finding.F01, Namespace: "payments", ContainerKind: "init"}, today)
	if d.Exception == nil || d.Exception.String() != "F-01, namespace pay*" {
		t.Errorf("got %v, want the second exception", d.Exception)
	}
}

func TestDebugImage(t *testing.T) {
	p := policy.Default()
	for _, name := range []string{"busybox", "docker.io/library/busybox", "nicolaka/netshoot", "docker.io/nicolaka/netshoot"} {
		if !p.DebugImage(name) {
			t.Errorf("%s is no debug image", name)
		}
	}
	for _, name := range []string{"", "nginx", "docker.io/busybox", "ghcr.io/acme/busybox", "library/busybox", "alpine"} {
		if p.DebugImage(name) {
			t.Errorf("%s is a debug image", name)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	var scopes []string
	for range 100 {
		scopes = append(scopes, "finding: F-01, namespace: pay*-eu, workload: Deployment/*, image: '**/acme/*-api'")
	}
	p := parse(b, exceptions(scopes...))
	for name, s := range map[string]policy.Subject{
		"none":   {Finding: finding.F01, Namespace: "web", Workload: "Deployment/web", Image: "docker.io/library/nginx", ContainerKind: "container"},
		"nearly": {Finding: finding.F01, Namespace: "pay-all-eu", Workload: "Deployment/web", Image: "ghcr.io/acme/team/web-api-2", ContainerKind: "container"},
		"first":  {Finding: finding.F01, Namespace: "pay-all-eu", Workload: "Deployment/web", Image: "ghcr.io/acme/web-api", ContainerKind: "container"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(s, today)
			}
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p := parse(t, exceptions("finding: F-01, namespace: p*, image: '**/a*'", "finding: F-01, namespace: pay*"))
	s := policy.Subject{Finding: finding.F01, Namespace: "payments", Image: "registry.k8s.io/pause", ContainerKind: "container"}
	late := today.AddDate(2, 0, 0) // so that every step is taken
	if n := testing.AllocsPerRun(100, func() { p.Decide(s, today); p.Decide(s, late) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}
