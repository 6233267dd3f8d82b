package workload_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/workload"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func labels(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func TestResolve(t *testing.T) {
	t.Parallel()
	ref := func(kind, name string) *workload.Ref {
		versions := map[string]string{"Job": "batch/v1", "CronJob": "batch/v1", "Rollout": "argoproj.io/v1alpha1", "Workflow": "argoproj.io/v1alpha1", "Node": "v1"}
		v := versions[kind]
		if v == "" {
			v = "apps/v1"
		}
		return &workload.Ref{APIVersion: v, Kind: kind, Name: name, UID: "uid-" + name}
	}
	pod := func(owner *workload.Ref, kv ...string) *workload.Object {
		return &workload.Object{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "p", Created: noon, Controller: owner, Labels: labels(kv...)}
	}
	object := func(r, owner *workload.Ref) *workload.Object {
		return &workload.Object{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: "shop", Name: r.Name, UID: r.UID, Created: noon.Add(-time.Hour), Controller: owner}
	}
	all := map[string]*workload.Object{}
	add := func(o *workload.Object) *workload.Object { all[o.Kind+"/"+o.Name] = o; return o }
	add(object(ref("ReplicaSet", "web-5d8c"), ref("Deployment", "web")))
	d := add(object(ref("Deployment", "web"), nil))
	d.Managers = []workload.Manager{
		{Name: "helm", Time: noon.Add(-2 * time.Hour), Template: true},
		{Name: "kubectl-edit", Time: noon.Add(-time.Hour), Template: true},
		{Name: "kube-controller-manager", Time: noon.Add(-time.Hour)},
		{Name: "later", Time: noon, Template: true},
	}
	d.Annotations = labels("meta.helm.sh/release-name", "web", "kubernetes.io/change-cause", "CVE fix")
	add(object(ref("ReplicaSet", "roll-77"), ref("Rollout", "roll")))
	add(object(ref("Rollout", "roll"), nil))
	add(object(ref("ReplicaSet", "alone"), nil))
	add(object(ref("StatefulSet", "db"), nil))
	add(object(ref("DaemonSet", "agent"), nil))
	add(object(ref("ControllerRevision", "db-9f"), ref("StatefulSet", "db")))
	add(object(ref("ControllerRevision", "agent-1a"), ref("DaemonSet", "agent")))
	add(object(ref("Job", "once"), nil))
	add(object(ref("Job", "nightly-123"), ref("CronJob", "nightly")))
	add(object(ref("CronJob", "nightly"), nil))
	add(object(ref("Workflow", "flow"), nil))
	add(object(ref("Loop", "a"), ref("Loop", "b")))
	add(object(ref("Loop", "b"), ref("Loop", "a")))
	static := pod(ref("Node", "n1"))
	static.Annotations = labels("kubernetes.io/config.hash", "cafe")

	for _, tc := range []struct {
		name               string
		pod                *workload.Object
		workload, revision string
		made               time.Time
	}{
		{"Deployment", pod(ref("ReplicaSet", "web-5d8c"), "pod-template-hash", "5d8c"), "Deployment/web", "5d8c", noon.Add(-time.Hour)},
		{"Deployment whose ReplicaSet cannot be read", pod(ref("ReplicaSet", "api-77f"), "pod-template-hash", "77f"), "Deployment/api", "77f", time.Time{}},
		{"a name that only looks like it", pod(ref("ReplicaSet", "api-77f")), "ReplicaSet/api-77f", "spec", time.Time{}},
		{"Argo Rollout", pod(ref("ReplicaSet", "roll-77"), "rollouts-pod-template-hash", "77"), "Rollout/roll", "77", noon.Add(-time.Hour)},
		{"Argo Rollout that cannot be read", pod(ref("ReplicaSet", "x-y-77"), "rollouts-pod-template-hash", "77"), "Rollout/x-y", "77", time.Time{}},
		{"ReplicaSet without a Deployment", pod(ref("ReplicaSet", "alone")), "ReplicaSet/alone", "spec", time.Time{}},
		{"StatefulSet", pod(ref("StatefulSet", "db"), "controller-revision-hash", "db-9f"), "StatefulSet/db", "db-9f", noon.Add(-time.Hour)},
		{"DaemonSet", pod(ref("DaemonSet", "agent"), "controller-revision-hash", "1a"), "DaemonSet/agent", "1a", noon.Add(-time.Hour)},
		{"Job", pod(ref("Job", "once")), "Job/once", "uid-once", noon.Add(-time.Hour)},
		{"CronJob", pod(ref("Job", "nightly-123")), "CronJob/nightly", "spec", noon.Add(-time.Hour)},
		{"CronJob whose Job cannot be read", pod(ref("Job", "gone")), "Job/gone", "uid-gone", time.Time{}},
		{"any other owner", pod(ref("Workflow", "flow")), "Workflow/flow", "spec", time.Time{}},
		{"an owner of an unknown kind with a hash of its own", pod(ref("CloneSet", "c"), "controller-revision-hash", "c-1"), "CloneSet/c", "c-1", time.Time{}},
		{"bare pod", pod(nil), "Pod/p", "spec", noon},
		{"static pod", static, "Pod/p", "cafe", noon},
	} {
		w, revision, dep := workload.Resolve(tc.pod, "spec", func(_ string, r workload.Ref, _ time.Time) *workload.Object { return all[r.Kind+"/"+r.Name] })
		var made time.Time
		if dep != nil {
			made = dep.Time
		}
		if w.String() != tc.workload || revision != tc.revision || !made.Equal(tc.made) {
			t.Errorf("%s: got %s, %s, %s; want %s, %s, %s", tc.name, w, revision, made, tc.workload, tc.revision, tc.made)
		}
	}

	_, _, dep := workload.Resolve(pod(ref("ReplicaSet", "web-5d8c"), "pod-template-hash", "5d8c"), "spec",
		func(_ string, r workload.Ref, _ time.Time) *workload.Object { return all[r.Kind+"/"+r.Name] })
	want := &event.Deployment{Time: noon.Add(-time.Hour), By: "kubectl-edit", Via: "Helm release web", Cause: "CVE fix"}
	if diff := cmp.Diff(want, dep); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
	// Owners that own each other end somewhere.
	workload.Resolve(pod(ref("Loop", "a")), "spec", func(_ string, r workload.Ref, _ time.Time) *workload.Object { return all[r.Kind+"/"+r.Name] })
}
