package policy_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

const (
	sha    = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	pinned = "nginx:1.25.3@" + sha
)

// rule is a judgement in short: "deny F-01", "allow", "deny F-01 TW-12=warn".
func short(r *policy.Ruling) string {
	s := r.Decision()
	for _, f := range r.Findings {
		s += " " + string(f.ID)
		if f.Effect != r.Effect {
			s += "=" + f.Effect.String()
		}
	}
	return s
}

func judge(t *testing.T, p *policy.Policy, c policy.Container, want string) policy.Ruling {
	t.Helper()
	r := p.Judge(&c, today)
	if got := short(&r); got != want {
		t.Errorf("%+v: got %q, want %q", c, got, want)
	}
	for _, f := range r.Findings {
		if f.Message == "" || f.Fix == "" || f.Reason == "" {
			t.Errorf("%+v: %s lacks a text: %+v", c, f.ID, f)
		}
	}
	return r
}

// "Require image digests or fixed semantic version tags in all production
// manifests", and quiet where the lab's notes want it quiet.
func TestJudgeDefaults(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	for _, test := range []struct{ image, production, elsewhere, development string }{
		{"nginx", "deny F-01", "warn F-01", "allow F-01"},
		{"nginx:latest", "deny F-01", "warn F-01", "allow F-01"},
		{"nginx:1.25", "deny F-01", "warn F-01", "allow F-01"},
		{"localhost:5000/app", "deny F-01", "warn F-01", "allow F-01"},
		{"nginx:1.25.3", "warn TW-02", "audit TW-02", "allow TW-02"},
		{pinned, "allow", "allow", "allow"},
		{"nginx@sha256:abc", "deny TW-09", "warn TW-09", "warn TW-09"},
		{"", "deny TW-09", "warn TW-09", "warn TW-09"},
	} {
		for namespace, want := range map[string]string{
			"production": test.production, "shop": test.elsewhere, "": test.elsewhere, "dev-anna": test.development,
		} {
			judge(t, p, policy.Container{Namespace: namespace, Kind: "container", Image: test.image}, want)
		}
	}
}

// The three notes on false positives, for whoever asks for an image.
func TestJudgeFalsePositiveNotes(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	t.Run("debug and ephemeral containers", func(t *testing.T) {
		t.Parallel()
		judge(t, p, policy.Container{Namespace: "production", Kind: "ephemeral", Image: "alpine"}, "allow F-01")
		judge(t, p, policy.Container{Namespace: "production", Kind: "ephemeral", Image: "alpine:3.20.1"}, "allow TW-02")
		judge(t, p, policy.Container{Namespace: "production", Kind: "container", Image: "busybox"}, "allow F-01")
		judge(t, p, policy.Container{Namespace: "production", Kind: "container", Image: "alpine"}, "deny F-01")
		judge(t, parse(t, "ephemeralContainers: alert\n"), policy.Container{Namespace: "production", Kind: "ephemeral", Image: "alpine"}, "deny F-01")
	})
	t.Run("development namespaces", func(t *testing.T) {
		t.Parallel()
		judge(t, p, policy.Container{Namespace: "dev", Kind: "container", Image: "ghcr.io/acme/api:latest"}, "allow F-01")
		judge(t, p, policy.Container{Namespace: "devops", Kind: "container", Image: "ghcr.io/acme/api:latest"}, "warn F-01")
	})
	t.Run("base infrastructure images", func(t *testing.T) {
		t.Parallel()
		r := judge(t, p, policy.Container{Namespace: "production", Kind: "container", Image: "registry.k8s.io/pause"}, "warn F-01")
		if !strings.Contains(r.Findings[0].Reason, "baseline hardening") {
			t.Errorf("the reason is %q", r.Findings[0].Reason)
		}
	})
}

func TestJudgeByThePolicy(t *testing.T) {
	t.Parallel()
	at := func(namespace, img string) policy.Container {
		return policy.Container{Namespace: namespace, Workload: "Deployment/api", Kind: "container", Image: img}
	}
	labelled := at("shop", "nginx")
	labelled.NamespaceLabels = map[string]string{"environment": "production"}
	for _, test := range []struct {
		name, policy string
		container    policy.Container
		want         string
	}{
		{"an effect of its own", "findings: {TW-02: {production: deny}}", at("prod", "nginx:1.25.3"), "deny TW-02"},
		{"the other scopes keep theirs", "findings: {TW-02: {production: deny}}", at("shop", "nginx:1.25.3"), "audit TW-02"},
		{"off", `findings: {F-01: {production: "off"}}`, at("prod", "nginx"), "allow F-01"},
		{"production by label", "namespaces: {productionLabels: [environment=production]}", labelled, "deny F-01"},
		{"labels that are not known", "namespaces: {productionLabels: ['!environment']}", at("shop", "nginx"), "warn F-01"},
		{"production before development", "namespaces: {productionLabels: [environment], development: [shop]}", labelled, "deny F-01"},
		{"development by label", "namespaces: {developmentLabels: [environment]}", labelled, "allow F-01"},
		{"a class that is fixed", "classes: [{image: ghcr.io/acme/**, tag: 'r-*', class: fixed}]", at("prod", "ghcr.io/acme/api:r-x"), "warn TW-02"},
		{"of other tags", "classes: [{image: ghcr.io/acme/**, tag: 'r-*', class: fixed}]", at("prod", "ghcr.io/acme/api:main"), "deny F-01"},
		{"of other images", "classes: [{image: ghcr.io/acme/**, tag: '*', class: fixed}]", at("prod", "nginx:main"), "deny F-01"},
		{"a class that floats", "classes: [{image: '**', tag: '1.*', class: floating}]", at("prod", "nginx:1.25.3"), "deny F-01"},
		{"latest is never fixed", "classes: [{image: '**', tag: '*', class: fixed}]", at("prod", "nginx:latest"), "deny F-01"},
		{"a missing tag is never fixed", "classes: [{image: '**', tag: '*', class: fixed}]", at("prod", "nginx"), "deny F-01"},
		{"a digest never floats", "classes: [{image: '**', tag: '*', class: floating}]", at("prod", pinned), "allow"},
		{"an allowed registry", "allowedRegistries: [docker.io, ghcr.io/acme/**]", at("prod", pinned), "allow"},
		{"another", "allowedRegistries: [ghcr.io, localhost:5000]", at("prod", pinned), "deny TW-12"},
		{"with a port", "allowedRegistries: [ghcr.io, localhost:5000]", at("prod", "localhost:5000/a@"+sha), "allow"},
		{"another of that host", "allowedRegistries: [localhost:5000]", at("prod", "localhost:5001/a@"+sha), "deny TW-12"},
		{"two findings", "allowedRegistries: [ghcr.io]", at("shop", "nginx"), "warn F-01 TW-12"},
		{"two of another weight", "allowedRegistries: [ghcr.io]", at("prod", "nginx:1.25.3"), "deny TW-02=warn TW-12"},
		{"an exception", exceptions("finding: F-01, workload: Deployment/api"), at("prod", "nginx"), "allow F-01"},
		{"from one of two", "allowedRegistries: [ghcr.io]\n" + exceptions("finding: TW-12, namespace: prod"), at("prod", "nginx"), "deny F-01 TW-12=off"},
		{"that has expired", strings.ReplaceAll(exceptions("finding: F-01, namespace: prod"), "2027-11-23", "2026-11-22"), at("prod", "nginx"), "deny F-01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := judge(t, parse(t, test.policy), test.container, test.want)
			if test.name == "that has expired" && !strings.Contains(r.Findings[0].Reason, "(PAY-123) expired after 2026-11-22") {
				t.Errorf("the reason is %q", r.Findings[0].Reason)
			}
		})
	}
}

func TestClassSaysWhy(t *testing.T) {
	t.Parallel()
	p := parse(t, "classes: [{image: acme/*, tag: 'r-*', class: fixed}]")
	ref, err := image.Parse("acme/api:r-7")
	if err != nil {
		t.Fatal(err)
	}
	class, why := p.Class(ref)
	if class != image.Fixed || why != "the policy says that tags r-* of docker.io/acme/* are fixed" {
		t.Errorf("got %s, %q", class, why)
	}
}

// A message is one line whatever somebody asks for.
func TestMessagesAreOneLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a\nb", "\x1b[2J", strings.Repeat("ü", 1<<20), "a b", "\xff"} {
		m := policy.Default().Fault(text).Message
		if !utf8.ValidString(m) || strings.ContainsAny(m, "\n\x1b") || len(m) > 1000 || strings.HasPrefix(m, " ") {
			t.Errorf("%.20q: %.200q", text, m)
		}
	}
}

// How long an exception may last is the policy's to say, wherever in the file
// it stands.
func TestMaxExceptionDays(t *testing.T) {
	t.Parallel()
	for days, ok := range map[string]bool{"365": true, "364": false, "3000": true} {
		text := exceptions("finding: F-01, namespace: a") + "maxExceptionDays: " + days + "\n"
		if _, err := policy.Parse("f", []byte(text), today); (err == nil) != ok {
			t.Errorf("%s days: %v", days, err)
		}
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	p := parse(t, "apiVersion: tagwarden.dev/v1\nkind: TagwardenPolicy\nmetadata: {name: tagwarden}\nspec: {findings: {F-01: {elsewhere: deny}}, maxExceptionDays: 30}\n")
	judge(t, p, policy.Container{Namespace: "shop", Kind: "container", Image: "nginx"}, "deny F-01")
	object := func(namespace, spec string) string {
		return `{"apiVersion":"tagwarden.dev/v1","kind":"TagwardenException","metadata":{"name":"a","namespace":"` + namespace + `"},"spec":{` + spec + `}}`
	}
	const rest = `"owner":"web","ticket":"A-1","reason":"why not","expires":"2026-12-01"`
	e, err := p.ParseException("shop/a", []byte(object("shop", `"finding":"F-01",`+rest)), today)
	if err != nil {
		t.Fatal(err)
	}
	if e.Object != "shop/a" || e.Namespace() != "shop" {
		t.Errorf("the exception is %+v", e)
	}
	with := p.WithExceptions([]*policy.Exception{e})
	judge(t, with, policy.Container{Namespace: "shop", Kind: "container", Image: "nginx"}, "allow F-01")
	judge(t, with, policy.Container{Namespace: "shop2", Kind: "container", Image: "nginx"}, "deny F-01")
	judge(t, p, policy.Container{Namespace: "shop", Kind: "container", Image: "nginx"}, "deny F-01")
	for _, test := range []struct{ text, want string }{
		{object("shop", `"finding":"F-01","namespace":"prod",`+rest), "spec.namespace: unknown key"},
		{object("*", `"finding":"F-01",`+rest), "is no name of a namespace"},
		{object("shop", `"finding":"F-01",`+strings.Replace(rest, "2026-12-01", "2027-02-01", 1)), "lasts 30 days at most"},
		{strings.Replace(object("shop", `"finding":"F-01",`+rest), "TagwardenException", "TagwardenPolicy", 1), "kind: unknown kind"},
		{"", "there is no exception in it"},
		{"{}", "spec: missing"},
	} {
		_, err := p.ParseException("f", []byte(test.text), today)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.text, err, test.want)
		}
	}
}

func TestSigners(t *testing.T) {
	t.Parallel()
	p := parse(t, "signers: [{name: ci, images: [ghcr.io/acme/**], issuer: 'https://a', identityRegexp: '.*@acme'}]")
	s := p.Signers()
	if len(s) != 1 || !s[0].Signs("ghcr.io/acme/api") || s[0].Signs("docker.io/library/nginx") {
		t.Errorf("signers: %+v", s)
	}
	for text, want := range map[string]string{
		"{name: a, images: [a/*], issuer: 'https://a'}":                                       "everybody with an account",
		"{name: a, images: [a/*], identity: a}":                                               "signers[0].issuer: missing",
		"{name: a, images: [a/*], publicKey: x}":                                              "not the PEM text",
		"{name: a, images: [a/*], issuer: 'https://a', identity: b, identityRegexp: c}":       "keep one of them",
		"{name: a, images: [a/*], issuer: 'https://a', identityRegexp: '('}":                  "no regular expression",
		"{name: a, images: [a/*], issuer: 'https://a', identity: b, publicKey: x}":            "a signer has a key or an identity",
		"{name: a, images: [a/*], publicKey: \"-----BEGIN A-----\\nAA==\\n-----END A-----\"}": "not a public key",
	} {
		_, err := policy.Parse("f", []byte("signers: ["+text+"]"), today)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// The defaults, as docs/policy.md has them.
func TestDefaultEffects(t *testing.T) {
	t.Parallel()
	p := policy.Default()
	got := map[string]string{}
	for _, id := range finding.IDs() {
		s := p.Effect(id, policy.Production).String() + " " + p.Effect(id, policy.Elsewhere).String() + " " + p.Effect(id, policy.Development).String()
		if s != "audit audit audit" {
			got[string(id)] = s
		}
	}
	if diff := cmp.Diff(map[string]string{
		"F-01": "deny warn off", "TW-02": "warn audit off", "TW-09": "deny warn warn", "TW-12": "deny warn warn",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
