// Package conformance holds the engines that a policy is written for to one
// table of what the policy means. The engines are their own code, as libraries;
// that is why this is a module of its own.
package conformance

import (
	"bufio"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/policy"
)

//go:embed testdata/policy.yaml
var policyText string

//go:embed testdata/pods.txt
var podsText string

// A Case is one line of the table.
type Case struct {
	Line      int
	Namespace string
	// Kind and Name are those of the object, Owner the workload that it belongs
	// to, as Kind/name: the object itself where nothing controls it.
	Kind, Name, Owner string
	Container         string // container, init, sidecar, ephemeral or volume
	Image             string
	// Before is the image that the object had before it was updated.
	Before  string
	Updated bool
	// User asks for it: a controller of Kubernetes where "made" is said.
	User string
	// Want is the verdict: effects and findings, sorted, "" for allow.
	Want string
}

// String is the case as the table has it.
func (c *Case) String() string {
	s := fmt.Sprintf("pods.txt:%d: %s %s/%s of %s, %s %s", c.Line, c.Namespace, c.Kind, c.Name, c.Owner, c.Container, c.Image)
	if c.Updated {
		s += ", before " + c.Before
	}
	return s
}

// Exported returns the policy of the table at the time now, and the time at
// which it is exported: when all exceptions still held, so that some end behind
// the engine's back.
func Exported(now time.Time) (*policy.Policy, time.Time, error) {
	const month = 30 * 24 * time.Hour
	exported := now.Add(-month)
	text := strings.NewReplacer(
		"LATER", now.Add(month).UTC().Format(time.DateOnly),
		"BEFORE", now.Add(-month/3).UTC().Format(time.DateOnly),
	).Replace(policyText)
	p, err := policy.Parse("policy.yaml", []byte(text), exported)
	return p, exported, err
}

var hex = strings.Repeat("0123456789abcdef", 4)

// Cases returns the table.
func Cases() ([]Case, error) {
	short := strings.NewReplacer(
		"$D0", "sha256:"+hex[:63], "$D", "sha256:"+hex, "$U", "sha256:"+strings.ToUpper(hex), "$H", hex,
	)
	var cases []Case
	lines := bufio.NewScanner(strings.NewReader(podsText))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, " | ")
		if len(cells) != 5 {
			return nil, fmt.Errorf("pods.txt:%d: %d cells, want 5", n, len(cells))
		}
		c := Case{Line: n, Namespace: cells[0], Container: cells[2], Image: short.Replace(cells[3]), Want: cells[4]}
		if c.Want == "allow" {
			c.Want = ""
		}
		what, before, updated := strings.Cut(cells[1], " updated from ")
		c.User = "anna"
		if rest, ok := strings.CutSuffix(what, " made"); ok {
			what, c.User = rest, "system:serviceaccount:kube-system:replicaset-controller"
		}
		c.Before, c.Updated = short.Replace(before), updated
		what, owner, owned := strings.Cut(what, " of ")
		c.Kind, c.Name, _ = strings.Cut(what, "/")
		switch {
		case c.Name == "":
			c.Name = fmt.Sprintf("case-%d", n)
		case updated:
			// Each stands beside the others, as it was before.
			c.Name += fmt.Sprintf("-%d", n)
		}
		c.Owner = c.Kind + "/" + c.Name
		if owned {
			c.Owner = owner
		}
		cases = append(cases, c)
	}
	return cases, lines.Err()
}

// NamespaceLabels are the labels of a namespace of the table.
func NamespaceLabels(name string) map[string]string {
	labels := map[string]string{"kubernetes.io/metadata.name": name}
	switch name {
	case "live":
		labels["environment"] = "production"
	case "nursery":
		labels["environment"] = "sandbox"
	case "nursery-kept":
		labels["environment"], labels["keep"] = "sandbox", "yes"
	}
	return labels
}

// podHash is that of the templates of the table.
const podHash = "5d8c7f9b4"

// Object returns the object of a case as the API server shows it to admission
// at the time now, and the one before it, or nil.
func (c *Case) Object(now time.Time) (object, before map[string]any) {
	if !c.Updated {
		return c.object(c.Image, now, now), nil
	}
	const year = 365 * 24 * time.Hour
	made := now.Add(-year)
	return c.object(c.Image, made, now), c.object(c.Before, made, made)
}

func (c *Case) object(image string, created, changed time.Time) map[string]any {
	meta := map[string]any{
		"name": c.Name, "namespace": c.Namespace, "creationTimestamp": created.UTC().Format(time.RFC3339),
		"managedFields": []any{map[string]any{
			"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
			"fieldsV1": map[string]any{}, "time": changed.UTC().Format(time.RFC3339),
		}},
	}
	labels := map[string]any{"app": "web"}
	kind, name, _ := strings.Cut(c.Owner, "/")
	if c.Owner != c.Kind+"/"+c.Name {
		api := "apps/v1"
		switch kind {
		case "Deployment", "Rollout":
			label := "pod-template-hash"
			if kind == "Rollout" {
				label = "rollouts-pod-template-hash"
			}
			labels[label] = podHash
			if c.Kind == "Pod" {
				kind, name = "ReplicaSet", name+"-"+podHash
			} else {
				meta["name"] = name + "-" + podHash
			}
		case "CronJob", "Job":
			api = "batch/v1"
			if kind == "CronJob" && c.Kind == "Pod" {
				kind, name = "Job", name+"-29012345"
			}
		}
		meta["ownerReferences"] = []any{map[string]any{
			"apiVersion": api, "kind": kind, "name": name, "uid": "5a0c6c7e-0000-4000-8000-000000000000", "controller": true,
		}}
	}
	meta["labels"] = labels
	template := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "web"}}, "spec": c.spec(image)}
	selector := map[string]any{"matchLabels": map[string]any{"app": "web"}}
	object := map[string]any{"apiVersion": "apps/v1", "kind": c.Kind, "metadata": meta}
	switch c.Kind {
	case "Pod":
		object["apiVersion"], object["spec"] = "v1", c.spec(image)
	case "PodTemplate":
		object["apiVersion"], object["template"] = "v1", template
	case "ReplicationController":
		object["apiVersion"], object["spec"] = "v1", map[string]any{"selector": map[string]any{"app": "web"}, "template": template}
	case "Job":
		object["apiVersion"], object["spec"] = "batch/v1", map[string]any{"template": template}
	case "CronJob":
		object["apiVersion"] = "batch/v1"
		object["spec"] = map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	case "StatefulSet":
		object["spec"] = map[string]any{"selector": selector, "serviceName": "web", "template": template}
	default:
		object["spec"] = map[string]any{"selector": selector, "template": template}
	}
	if spec, ok := object["spec"].(map[string]any); ok {
		// So that nothing runs where the object is made.
		switch c.Kind {
		case "ReplicaSet", "ReplicationController", "Deployment", "StatefulSet":
			spec["replicas"] = 0
		case "CronJob":
			spec["suspend"] = true
		case "Pod":
			spec["schedulerName"] = "nobody"
		}
	}
	return object
}

// spec is a pod's, in which all other containers are as the policy wants them.
func (c *Case) spec(image string) map[string]any {
	good := map[string]any{"name": "good", "image": "ghcr.io/acme/good@sha256:" + hex}
	spec := map[string]any{"containers": []any{good}}
	if c.Kind == "Job" || c.Kind == "CronJob" {
		spec["restartPolicy"] = "Never"
	}
	one := map[string]any{"name": "c", "image": image}
	switch c.Container {
	case "container":
		spec["containers"] = []any{good, one}
	case "init":
		spec["initContainers"] = []any{one}
	case "sidecar":
		one["restartPolicy"] = "Always"
		spec["initContainers"] = []any{one}
	case "ephemeral":
		spec["ephemeralContainers"] = []any{one}
	case "volume":
		spec["volumes"] = []any{map[string]any{"name": "c", "image": map[string]any{"reference": image}}}
	}
	return spec
}
