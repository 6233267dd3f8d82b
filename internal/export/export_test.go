package export_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/export"
	"github.com/tagwarden/tagwarden/internal/policy"
)

var update = flag.Bool("update", false, "write pack/ and the golden files again")

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("tagwarden.yaml", []byte(text), today)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exported(t *testing.T, engine string, p *policy.Policy) (map[string]string, []string) {
	t.Helper()
	out, err := export.Export(engine, p, today)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range out.Files {
		files[f.Name] = string(f.Data)
	}
	return files, out.Notes
}

// The pack of the default policy is in the repository, for those who want the
// files without the program.
func TestPackIsCurrent(t *testing.T) {
	t.Parallel()
	const folder = "../../pack"
	out, err := export.Export("pack", policy.Default(), today)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := out.Write(folder, false); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, f := range out.Files {
		names = append(names, f.Name)
		got, err := os.ReadFile(filepath.Join(folder, f.Name))
		if err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("pack/%s is not what tagwarden export writes (%v): run go test ./internal/export -update", f.Name, err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			t.Errorf("pack/%s is not written any more: take it out", e.Name())
		}
	}
}

// full is a policy with everything in it.
const full = `
namespaces: {production: [production, "prod-*"], productionLabels: ["environment=production, tier notin (test)"], development: [dev]}
findings: {TW-02: {production: deny, elsewhere: warn, development: audit}}
classes: [{image: "ghcr.io/acme/**", tag: "release-*", class: fixed}]
allowedRegistries: [ghcr.io, "docker.io/library/*"]
debugImages: [busybox]
infrastructureImages: ["registry.k8s.io/**"]
ephemeralContainers: alert
signers:
  - {name: "Release: it's us", images: [ghcr.io/acme/**, "docker.io/acme/api", "ghcr.io/**/x?"], issuer: "https://token.actions.githubusercontent.com", identityRegexp: "https://github.com/acme/.*"}
  - {name: "Release – it's us", images: [ghcr.io/vendor/*], issuer: "https://accounts.google.com", identity: a@example.com}
exceptions:
  - {finding: F-01, namespace: production, image: "ghcr.io/vendor/*", owner: a, ticket: A-1, reason: "it's | <slow>", expires: 2027-02-01}
  - {finding: F-01, workload: Deployment/x, owner: b, ticket: B-1, reason: why, expires: 2027-03-01}
  - {finding: TW-02, image: "**/x", containerKind: init, owner: c, ticket: C-1, reason: why, expires: 2027-04-01}
  - {finding: TW-02, namespace: gone, owner: d, ticket: D-1, reason: why, expires: 2026-11-01}
  - {rule: Some Rule, namespace: x, owner: e, ticket: E-1, reason: why, expires: 2027-04-01}
`

// Every engine writes YAML that can be read, with names that Kubernetes takes,
// the same twice, and with the mark by which it knows its own files.
func TestFiles(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for _, p := range []*policy.Policy{policy.Default(), parse(t, full)} {
		for _, e := range export.Engines() {
			if e.Name == "policy-controller" && len(p.Signers()) == 0 {
				continue
			}
			files, _ := exported(t, e.Name, p)
			again, _ := exported(t, e.Name, p)
			seen := map[string]bool{}
			for file, text := range files {
				if text != again[file] {
					t.Errorf("%s: %s differs the second time", e.Name, file)
				}
				if first, _, _ := strings.Cut(text, "\n"); !strings.Contains(first, "Written by tagwarden export") {
					t.Errorf("%s: %s begins with %q", e.Name, file, first)
				}
				if strings.HasSuffix(file, ".md") {
					continue
				}
				d := yaml.NewDecoder(strings.NewReader(text))
				for {
					var v struct {
						Kind     string
						Metadata struct{ Name, Namespace string }
					}
					var n yaml.Node
					if err := d.Decode(&n); err != nil {
						if strings.Contains(err.Error(), "EOF") {
							break
						}
						t.Fatalf("%s: %s: %v", e.Name, file, err)
					}
					if n.Decode(&v) != nil || v.Kind == "" {
						continue // A list of rules.
					}
					id := v.Kind + "/" + v.Metadata.Name
					if !name.MatchString(v.Metadata.Name) || seen[file+id] {
						t.Errorf("%s: %s: %s is no name, or one that is there twice", e.Name, file, id)
					}
					seen[file+id] = true
				}
			}
		}
	}
}

// What an engine cannot do is said, in the file and beside it.
func TestNotesSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := parse(t, full)
	for engine, want := range map[string][]string{
		"falco": {
			"the exception of b (B-1) is about a workload or a kind of container", "the exception of c (C-1)",
			"there is no clock: exceptions hold until this file is written again, which must be on the day after 2027-02-01",
			"1 exception that has expired is left out", "1 exception is about Falco rules",
		},
		"sigma":             {"exceptions are not left out of the rules", "labels"},
		"vap":               {"1 exception that has expired is left out", "kube-system is never denied"},
		"kyverno":           {"the time is that of the last change of an object"},
		"gatekeeper":        {"there is a SyncSet beside the template"},
		"policy-controller": {"exceptions are not in these policies"},
	} {
		files, notes := exported(t, engine, p)
		all := strings.Join(notes, "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("%s: the notes do not say %q:\n%s", engine, w, all)
			}
		}
		for name, text := range files {
			if name == "falco-tagwarden.yaml" || name == "kyverno-validatingpolicy.yaml" {
				continue // They do what the others beside them do not.
			}
			head := strings.NewReplacer("\n#   ", " ", "\n# - ", " ").Replace(text)
			for _, n := range notes {
				if !strings.Contains(head, n) {
					t.Errorf("%s: %s does not say %q", engine, name, n)
				}
			}
		}
	}
}

func loadFalco(t *testing.T, text string, own bool) *falco.Ruleset {
	t.Helper()
	opt := falco.DefaultOptions()
	if own {
		catalog, err := event.Catalog()
		if err != nil {
			t.Fatal(err)
		}
		opt.Catalog = catalog
	}
	set, results := falco.Load([]falco.File{{Name: "rules.yaml", Data: []byte(text)}}, opt)
	for _, r := range results {
		for _, p := range append(r.Errors, r.Warnings...) {
			t.Error(p)
		}
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

func fired(set *falco.Ruleset, s *event.Start, p *policy.Policy) string {
	var names []string
	for _, r := range set.Evaluate(nil, event.FieldsOf(s, p.Production(s.Namespace))) {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

func TestFalco(t *testing.T) {
	t.Parallel()
	for _, p := range []*policy.Policy{policy.Default(), parse(t, full)} {
		files, _ := exported(t, "falco", p)
		own := loadFalco(t, files["falco-tagwarden.yaml"], true)
		// Falco itself has the fields of its catalog and no others.
		stock := loadFalco(t, files["falco-stock.yaml"], false)
		if own == nil || stock == nil {
			t.Fatal("no rules")
		}
	}
	p := parse(t, full)
	files, _ := exported(t, "falco", p)
	stock := loadFalco(t, files["falco-stock.yaml"], true)
	const mutable, unpinned, registry = "Mutable image tag", "Image not pinned to a digest", "Image of a registry that is not allowed"
	for _, test := range []struct{ namespace, image, want string }{
		{"production", "docker.io/library/nginx", mutable},
		{"production", "docker.io/library/nginx:latest", mutable},
		{"production", "docker.io/library/nginx:stable", mutable},
		{"production", "docker.io/library/nginx:1.25", mutable},
		{"production", "docker.io/library/nginx:v1", mutable},
		{"production", "docker.io/library/nginx:1.25.3", unpinned},
		{"production", "docker.io/library/nginx@sha256:" + strings.Repeat("a", 64), ""},
		{"production", "docker.io/library/busybox", ""},
		{"prod-eu", "docker.io/library/nginx:latest", mutable},
		{"dev", "docker.io/library/nginx:latest", ""},
		{"staging", "docker.io/library/nginx:latest", mutable},
		{"production", "registry.k8s.io/pause:3", mutable + " of the platform, " + registry},
		{"production", "ghcr.io/vendor/ledger:latest", ""},
		{"production", "ghcr.io/vendor/a/ledger:latest", mutable},
		{"staging", "ghcr.io/vendor/ledger:latest", mutable},
		{"staging", "quay.io/a/b:1.2.3", unpinned + ", " + registry},
	} {
		s := &event.Start{
			Time: today, Source: "containerd", Namespace: test.namespace, Pod: "web", Container: "c",
			ContainerID: strings.Repeat("a", 64), Image: test.image, Digest: "sha256:" + strings.Repeat("b", 64),
		}
		if got := fired(stock, s, p); got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.namespace, test.image, got, test.want)
		}
	}
}

// Sigma's expressions are true for what is wrong, and nothing else.
func TestSigmaExpressions(t *testing.T) {
	t.Parallel()
	files, _ := exported(t, "sigma", policy.Default())
	d := yaml.NewDecoder(strings.NewReader(files["sigma.yml"]))
	var matchers [][]*regexp.Regexp
	for {
		var rule struct {
			Detection map[string]yaml.Node
		}
		if d.Decode(&rule) != nil {
			break
		}
		var fields []map[string][]string
		pod := rule.Detection["image_pod"]
		if err := pod.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		var one []*regexp.Regexp
		for _, text := range fields[0]["requestObject.spec.containers.image|re"] {
			one = append(one, regexp.MustCompile(text))
		}
		matchers = append(matchers, one)
	}
	digest := "@sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]string{
		"nginx": "+F-01 +TW-02", "localhost:5000/app": "+F-01 +TW-02", "nginx:latest": "+F-01 +TW-02", "a.b:5000/c/d:1.25": "+F-01 +TW-02",
		"nginx:1.25.3": "+TW-02", "nginx:8u392": "+TW-02", "nginx" + digest: "", "nginx:1.2.3" + digest: "", "localhost:5000/app:1.2.3" + digest: "",
		"nginx@sha256:abc": "+TW-09", "nginx:": "+TW-02 +TW-09", "nginx:@sha256:abc": "+TW-09", "{{ .x }}": "+F-01 +TW-02 +TW-09", "nginx@md5:abc": "+TW-09",
	} {
		got := ""
		for i, id := range []string{"F-01", "TW-02", "TW-09"} {
			if slices.ContainsFunc(matchers[i], func(e *regexp.Regexp) bool { return e.MatchString(image) }) {
				got += " +" + id
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

func TestPolicyController(t *testing.T) {
	t.Parallel()
	if _, err := export.Export("policy-controller", policy.Default(), today); err == nil || !strings.Contains(err.Error(), "no signers") {
		t.Errorf("without signers: %v", err)
	}
	files, _ := exported(t, "policy-controller", parse(t, full))
	golden(t, "testdata/policy-controller.yaml", files["policy-controller.yaml"])
}

func TestRunbook(t *testing.T) {
	t.Parallel()
	files, _ := exported(t, "runbook", parse(t, full))
	golden(t, "testdata/runbook.md", files["runbook.md"])
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is written now: run go test ./internal/export -update, and read the difference\n%s", file, got)
	}
}

func TestUnknownEngine(t *testing.T) {
	t.Parallel()
	if _, err := export.Export("opa", policy.Default(), today); err == nil || !strings.Contains(err.Error(), "there are falco, gatekeeper") {
		t.Errorf("got %v", err)
	}
}

// A file of somebody else is never written over unasked, and then nothing is.
func TestWrite(t *testing.T) {
	t.Parallel()
	out, err := export.Export("gatekeeper", policy.Default(), today)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := out.Write(folder, false); err != nil {
			t.Fatal(err)
		}
	}
	constraints, template := filepath.Join(folder, "gatekeeper-constraints.yaml"), filepath.Join(folder, "gatekeeper-template.yaml")
	if err := os.Remove(template); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{"", "mine", "\n# Written by tagwarden export."} {
		if err := os.WriteFile(constraints, []byte(foreign), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := out.Write(folder, false); !errors.Is(err, export.ErrForeign) {
			t.Fatalf("%q: got %v", foreign, err)
		}
		if _, err := os.Stat(template); err == nil {
			t.Fatal("another file was written all the same")
		}
	}
	if err := out.Write(folder, true); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d files, %v; want two", len(entries), err)
	}
}
