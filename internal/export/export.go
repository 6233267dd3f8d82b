// Package export writes the policy for the engines that clusters run already:
// Falco, Sigma, Kyverno, Gatekeeper, the API server itself and sigstore's
// policy-controller, and for people as a runbook. What an engine cannot express
// is said in what is written for it.
package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// A File is one file to write. Its name has no folder.
type File struct {
	Name string
	Data []byte
}

// An Output is what one engine gets.
type Output struct {
	Files []File
	// Choice is set where the files say the same in several ways, so that one of
	// them is to be used, rather than all together.
	Choice bool
	// Notes say what the engine does not do as the policy says, a sentence each,
	// without a full stop. The files have them, too.
	Notes []string
}

// An Engine is something that a policy can be written for.
type Engine struct {
	Name, Summary string
	export        func(*model) (Output, error)
}

// Engines returns what a policy can be written for; the last one is all others
// together.
func Engines() []Engine {
	return []Engine{
		{"falco", "Falco rules: for Tagwarden, and for Falco itself", falcoRules},
		{"gatekeeper", "Gatekeeper: ConstraintTemplate and Constraints", gatekeeper},
		{"kyverno", "Kyverno: ClusterPolicies and ValidatingPolicies", kyverno},
		{"policy-controller", "sigstore policy-controller: ClusterImagePolicies of the trusted signers", policyController},
		{"runbook", "a runbook in Markdown", runbook},
		{"sigma", "Sigma rules over the audit log of Kubernetes", sigma},
		{"vap", "ValidatingAdmissionPolicies: nothing to install", vap},
		{"pack", "all of these: the Detection Starter Pack", pack},
	}
}

// Export writes p for an engine. Exceptions that have expired at the time now
// are left out. The same policy gives the same bytes.
func Export(engine string, p *policy.Policy, now time.Time) (Output, error) {
	all := Engines()
	i := slices.IndexFunc(all, func(e Engine) bool { return e.Name == engine })
	if i < 0 {
		var names []string
		for _, e := range all {
			names = append(names, e.Name)
		}
		return Output{}, fmt.Errorf("unknown engine %q, there are %s", engine, strings.Join(names, ", "))
	}
	m, err := newModel(p, now)
	if err != nil {
		return Output{}, err
	}
	out, err := all[i].export(m)
	if err != nil {
		return Output{}, fmt.Errorf("export %s: %w", engine, err)
	}
	return out, nil
}

// A model is the policy in the words that engines have: regular expressions.
type model struct {
	policy *policy.Policy
	now    time.Time
	tag    image.Expressions

	production, development  string
	productionLabels         []selector
	developmentLabels        []selector
	debug, infrastructure    string
	allowed                  string // "" allows all
	classes                  []classRule
	exceptions               []*exception
	ruleExceptions, outdated int
}

type classRule struct {
	image, tag string
	class      image.Class
}

// An exception is one that holds, for a finding. An empty pattern covers
// everything.
type exception struct {
	*policy.Exception
	namespace, workload, image string
}

// end is the first moment at which it holds no longer.
func (e *exception) end() time.Time { return e.Expires.AddDate(0, 0, 1).UTC() }

// judged are the findings that an engine can decide about, and levels the
// effects that it can have.
var (
	judged = []finding.ID{finding.F01, finding.TW02, finding.TW09, finding.TW12}
	levels = []policy.Effect{policy.Deny, policy.Warn, policy.Audit}
	scopes = []policy.Scope{policy.Production, policy.Elsewhere, policy.Development}
)

func newModel(p *policy.Policy, now time.Time) (*model, error) {
	m := &model{
		policy: p, now: now, tag: image.MakeExpressions(),
		production:     anyOf(p.ProductionNamespaces()),
		development:    anyOf(p.DevelopmentNamespaces()),
		infrastructure: anyOf(p.InfrastructureImages()),
	}
	var debug []string
	for _, name := range p.DebugImages() {
		if ref, err := image.Parse(name); err == nil && ref.Name() == name {
			debug = append(debug, name)
		}
	}
	m.debug = anyOf(debug)
	if allowed := p.AllowedRegistries(); len(allowed) > 0 {
		m.allowed = anyOf(allowed)
	}
	var err error
	if m.productionLabels, err = selectors(p.ProductionLabels()); err != nil {
		return nil, err
	}
	if m.developmentLabels, err = selectors(p.DevelopmentLabels()); err != nil {
		return nil, err
	}
	for _, c := range p.Classes() {
		m.classes = append(m.classes, classRule{anyOf([]string{c.Image}), anyOf([]string{c.Tag}), c.Class})
	}
	for _, e := range p.Exceptions() {
		switch {
		case e.Expired(now):
			m.outdated++
		case e.Finding == "":
			m.ruleExceptions++
		case slices.Contains(judged, e.Finding):
			one := &exception{Exception: e}
			for _, part := range []struct {
				to      *string
				pattern string
			}{{&one.namespace, e.Namespace()}, {&one.workload, e.Workload()}, {&one.image, e.Image()}} {
				if part.pattern != "" {
					*part.to = anyOf([]string{part.pattern})
				}
			}
			m.exceptions = append(m.exceptions, one)
		}
	}
	return m, nil
}

// controllers are the users of Kubernetes' own controllers. What they make from
// a template was decided with the template, and a pod that is denied when it
// moves to another node would be an outage: so they are not denied, unless the
// policy wants it, as in Tagwarden's own admission.
var controllers = []string{
	"system:kube-controller-manager",
	"system:serviceaccount:kube-system:cronjob-controller",
	"system:serviceaccount:kube-system:daemon-set-controller",
	"system:serviceaccount:kube-system:deployment-controller",
	"system:serviceaccount:kube-system:job-controller",
	"system:serviceaccount:kube-system:replicaset-controller",
	"system:serviceaccount:kube-system:replication-controller",
	"system:serviceaccount:kube-system:statefulset-controller",
}

// sparesMade reports whether an effect spares what controllers make.
func (m *model) sparesMade(effect policy.Effect) bool {
	return effect == policy.Deny && !m.policy.Admission().DenyMade
}

// hygiene reports whether a finding is about how an image is named, so that
// debugging and the platform are excused.
func hygiene(id finding.ID) bool { return id == finding.F01 || id == finding.TW02 }

// at returns the scopes in which the finding has the effect, and those in which
// it has it for images of the platform alone: what is denied elsewhere, is
// warned about there.
func (m *model) at(id finding.ID, effect policy.Effect) (all, platform []string, notPlatform bool) {
	if id == finding.TW12 && m.allowed == "" {
		return nil, nil, false
	}
	for _, s := range scopes {
		switch m.policy.Effect(id, s) {
		case effect:
			all = append(all, s.String())
		case policy.Deny:
			if effect == policy.Warn && hygiene(id) {
				platform = append(platform, s.String())
			}
		}
	}
	return all, platform, effect == policy.Deny && hygiene(id)
}

// scopesOf returns the scopes in which anything has the effect.
func (m *model) scopesOf(effect policy.Effect) []string {
	var in []string
	for _, s := range scopes {
		for _, id := range judged {
			all, platform, _ := m.at(id, effect)
			if slices.Contains(all, s.String()) || slices.Contains(platform, s.String()) {
				in = append(in, s.String())
				break
			}
		}
	}
	return in
}

// used reports whether anything has the effect.
func (m *model) used(effect policy.Effect) bool { return len(m.scopesOf(effect)) > 0 }

// notes are what no engine does.
func (m *model) notes() []string {
	var notes []string
	if m.ruleExceptions > 0 {
		notes = append(notes, fmt.Sprintf("%s about Falco rules, not findings, and not here", count(m.ruleExceptions, "exception is", "exceptions are")))
	}
	if m.outdated > 0 {
		notes = append(notes, fmt.Sprintf("%s left out", count(m.outdated, "exception that has expired is", "exceptions that have expired are")))
	}
	return notes
}

// admissionNotes are what no policy for admission does, before those of no
// engine.
func (m *model) admissionNotes() []string {
	notes := []string{
		"of a pod's controllers only the one that owns it is known, and the Deployment or CronJob behind it by its name: an exception for the owner " +
			"of that, such as an operator's own kind, does not hold",
		"custom resources with images, such as those of Tekton and Argo, are not looked at; the pods that they lead to are",
		"alerts on what runs already, drift and signatures (TW-03 to TW-08) are beyond admission",
	}
	if m.sparesMade(policy.Deny) && m.used(policy.Deny) {
		notes = append(notes, "what Kubernetes' own controllers make from a template is not denied, since that was decided with the template; nor is it warned about")
	}
	return append(notes, m.notes()...)
}

// expiries is the note of an engine that has no clock.
func (m *model) expiries() []string {
	if len(m.exceptions) == 0 {
		return nil
	}
	first := m.exceptions[0].Expires
	for _, e := range m.exceptions {
		if e.Expires.Before(first) {
			first = e.Expires
		}
	}
	return []string{"there is no clock: exceptions hold until this file is written again, which must be on the day after " +
		first.Format(time.DateOnly) + " at the latest"}
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
