package policy_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// today is when all policies here are read.
var today = time.Date(2026, 11, 23, 15, 4, 5, 0, time.UTC)

func parse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("tagwarden.yaml", []byte(text), today)
	if err != nil {
		t.Fatalf("policy:\n%s\n%v", text, err)
	}
	return p
}

// exceptions returns a policy with the exceptions that have these keys, which
// end on the last day that is allowed.
func exceptions(scopes ...string) string {
	text := "exceptions:\n"
	for _, s := range scopes {
		text += "- {" + s + ", owner: team-payments, ticket: PAY-123, reason: why not, expires: 2027-11-23}\n"
	}
	return text
}

func TestBadPolicy(t *testing.T) {
	data, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = policy.Parse("bad.yaml", data, today)
	if err == nil {
		t.Fatal("bad.yaml is accepted")
	}
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile("testdata/bad.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("errors (-want +got; go test -update writes them anew):\n%s", diff)
	}
}

// Errors about the file as a whole come alone.
func TestUnreadableFile(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"two documents", "debugImages: []\n---\ndebugImages: []\n", "f:2:1: a second document starts here, a policy is one document"},
		{"an empty document and another", "---\n---\ndebugImages: []\n", "f:2:1: a second document starts here, a policy is one document"},
		{"a broken second document", "debugImages: []\n---\n]\n", "f:3:1: not valid YAML: did not find expected node content (while parsing a block node)"},
		{"an open list", "debugImages: [busybox\nnamespaces: {}\n", "f:2:11: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence that starts at 1:14)"},
		{"a tab", "namespaces:\n\tproduction: []\n", "f:2:1: not valid YAML: found character that cannot start any token (while scanning for the next token)"},
		{"an unknown alias", "debugImages: *images\n", "f:1:14: not valid YAML: unknown anchor 'images' referenced"},
		{"a list", "- debugImages\n", "f:1:1: found a list, expected a mapping with the keys apiVersion, namespaces, findings, classes, allowedRegistries, debugImages, infrastructureImages, ephemeralContainers, signers, admission, maxExceptionDays, exceptions, knownPushers"},
		{"text", "debugImages\n", `f:1:1: found the text "debugImages", expected a mapping with the keys apiVersion, namespaces, findings, classes, allowedRegistries, debugImages, infrastructureImages, ephemeralContainers, signers, admission, maxExceptionDays, exceptions, knownPushers`},
		{"an unrendered template", "{{ .Values.policy }}\n", "f:1:2: found a mapping for a key, expected one of apiVersion, namespaces, findings, classes, allowedRegistries, debugImages, infrastructureImages, ephemeralContainers, signers, admission, maxExceptionDays, exceptions, knownPushers"},
		{"a control character", "# ü\ndebug\x01Images: []\n", "f:2:6: the character U+0001 cannot stand in a policy"},
		{"UTF-16", "\xff\xfed\x00", "f:1:1: the file is not UTF-8 text"},
		{"Latin-1", "# gr\xfc\xdfe\n", "f:1:5: the file is not UTF-8 text"},
		{"a byte order mark inside", "a: \ufeff1\n", "f:1:4: the character U+FEFF cannot stand in a policy"},
		{"too large", "#" + strings.Repeat(" ", 1<<20), "f:1:1: the file is larger than 1048576 bytes"},
		{"too deep", "debugImages: " + strings.Repeat("[", 20_000), "f:1:10014: not valid YAML: exceeded max depth of 10000 (while increasing flow level)"},
		{"aliases of aliases", "debugImages: &a [busybox]\ninfrastructureImages: [*a, *a]\n", "" +
			"f:2:24: infrastructureImages[0]: found an alias (*a; aliases are not read here, write the value out), expected text\n" +
			"f:2:28: infrastructureImages[1]: found an alias (*a; aliases are not read here, write the value out), expected text"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := policy.Parse("f", []byte(test.text), today)
			if err == nil {
				t.Fatalf("%q is accepted", test.text)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
			if p != nil {
				t.Error("there is a policy beside the error")
			}
		})
	}
}

func TestErrorsAreValues(t *testing.T) {
	_, err := policy.Parse("f", []byte("a: 1\nephemeralContainers: on\n"), today)
	var all policy.Errors
	if !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("got %T with %v, want two policy.Errors", err, err)
	}
	want := &policy.Error{File: "f", Line: 2, Column: 22, Path: "ephemeralContainers", Message: `unknown value "on", use one of ignore, alert`}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("second error (-want +got):\n%s", diff)
	}
	var first *policy.Error
	if !errors.As(err, &first) || first.Line != 1 {
		t.Errorf("errors.As: got %v, want the error on line 1", first)
	}
}

func TestManyErrors(t *testing.T) {
	_, err := policy.Parse("f", []byte("exceptions:\n"+strings.Repeat("- {}\n", 100_000)), today)
	var all policy.Errors
	if !errors.As(err, &all) || len(all) != 101 {
		t.Fatalf("got %d errors, want 100 and a last word", len(all))
	}
	if got, want := all[100].Error(), "f:18:3: there are more errors, mend these first"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	want := policy.Default()
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "---\n...\n", "\ufeff", "{}", "apiVersion: tagwarden.dev/v1\n", "null\n"} {
		p := parse(t, text)
		if diff := cmp.Diff(want.DebugImages(), p.DebugImages()); diff != "" {
			t.Errorf("%q: debug images (-want +got):\n%s", text, diff)
		}
		if p.ExplicitDebugImages() || p.ExplicitProductionNamespaces() {
			t.Errorf("%q sets something", text)
		}
		if !p.Production("prod") || !p.Development("dev") || !p.InfrastructureImage("registry.k8s.io/pause") {
			t.Errorf("%q: a default is missing", text)
		}
	}
}

func TestListsReplaceDefaults(t *testing.T) {
	p := parse(t, "namespaces:\n  production: [live, live-*]\ndebugImages: [acme/toolbox]\n")
	if p.Production("prod") || !p.Production("live") || !p.Production("live-eu") {
		t.Errorf("production is %v, want live and live-*", p.ProductionNamespaces())
	}
	if !p.Development("dev") {
		t.Error("development lost its default, though the file does not mention it")
	}
	if diff := cmp.Diff([]string{"acme/toolbox", "docker.io/acme/toolbox"}, p.DebugImages()); diff != "" {
		t.Errorf("debug images (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"live", "live-*"}, p.ProductionNamespaces()); diff != "" {
		t.Errorf("production namespaces (-want +got):\n%s", diff)
	}
	if !p.ExplicitDebugImages() || !p.ExplicitProductionNamespaces() {
		t.Error("what the file sets is not known to be set")
	}
	if empty := parse(t, "debugImages: []\n"); !empty.ExplicitDebugImages() || len(empty.DebugImages()) != 0 {
		t.Errorf("an empty list of debug images gives %v", empty.DebugImages())
	}
}

func TestExpiryLimits(t *testing.T) {
	for day, want := range map[string]string{
		"2026-11-23":   "", // today
		"2020-01-01":   "", // over: not wrong, but without effect
		"2027-11-23":   "", // a year from today
		"2027-11-24":   "an exception lasts a year at most, write 2027-11-23 or an earlier day",
		"9999-12-31":   "an exception lasts a year at most, write 2027-11-23 or an earlier day",
		"2027-02-30":   `"2027-02-30" is not a day, write e.g. 2027-02-23`,
		"2027-3-31":    `"2027-3-31" is not a day, write e.g. 2027-02-23`,
		"never":        `"never" is not a day, write e.g. 2027-02-23`,
		"20270331":     `found the number "20270331", expected a day, write e.g. 2027-02-23`,
		`"2027-03-31"`: "",
	} {
		text := strings.Replace(exceptions("finding: F-01, namespace: a"), "2027-11-23", day, 1)
		_, err := policy.Parse("f", []byte(text), today)
		var got *policy.Error
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", day, err)
		case want != "" && (!errors.As(err, &got) || got.Message != want || got.Path != "exceptions[0].expires"):
			t.Errorf("%s: got %v, want %s", day, err, want)
		}
	}
}

func TestExample(t *testing.T) {
	p, err := policy.Load(exampleFile, today)
	if err != nil {
		t.Fatal(err)
	}
	all := p.Exceptions()
	var got []string
	for _, e := range all {
		got = append(got, e.String())
	}
	if diff := cmp.Diff([]string{
		"F-01, namespace payments, workload Deployment/ledger-*, image ghcr.io/vendor/ledger",
		"rule Container Image Not Pinned to Digest, namespace prod-eu, containerKind init",
	}, got); diff != "" {
		t.Fatalf("exceptions (-want +got):\n%s", diff)
	}
	if got, want := all[1].Reason, "the init image is built on the node itself and never comes from a registry"; got != want {
		t.Errorf("reason: got %q, want %q", got, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	_, err := policy.Load(filepath.Join(dir, "tagwarden.yaml"), today)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v, want fs.ErrNotExist", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, slices.Repeat([]byte("#\n"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Load(large, today); err == nil || err.Error() != large+":1:1: the file is larger than 1048576 bytes" {
		t.Errorf("large file: got %v", err)
	}
}
