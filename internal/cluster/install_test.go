package cluster_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

const pinned = "ghcr.io/acme/tagwarden@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func install() cluster.Install {
	return cluster.Install{Namespace: "tagwarden", Image: pinned, Replicas: 2, TimeoutSeconds: 5}
}

// What is installed, to read. Everything before the namespace are the
// CustomResourceDefinitions, which have tests of their own.
func TestManifests(t *testing.T) {
	t.Parallel()
	in := install()
	in.Policy = []byte("findings:\n  F-01: {elsewhere: deny}\n")
	out, err := in.YAML()
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(string(out), "---\napiVersion: v1\nkind: Namespace\n")
	const file = "testdata/install.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-want +got; go test -update writes it anew):\n%s", diff)
	}
}

type object = map[string]any

func objects(t *testing.T, in cluster.Install) map[string]object {
	t.Helper()
	all, err := in.Objects()
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]object{}
	for i, o := range all {
		kind := fmt.Sprint(o["kind"])
		byKind[kind] = o
		if webhook := strings.HasSuffix(kind, "WebhookConfiguration"); webhook != (i >= len(all)-2) {
			t.Errorf("%s is object %d of %d: webhooks come last", kind, i, len(all))
		}
	}
	return byKind
}

// at follows keys and indexes.
func at(o any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			o = o.(map[string]any)[p]
		case int:
			o = o.([]any)[p]
		}
	}
	return o
}

// Nobody is locked out: there is one entry a webhook, it fails open, waits for
// a short time, and is not asked about the namespaces that it needs itself.
func TestNeverLocksOut(t *testing.T) {
	t.Parallel()
	in := install()
	in.Exclude = []string{"flux-system"}
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		hooks, _ := objects(t, in)[kind]["webhooks"].([]any)
		if len(hooks) != 1 {
			t.Fatalf("%s has %d webhooks, want one", kind, len(hooks))
		}
		hook := hooks[0]
		for key, want := range map[string]any{"failurePolicy": "Ignore", "sideEffects": "None", "timeoutSeconds": float64(5)} {
			if got := at(hook, key); got != want {
				t.Errorf("%s: %s is %v, want %v", kind, key, got, want)
			}
		}
		values, _ := at(hook, "namespaceSelector", "matchExpressions", 0, "values").([]any)
		for _, ns := range []string{"kube-system", "kube-node-lease", "tagwarden", "flux-system"} {
			if !slices.Contains(values, any(ns)) {
				t.Errorf("%s is asked about %s", kind, ns)
			}
		}
		if op := at(hook, "namespaceSelector", "matchExpressions", 0, "operator"); op != "NotIn" {
			t.Errorf("%s: the namespaces are %v", kind, op)
		}
	}
	in.FailClosed = true
	if got := at(objects(t, in)["ValidatingWebhookConfiguration"], "webhooks", 0, "failurePolicy"); got != "Fail" {
		t.Errorf("fail closed: %v", got)
	}
}

// The mutating webhook is asked about pods alone, so that no controller and no
// GitOps tool sees a difference.
func TestMutatesPodsAlone(t *testing.T) {
	t.Parallel()
	in := install()
	rules, _ := at(objects(t, in)["MutatingWebhookConfiguration"], "webhooks", 0, "rules").([]any)
	if len(rules) != 1 || !cmp.Equal(at(rules[0], "resources"), any([]any{"pods", "pods/ephemeralcontainers"})) {
		t.Errorf("rules %v", rules)
	}
	in.PinTemplates = true
	if rules, _ := at(objects(t, in)["MutatingWebhookConfiguration"], "webhooks", 0, "rules").([]any); len(rules) != 3 {
		t.Errorf("with templates: rules %v", rules)
	}
}

func TestVariants(t *testing.T) {
	t.Parallel()
	managed := install()
	managed.CertManager = true
	got := objects(t, managed)
	if got["Certificate"] == nil || got["Issuer"] == nil || got["Secret"] != nil || got["Role"] != nil {
		t.Errorf("cert-manager: %v", got)
	}
	if a := at(got["ValidatingWebhookConfiguration"], "metadata", "annotations", "cert-manager.io/inject-ca-from"); a != "tagwarden/tagwarden" {
		t.Errorf("cert-manager is told %v", a)
	}
	outside := install()
	outside.URL = "https://127.0.0.1:8443/"
	got = objects(t, outside)
	if got["Deployment"] != nil || got["Service"] != nil || got["PodDisruptionBudget"] != nil {
		t.Errorf("outside of the cluster: %v", got)
	}
	if url := at(got["MutatingWebhookConfiguration"], "webhooks", 0, "clientConfig", "url"); url != "https://127.0.0.1:8443/mutate" {
		t.Errorf("the URL is %v", url)
	}
	// Secrets are read only when somebody wants it.
	secrets := func(in cluster.Install) bool {
		rules, _ := objects(t, in)["ClusterRole"]["rules"].([]any)
		return slices.ContainsFunc(rules, func(r any) bool { return cmp.Equal(at(r, "resources"), any([]any{"secrets"})) })
	}
	pull := install()
	pull.PullSecrets = true
	if secrets(install()) || !secrets(pull) {
		t.Error("secrets of the cluster are read without being asked for, or not at all")
	}
}
