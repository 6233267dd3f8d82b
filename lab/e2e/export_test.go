package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/kube"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
)

// An exportCase is one of conformance/testdata/cases.json: an object, and the
// verdict that the policy means.
type exportCase struct {
	Case      string
	Namespace string
	Labels    map[string]string
	Kind      string
	Container string
	User      string
	Object    map[string]any
	Before    map[string]any
	Want      []string
}

// exportedPolicy installs what "tagwarden export vap" writes on the API server
// of the lab and asks it about every case of the conformance table.
func exportedPolicy(t *testing.T, on *scenario.Stage, tagwarden string) {
	t.Helper()
	var cases []exportCase
	folder := filepath.Join(on.Driver.Source, "..", "conformance", "testdata")
	data, err := os.ReadFile(filepath.Join(folder, "cases.json"))
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, on, cases)
	policies := exportPolicies(t, tagwarden, filepath.Join(folder, "policy.yaml"))
	for _, p := range policies {
		apply(t, on, p)
		if header(p)["kind"] == "Namespace" {
			continue
		}
		t.Cleanup(func() {
			// Others play in this cluster, too.
			if err := on.Kube.Do(context.WithoutCancel(t.Context()), "DELETE", one(header(p)), "application/json", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	// They count when the server has taken note of all of them.
	settled(t, on, cases, "deny F-01")
	settled(t, on, cases, "warn TW-02")
	asked := 0
	for _, c := range cases {
		if c.User != "anna" {
			continue // The lab's administrator is no controller.
		}
		got, err := verdictOf(t.Context(), on, &c)
		if err != nil {
			t.Errorf("%s: %v", c.Case, err)
			continue
		}
		asked++
		// What is audited goes into the server's log alone.
		want := slices.DeleteFunc(slices.Clone(c.Want), func(w string) bool { return strings.HasPrefix(w, "audit") })
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.Case, got, want)
		}
	}
	t.Logf("the API server gave a verdict in %d cases of %d", asked, len(cases))

	// The clock: the same exceptions, with an end that is past.
	past := regexp.MustCompile(`timestamp\('[^']+'\)`)
	for _, p := range policies {
		apply(t, on, past.ReplaceAllString(p, "timestamp('2020-01-01T00:00:00Z')"))
	}
	excepted := slices.IndexFunc(cases, func(c exportCase) bool {
		return c.Kind == "Deployment" && c.Before == nil && strings.Contains(c.Case, "ghcr.io/vendor/ledger:latest") && len(c.Want) == 0
	})
	if excepted < 0 {
		t.Fatal("no case is about an exception")
	}
	cases[excepted].Want = []string{"deny F-01"}
	settled(t, on, cases[excepted:excepted+1], "deny F-01")
}

// prepare makes the namespaces, and what is there before it is updated.
func prepare(t *testing.T, on *scenario.Stage, cases []exportCase) {
	t.Helper()
	namespaces := map[string]map[string]string{}
	for _, c := range cases {
		namespaces[c.Namespace] = c.Labels
	}
	for name, labels := range namespaces {
		namespace := map[string]any{"metadata": map[string]any{"name": name, "labels": labels}}
		if err := on.Kube.Do(t.Context(), "POST", "/api/v1/namespaces", "application/json", namespace, nil); err != nil && !kube.IsConflict(err) {
			t.Fatal(err)
		}
	}
	for name := range namespaces {
		wait(t, func() error { return on.Kube.ServiceAccountReady(t.Context(), name) })
	}
	made := map[string]bool{}
	for _, c := range cases {
		before := c.Before
		if c.Container == "ephemeral" {
			// They are put into a pod that is there.
			before = host(c.Namespace)
		}
		if before == nil || made[one(before)] {
			continue
		}
		made[one(before)] = true
		if err := on.Kube.Do(t.Context(), "POST", collection(before), "application/json", before, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := on.Kube.Do(context.WithoutCancel(t.Context()), "DELETE", one(before)+"?gracePeriodSeconds=0", "application/json", nil, nil); err != nil && !kube.IsNotFound(err) {
				t.Error(err)
			}
		})
	}
}

// host is a pod that no scheduler takes.
func host(namespace string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "host", "namespace": namespace},
		"spec": map[string]any{
			"schedulerName": "nobody",
			"containers":    []any{map[string]any{"name": "good", "image": "ghcr.io/acme/good@sha256:" + strings.Repeat("0", 64)}},
		},
	}
}

// exportPolicies runs the program on the policy of the table, and returns the
// objects as it writes them.
func exportPolicies(t *testing.T, tagwarden, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	dated := strings.NewReplacer(
		"LATER", time.Now().Add(30*day).UTC().Format(time.DateOnly), "BEFORE", time.Now().Add(-10*day).UTC().Format(time.DateOnly),
	).Replace(string(text))
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(dated), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tagwarden, "export", "vap", "--policy", policy, "-o", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n---\n")
}

// apply applies an object as kubectl apply --server-side does.
func apply(t *testing.T, on *scenario.Stage, text string) {
	t.Helper()
	path := one(header(text)) + "?fieldManager=lab&force=true"
	if err := on.Kube.Do(t.Context(), "PATCH", path, "application/apply-patch+yaml", []byte(text), nil); err != nil {
		t.Fatal(err)
	}
}

// heads are the first lines of objects as the program writes them.
var heads = regexp.MustCompile(`(?m)^apiVersion: (\S+)\nkind: (\S+)\nmetadata:\n  name: (\S+)\n(?:  namespace: (\S+)\n)?`)

func header(text string) map[string]any {
	m := heads.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	return map[string]any{"apiVersion": m[1], "kind": m[2], "metadata": map[string]any{"name": m[3], "namespace": m[4]}}
}

// collection is the path of the objects of a kind.
func collection(o map[string]any) string {
	api, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	meta, _ := o["metadata"].(map[string]any)
	path := "/apis/" + api
	if !strings.Contains(api, "/") {
		path = "/api/" + api
	}
	if namespace, _ := meta["namespace"].(string); namespace != "" {
		path += "/namespaces/" + namespace
	}
	plural := strings.ToLower(kind) + "s"
	if strings.HasSuffix(kind, "Policy") {
		plural = strings.TrimSuffix(strings.ToLower(kind), "y") + "ies"
	}
	return path + "/" + plural
}

func one(o map[string]any) string {
	meta, _ := o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return collection(o) + "/" + name
}

// said is how the API server names a policy and what it says.
var said = regexp.MustCompile(`ValidatingAdmissionPolicy '(tagwarden-\w+)'[^:]*: (.*)`)

// verdictOf asks for an object without making it.
func verdictOf(ctx context.Context, on *scenario.Stage, c *exportCase) ([]string, error) {
	method, path, object := "POST", collection(c.Object), c.Object
	switch {
	case c.Container == "ephemeral":
		spec, _ := c.Object["spec"].(map[string]any)
		method, path = "PATCH", one(host(c.Namespace))+"/ephemeralcontainers"
		object = map[string]any{"spec": map[string]any{"ephemeralContainers": spec["ephemeralContainers"]}}
	case c.Before != nil:
		method, path = "PATCH", one(c.Before)
	}
	contentType := map[string]string{"POST": "application/json", "PATCH": "application/strategic-merge-patch+json"}[method]
	warnings, err := on.Kube.DryRun(ctx, method, path, contentType, object)
	texts := warnings
	if status, ok := errors.AsType[*kube.StatusError](err); ok {
		if status.Code != http.StatusForbidden || !said.MatchString(status.Message) {
			return nil, err
		}
		texts = append(texts, status.Message)
	} else if err != nil {
		return nil, err
	}
	var all []string
	for _, text := range texts {
		m := said.FindStringSubmatch(text)
		if m == nil {
			continue // A warning about something else.
		}
		for message := range strings.SplitSeq(m[2], " | ") {
			id, _, _ := strings.Cut(message, ":")
			all = append(all, strings.TrimPrefix(m[1], "tagwarden-")+" "+id)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// settled asks about the first case with a verdict until the server gives it.
func settled(t *testing.T, on *scenario.Stage, cases []exportCase, want string) {
	t.Helper()
	i := slices.IndexFunc(cases, func(c exportCase) bool { return slices.Equal(c.Want, []string{want}) })
	if i < 0 {
		t.Fatalf("no case has the verdict %s", want)
	}
	wait(t, func() error {
		got, err := verdictOf(t.Context(), on, &cases[i])
		if err == nil && !slices.Equal(got, cases[i].Want) {
			err = fmt.Errorf("%s: got %q, want %q", cases[i].Case, got, want)
		}
		return err
	})
}

func wait(t *testing.T, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := cluster.Poll(ctx, 200*time.Millisecond, func(context.Context) error { return check() }); err != nil {
		t.Fatal(err)
	}
}
