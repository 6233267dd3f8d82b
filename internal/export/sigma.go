package export

import (
	"strings"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// sigma writes Sigma rules (specification 2.0,
// https://github.com/SigmaHQ/sigma-specification) over the audit log of
// Kubernetes, where the level of the audit policy is Request or more.
//
// An event has a list of images, and a rule matches if one of them does: so
// every expression says what is wrong by itself, and nothing says what is not.
func sigma(m *model) (Output, error) {
	notes := append([]string{
		"the audit log must have the requests (level Request or RequestResponse) of pods and of what has a pod's template",
		"how a list of containers is searched depends on the converter: fields of lists must be flattened",
		"of the floating tags only partial versions and common words are seen, since one expression must say it all",
		"debug images and images of the platform are not left out, since they may stand beside others in one event",
		"production is told by the names of namespaces alone, not by their labels",
		"what was there before an update is reported again, since the log does not have it",
		"server-side applied and patched objects have only what changed in the request, and controllers' pods are reported beside their workload",
	}, m.notes()...)
	if len(m.exceptions) > 0 {
		notes = append(notes, "exceptions are not left out of the rules: write them as filters of your SIEM, as the runbook lists them")
	}
	var files []object
	if r := m.sigmaRule(finding.F01, "7c1f4f0e-5a43-4f0c-9a39-6a1d0b0f0a01", "Kubernetes Workload With Mutable Image Tag", "medium",
		"A workload asks for an image without a tag, with latest, or with a tag that moves. Whoever can write to the registry decides what its next start runs.",
		policy.Audit, mutableImages()); r != nil {
		files = append(files, r)
	}
	if r := m.sigmaRule(finding.TW02, "7c1f4f0e-5a43-4f0c-9a39-6a1d0b0f0a02", "Kubernetes Workload Without Image Digest", "low",
		"A workload asks for an image that is not pinned to a digest, where the policy wants it.",
		policy.Warn, []string{`^[^@]+$`}); r != nil {
		files = append(files, r)
	}
	if r := m.sigmaRule(finding.TW09, "7c1f4f0e-5a43-4f0c-9a39-6a1d0b0f0a03", "Kubernetes Workload With Invalid Image Reference", "low",
		"A workload asks for an image by a name that no runtime can pull, such as a digest that is too short.",
		policy.Audit, []string{
			`^[^/]*[A-Z][^/]*$`, `:(@.*)?$`, `@(sha256:([0-9a-f]{0,63}|[0-9a-f]{65,}))?$`, `@sha256:.*[^0-9a-f]`,
			`@(md5|sha1|SHA256):`, `[{}$ ]`, `^[a-z]+://`,
		}); r != nil {
		files = append(files, r)
	}
	if len(files) == 0 {
		return Output{Notes: append(notes, "the policy turns off all that a Sigma rule could find, so there is none")}, nil
	}
	text, err := document(comment("Sigma rules over the audit log of Kubernetes.", notes), files...)
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"sigma.yml", text}}, Notes: notes}, nil
}

// mutableImages are expressions of whole references.
func mutableImages() []string {
	const name = `^([^/@]+/)*[^/:@]+`
	words := strings.Join(stockMoving, "|")
	return []string{name + `$`, name + `:(latest|LATEST|` + words + `)$`, name + `:v?[0-9]{1,4}(\.[0-9]{1,4})?$`}
}

func (m *model) sigmaRule(id finding.ID, uuid, title, level, description string, least policy.Effect, images []string) object {
	var in []string // scopes in which it is reported
	for _, s := range scopes {
		if m.policy.Effect(id, s) >= least {
			in = append(in, s.String())
		}
	}
	if len(in) == 0 {
		return nil
	}
	tags := []string{"attack.persistence"}
	if t, ok := id.Technique(); ok {
		tags = append(tags, "attack."+strings.ToLower(t.ID))
	}
	detection := object{{"selection", object{
		{"verb", []string{"create", "update", "patch"}},
		{"objectRef.resource", []string{
			"pods", "replicationcontrollers", "podtemplates", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs",
		}},
	}}}
	condition := "selection and 1 of image_*"
	names := []entry{
		{"image_pod", "requestObject.spec."},
		{"image_template", "requestObject.spec.template.spec."},
		{"image_cronjob", "requestObject.spec.jobTemplate.spec.template.spec."},
		{"image_podtemplate", "requestObject.template.spec."},
	}
	fields := []string{"containers", "initContainers"}
	if m.policy.AlertEphemeral() || !hygiene(id) {
		fields = append(fields, "ephemeralContainers")
	}
	for _, n := range names {
		path, _ := n.value.(string)
		var places []any
		for _, f := range fields {
			places = append(places, object{{path + f + ".image|re", images}})
		}
		places = append(places, object{{path + "volumes.image.reference|re", images}})
		detection = append(detection, entry{n.key, places})
	}
	condition += m.sigmaScopes(&detection, in)
	return object{
		{"title", title},
		{"id", uuid},
		{"status", "experimental"},
		{"description", description},
		{"references", []string{"https://attack.mitre.org/techniques/T1525/"}},
		{"author", "Tagwarden"},
		{"date", "2026-11-26"},
		{"tags", tags},
		{"logsource", object{{"product", "kubernetes"}, {"service", "audit"}}},
		{"detection", append(detection, entry{"condition", condition})},
		{"fields", []string{"user.username", "objectRef.namespace", "objectRef.resource", "objectRef.name"}},
		{"falsepositives", []string{
			"kubectl debug, and images that are made for debugging",
			"Namespaces for development that the policy does not name",
			"Images of the platform, which are pinned in its baseline",
		}},
		{"level", level},
	}
}

// sigmaScopes adds the namespaces in which a rule reports.
func (m *model) sigmaScopes(detection *object, in []string) string {
	has := map[string]bool{}
	for _, s := range in {
		has[s] = true
	}
	const field = "objectRef.namespace|re"
	use := func(name, expression string) {
		*detection = append(*detection, entry{name, object{{field, expression}}})
	}
	production, development := policy.Production.String(), policy.Development.String()
	switch p, d, e := has[production], has[development], has[policy.Elsewhere.String()]; {
	case p && d && e:
		return ""
	case p && !d && !e:
		use(production, m.production)
		return " and " + production
	}
	use(production, m.production)
	use(development, m.development)
	switch p, d, e := has[production], has[development], has[policy.Elsewhere.String()]; {
	case p && e:
		return " and (production or not development)"
	case p && d:
		return " and (production or development)"
	case d && e:
		return " and not production"
	case d:
		return " and development and not production"
	default:
		return " and not production and not development"
	}
}
