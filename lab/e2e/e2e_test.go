package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
	"github.com/tagwarden/tagwarden/lab/internal/play"
	"github.com/tagwarden/tagwarden/lab/internal/progress"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
	"github.com/tagwarden/tagwarden/lab/internal/watch"
)

// TestScenarios brings up one lab and plays every scenario in it, while one
// set of watchers runs through all of them: a start that is reported late or
// twice, in whichever scenario, is a failure.
func TestScenarios(t *testing.T) {
	on, tagwarden := startLab(t)
	w := startWatch(t, on.State, watch.Program{Path: tagwarden})
	var attack []verdict.Expect
	for _, sc := range scenario.All() {
		t.Run(sc.Name, func(t *testing.T) {
			if sc.Triage != nil && !on.State.Accounts() {
				t.Skip("needs docker-registry; apt-get install docker-registry")
			}
			result, err := play.Scenario(t.Context(), on, w, sc)
			if err != nil {
				t.Fatal(err)
			}
			report(t, sc.Story, result)
			if sc.Name == "lab010" {
				attack = result.Expects
			}
		})
	}
	t.Run("history", func(t *testing.T) { history(t, tagwarden, w.Store("kube")) })
	t.Run("drift", func(t *testing.T) { drift(t, on, tagwarden) })
	t.Run("scan", func(t *testing.T) { scanCluster(t, on, tagwarden) })
	t.Run("export", func(t *testing.T) { exportedPolicy(t, on, tagwarden) })
	t.Run("triage-apply", func(t *testing.T) { triageApply(t, on, w) })
	t.Run("pin", func(t *testing.T) { pinToWhatRan(t, on, tagwarden, w.Store("kube")) })
	w.Stop(t.Context())

	// The pods of the attack run still. Watchers that come late must judge
	// them the same way, here by the very rules of the attack's description.
	t.Run("late-with-published-rules", func(t *testing.T) {
		if len(attack) == 0 {
			t.Skip("the attack was not played")
		}
		rules := filepath.Join(on.Driver.Source, "..", "rules", "lab-010.yaml")
		late := startWatch(t, on.State, watch.Program{Path: tagwarden, Rules: []string{rules}})
		result, err := play.Judge(t.Context(), on, late, attack)
		if err != nil {
			t.Fatal(err)
		}
		report(t, "watchers that start after the attack", result)
	})
}

// history asks what ran before and after the silent replacement, while the
// watcher still writes.
func history(t *testing.T, tagwarden, store string) {
	t.Helper()
	ask := func(args ...string) (out struct {
		Intervals []struct{ Digest, First, Last string }
		Findings  []struct{ ID, Time string }
	},
	) {
		args = append([]string{"history", "silent-replacement/deploy/api", "--store", store, "-o", "json"}, args...)
		text, err := exec.CommandContext(t.Context(), tagwarden, args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := ask()
	if len(all.Intervals) != 2 || len(all.Findings) != 2 || all.Intervals[0].Digest == all.Intervals[1].Digest {
		t.Fatalf("history: %+v; want two digests, TW-04 and TW-05", all)
	}
	before := ask("--at", all.Intervals[0].First)
	if len(before.Intervals) != 1 || before.Intervals[0].Digest != all.Intervals[0].Digest {
		t.Errorf("at %s ran %+v, want %s alone", all.Intervals[0].First, before.Intervals, all.Intervals[0].Digest)
	}
	// After the attack both run: the replica that was not replaced, and the
	// one that was.
	after := ask("--at", all.Intervals[1].First)
	if len(after.Intervals) != 2 || after.Intervals[1].Digest != all.Intervals[1].Digest {
		t.Errorf("at %s ran %+v, want both digests", all.Intervals[1].First, after.Intervals)
	}
	rollback, err := exec.CommandContext(t.Context(), tagwarden, "history", "silent-replacement/deploy/api", "--store", store, "--rollback").Output()
	if err != nil || !strings.Contains(string(rollback), "set image deployment/api api=lab/silent-replacement:latest@"+all.Intervals[0].Digest) {
		t.Errorf("rollback: %v\n%s", err, rollback)
	}
}

// drift looks once at what the silent replacement has left: two replicas that
// run different bytes. The registry was killed since, and has neither: the node
// tells them apart.
func drift(t *testing.T, on *scenario.Stage, tagwarden string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tagwarden, "drift", "--cluster", "-n", "silent-replacement", "-o", "json",
		"--kubeconfig", on.State.Kubeconfig(), "--registry-map", "docker.io="+on.State.Registry())
	text, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("drift: %v, want exit status 1\n%s", err, text)
	}
	var got struct {
		Findings  []struct{ ID, Form string }
		Undecided []any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Findings) != 2 || got.Findings[0].ID+" "+got.Findings[0].Form != "TW-04 new-pod" || got.Findings[1].ID+" "+got.Findings[1].Form != "TW-05 skew" {
		t.Errorf("found %+v, want TW-04 new-pod and TW-05 skew", got.Findings)
	}
	if len(got.Undecided) > 0 {
		t.Errorf("not decided: %v", got.Undecided)
	}
}

// pinToWhatRan plays the silent replacement once more, pins the manifest of the
// deployment to what ran before, and applies it: its pods, of which one runs the
// attacker's bytes, come back with the good ones.
func pinToWhatRan(t *testing.T, on *scenario.Stage, tagwarden, store string) {
	t.Helper()
	const ns, image = "pin-to-what-ran", "lab/pin-to-what-ran:latest"
	attack, err := scenario.Find("silent-replacement")
	if err != nil {
		t.Fatal(err)
	}
	attack.Name = ns
	if _, err := on.PlayDrift(t.Context(), attack); err != nil {
		t.Fatal(err)
	}
	// The watcher writes what it has seen in a moment.
	for range 100 {
		text, err := exec.CommandContext(t.Context(), tagwarden, "history", ns+"/deploy/api", "--store", store, "-o", "json").Output()
		if err != nil {
			t.Fatal(err)
		}
		var kept struct{ Intervals []struct{ Digest string } }
		if err := json.Unmarshal(text, &kept); err != nil {
			t.Fatal(err)
		}
		if len(kept.Intervals) == 2 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	runs := map[string]bool{}
	pods, err := on.Kube.Pods(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		_, digest, _ := strings.Cut(p.Status.ContainerStatuses[0].ImageID, "@")
		runs[digest] = true
	}
	if len(pods) != 2 || len(runs) != 2 {
		t.Fatalf("%d pods run %v, want two with different bytes", len(pods), runs)
	}
	evil, err := on.Digest(t.Context(), image)
	if err != nil || !runs[evil] {
		t.Fatalf("the tag leads to %s, %v; want one of %v", evil, err, runs)
	}

	file := filepath.Join(t.TempDir(), "deploy.yaml")
	manifest := "# The shop's API.\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: " + ns + "}\nspec:\n" +
		"  template:\n    spec:\n      containers:\n      - name: api\n        image: %s # by hand\n"
	if err := os.WriteFile(file, []byte(fmt.Sprintf(manifest, image)), 0o600); err != nil {
		t.Fatal(err)
	}
	pin := func(args ...string) string {
		args = append([]string{"pin", file, "--registry-map", "docker.io=" + on.State.Registry()}, args...)
		cmd := exec.CommandContext(t.Context(), tagwarden, args...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, said.String())
		}
		return said.String()
	}
	// What runs now is two digests, and nobody knows which one is meant.
	cmd := exec.CommandContext(t.Context(), tagwarden, "pin", file, "--from-cluster", "--kubeconfig", on.State.Kubeconfig(), "-n", ns)
	if said, err := cmd.Output(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(said), "its pods run 2 different digests") {
		t.Errorf("from the cluster: %v\n%s", err, said)
	}
	// Where all pods run the same, it is that.
	pinOneDigest(t, on, tagwarden)
	// Whoever asks the registry gets what the attacker pushed.
	if said := pin(); !strings.Contains(said, image+"@"+evil) {
		t.Errorf("the registry's digest: %s", said)
	}
	said := pin("--from-history", "--store", store, "--write")
	if !strings.Contains(said, "TW-03: the tag leads to "+evil+" now") {
		t.Errorf("no warning that the tag was moved: %s", said)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	delete(runs, evil)
	good := ""
	for digest := range runs {
		good = image + "@" + digest
	}
	if want := fmt.Sprintf(manifest, good); string(text) != want {
		t.Fatalf("the manifest is\n%s\nwant\n%s", text, want)
	}
	if err := on.Apply(t.Context(), ns, good); err != nil {
		t.Fatal(err)
	}
	pods, err = on.Kube.Pods(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if id := p.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, strings.TrimPrefix(good, image)) {
			t.Errorf("pod %s runs %s, want %s", p.Metadata.Name, id, good)
		}
	}
}

// pinOneDigest pins the pod of the attack that has a fixed tag to what it runs.
func pinOneDigest(t *testing.T, on *scenario.Stage, tagwarden string) {
	t.Helper()
	const ns, name, image = "default", "lab010c", "nginx:1.25.3"
	pods, err := on.Kube.Pods(t.Context(), ns)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, p := range pods {
		if p.Metadata.Name == name {
			_, digest, _ := strings.Cut(p.Status.ContainerStatuses[0].ImageID, "@")
			want = image + "@" + digest
		}
	}
	file := filepath.Join(t.TempDir(), "pod.yaml")
	manifest := "apiVersion: v1\nkind: Pod\nmetadata: {name: lab010c}\nspec: {containers: [{name: lab010c, image: '%s'}]}\n"
	if err := os.WriteFile(file, []byte(fmt.Sprintf(manifest, image)), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), tagwarden, "pin", file, "--write", "--from-cluster", "--kubeconfig", on.State.Kubeconfig(), "-n", ns,
		"--registry-map", "docker.io="+on.State.Registry()).CombinedOutput()
	if err != nil {
		t.Fatalf("from the cluster: %v\n%s", err, said)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != fmt.Sprintf(manifest, want) {
		t.Errorf("from the cluster the pod is\n%s(%v) want %s", text, err, want)
	}
}

// scanCluster scans the cluster that the scenarios have left, as an
// administrator and as somebody who may read one namespace only.
func scanCluster(t *testing.T, on *scenario.Stage, tagwarden string) {
	t.Helper()
	type scanned struct {
		Findings []struct {
			ID, Image, Fix string
			Object         struct{ Kind, Namespace, Name string }
			Container      struct{ Name, Kind string }
		}
		Unscannable []struct{ File, Reason string }
	}
	scan := func(kubeconfig string, status int, args ...string) (out scanned) {
		args = append([]string{"scan", "--cluster", "--kubeconfig", kubeconfig, "-o", "json"}, args...)
		cmd := exec.CommandContext(t.Context(), tagwarden, args...)
		text, err := cmd.Output()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != status {
			t.Fatalf("%s: %v, want exit status %d\n%s", args, err, status, text)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	found := map[string]string{}
	for _, f := range scan(on.State.Kubeconfig(), 1).Findings {
		found[f.ID+" "+f.Object.Namespace+" "+f.Object.Kind+"/"+f.Object.Name+" "+f.Container.Kind+" "+f.Image] = f.Fix
	}
	for want, fix := range map[string]string{
		"F-01 default Pod/lab010 container nginx:latest":   "write nginx:latest@sha256:",
		"F-01 default Pod/lab010b container nginx":         "write nginx@sha256:",
		"TW-02 default Pod/lab010c container nginx:1.25.3": "write nginx:1.25.3@sha256:",
	} {
		if got := found[want]; !strings.HasPrefix(got, fix) {
			t.Errorf("%s: got %q, want %q…; all: %q", want, got, fix, found)
		}
	}

	// One who may list pods in one namespace, and namespaces, hears of the rest.
	for path, object := range map[string]string{
		"/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles": `{"metadata":{"name":"reader"},
			"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]}`,
		"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings": `{"metadata":{"name":"reader"},
			"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"reader"},
			"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"reader"}]}`,
		"/apis/rbac.authorization.k8s.io/v1/clusterroles": `{"metadata":{"name":"namespaces"},
			"rules":[{"apiGroups":[""],"resources":["namespaces"],"verbs":["list"]}]}`,
		"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": `{"metadata":{"name":"namespaces"},
			"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"namespaces"},
			"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"reader"}]}`,
	} {
		if err := on.Kube.Do(t.Context(), "POST", path, "application/json", json.RawMessage(object), nil); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := os.ReadFile(on.State.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	reader := filepath.Join(t.TempDir(), "kubeconfig")
	as := strings.Replace(string(admin), "  user:\n", "  user:\n    as: reader\n", 1)
	if err := os.WriteFile(reader, []byte(as), 0o600); err != nil {
		t.Fatal(err)
	}
	var part scanned
	var told map[string]bool
	// A role takes effect when the server has seen it.
	for range 20 {
		part, told = scan(reader, 3), map[string]bool{}
		for _, u := range part.Unscannable {
			told[u.File] = true
		}
		if !told["Pod in default"] {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	if !told["Pod in kube-system"] || !told["Deployment in default"] || told["Pod in default"] {
		t.Errorf("not scanned: %v, want pods of kube-system and deployments, and not the pods of default", told)
	}
	if len(part.Findings) == 0 {
		t.Error("nothing was found in the namespace that may be read")
	}
}

// triageApply does the next steps of a triage, and looks whether they are done.
func triageApply(t *testing.T, on *scenario.Stage, w *watch.Watchers) {
	t.Helper()
	const ns = "attack-with-known-pusher"
	if !on.State.Accounts() {
		t.Skip("needs docker-registry; apt-get install docker-registry")
	}
	r, status, err := w.Triage(t.Context(), on.State, ns+"/deploy/api", "--apply", "quarantine,cordon,rollback", "--yes")
	// The node is needed by others.
	uncordon := map[string]any{"spec": map[string]any{"unschedulable": false}}
	defer func() {
		if err := on.Kube.Do(t.Context(), "PATCH", "/api/v1/nodes/"+cluster.NodeName, "application/strategic-merge-patch+json", uncordon, nil); err != nil {
			t.Error(err)
		}
	}()
	if err != nil || status != 1 || r.Verdict != "escalate" {
		t.Fatalf("%+v, exit status %d, %v", r, status, err)
	}
	var node struct{ Spec struct{ Unschedulable bool } }
	if err := on.Kube.Get(t.Context(), "/api/v1/nodes/"+cluster.NodeName, &node); err != nil || !node.Spec.Unschedulable {
		t.Errorf("the node takes pods still: %v", err)
	}
	var quarantine struct {
		Spec struct {
			PodSelector struct{ MatchLabels map[string]string }
			PolicyTypes []string
		}
	}
	err = on.Kube.Get(t.Context(), "/apis/networking.k8s.io/v1/namespaces/"+ns+"/networkpolicies/tagwarden-quarantine", &quarantine)
	if err != nil || quarantine.Spec.PodSelector.MatchLabels["tagwarden.dev/quarantine"] != "true" || len(quarantine.Spec.PolicyTypes) != 2 {
		t.Errorf("network policy: %+v, %v", quarantine, err)
	}
	pod, err := on.Kube.Pod(t.Context(), ns, r.Subject.Pod)
	if err != nil || pod.Metadata.Labels["tagwarden.dev/quarantine"] != "true" {
		t.Errorf("pod %s: labels %v, %v", r.Subject.Pod, pod.Metadata.Labels, err)
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	if err := on.Kube.Get(t.Context(), "/apis/apps/v1/namespaces/"+ns+"/deployments/api", &deployment); err != nil {
		t.Fatal(err)
	}
	baseline := ""
	for _, e := range r.Evidence {
		if e.Name == "baseline" {
			baseline, _, _ = strings.Cut(e.Value, ",")
		}
	}
	if got := deployment.Spec.Template.Spec.Containers[0].Image; baseline == "" || !strings.HasSuffix(got, ":latest@"+baseline) {
		t.Errorf("the deployment has %s, want it pinned to %s", got, baseline)
	}
}

func report(t *testing.T, story string, r play.Result) {
	t.Helper()
	t.Logf("%s\n%s", story, r.Table)
	for _, p := range r.Problems {
		t.Error(p)
	}
}

// startLab brings up a lab for the time of the test, and builds Tagwarden. It
// skips the test where no real node can run, and says why.
func startLab(t *testing.T) (on *scenario.Stage, tagwarden string) {
	t.Helper()
	switch names, _ := cluster.MissingTools(); {
	case testing.Short():
		t.Skip("-short: bringing up a cluster takes seconds at best, minutes at first")
	case runtime.GOOS != "linux":
		t.Skip("a real node needs Linux")
	case os.Geteuid() != 0:
		t.Skip("a real node needs root")
	case len(names) > 0:
		t.Skipf("a real node needs %s", strings.Join(names, ", "))
	}
	ctx := t.Context()
	d := newDriver(t)
	tagwarden, err := play.Tagwarden(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "twlab-") //nolint:usetesting // the other name is too long for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, dir)
		}
		if _, err := d.Down(context.WithoutCancel(ctx), dir); err != nil {
			t.Error(err)
		}
	})
	s, err := d.Up(ctx, dir, cluster.Real)
	if err != nil {
		t.Fatal(err)
	}
	if on, err = scenario.NewStage(d, s, t.Output()); err != nil {
		t.Fatal(err)
	}
	return on, tagwarden
}

// startWatch runs watchers until the test ends.
func startWatch(t *testing.T, s *cluster.State, p watch.Program) *watch.Watchers {
	t.Helper()
	w, err := watch.Start(t.Context(), s, p)
	if w != nil {
		t.Cleanup(func() {
			for name, said := range w.Stop(t.Context()) {
				t.Logf("tagwarden (%s) said:\n%s", name, said)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// newDriver builds the lab's own binary, which plays some of the parts.
func newDriver(t *testing.T) cluster.Driver {
	t.Helper()
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(t.TempDir(), "lab")
	if err := gobuild.Quick(t.Context(), source, "./cmd/lab", self); err != nil {
		t.Fatal(err)
	}
	bin := gobuild.Bin(source)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	return cluster.Driver{Source: source, Bin: bin, Self: self, Out: progress.New(os.Stderr)}
}

// showLogs prints the end of every part's log: the folder is removed.
func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	for _, file := range logs {
		data, _ := os.ReadFile(file)
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		t.Logf("the end of %s:\n%s", filepath.Base(file), strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
}
