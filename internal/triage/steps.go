package triage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// An Action is what a step does.
type Action string

// The actions. Each changes the cluster; none is done without being asked for.
const (
	Quarantine Action = "quarantine" // cut the pod off from the network
	Rollback   Action = "rollback"   // pin to the digest of the baseline
	Cordon     Action = "cordon"     // let nothing more start on the node
	Pin        Action = "pin"        // pin to the digest that runs
)

// A Step is what to do next.
type Step struct {
	Action Action `json:"action"`
	// What says it for people.
	What string `json:"what"`
	// Command does it: lines for a shell.
	Command string `json:"command"`
	// Image is the reference that a workload is pinned to by it.
	Image string `json:"image,omitempty"`
}

// A Target is what steps are about. What is not known is empty, and the steps
// that need it are left out.
type Target struct {
	Namespace, Pod, Node string
	// Kind and Name are those of the workload, Container that of its container.
	Kind, Name, Container string
	// Baseline and Running are references that name the digest that is expected
	// and the one that runs: nginx:1.25@sha256:….
	Baseline, Running string
}

// QuarantineLabel marks pods that a NetworkPolicy cuts off, whose name is
// QuarantineName.
const (
	QuarantineLabel = "tagwarden.dev/quarantine"
	QuarantineName  = "tagwarden-quarantine"
)

// NetworkPolicy is the manifest, as JSON on one line, that cuts off what has the
// label. It needs a network plugin that enforces policies.
func NetworkPolicy(namespace string) string {
	type object = map[string]any
	text, err := json.Marshal(object{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": object{"name": QuarantineName, "namespace": namespace},
		"spec": object{"podSelector": object{"matchLabels": object{QuarantineLabel: "true"}}, "policyTypes": []string{"Ingress", "Egress"}},
	})
	if err != nil {
		panic(err) // Strings always encode.
	}
	return string(text)
}

// plain are words that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9._/:@=-]+$`)

// word is s as one word of a shell: names from saved files can be anything.
func word(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Steps are what to do after a decision, the most pressing first.
func Steps(d Decision, t Target) []Step {
	setImage := func(ref string) string {
		if t.Kind == "" || t.Name == "" || t.Container == "" || ref == "" {
			return ""
		}
		return fmt.Sprintf("kubectl -n %s set image %s %s", word(t.Namespace), word(strings.ToLower(t.Kind)+"/"+t.Name), word(t.Container+"="+ref))
	}
	var all []Step
	add := func(a Action, what, command, image string) {
		if command != "" {
			all = append(all, Step{a, what, command, image})
		}
	}
	switch d.Verdict {
	case Escalate:
		if t.Pod != "" {
			add(Quarantine, "cut the pod off from the network (needs a network plugin that enforces policies)",
				fmt.Sprintf("kubectl -n %s label pod %s %s=true --overwrite\necho %s | kubectl apply -f -",
					word(t.Namespace), word(t.Pod), QuarantineLabel, word(NetworkPolicy(t.Namespace))), "")
		}
		add(Rollback, "go back to the digest of the baseline", setImage(t.Baseline), t.Baseline)
		if t.Node != "" {
			add(Cordon, "let nothing more start on the node", "kubectl cordon "+word(t.Node), "")
		}
	case Hygiene:
		add(Pin, "pin to the digest that runs", setImage(t.Running), t.Running)
	case Undecided, Expected:
	}
	return all
}
