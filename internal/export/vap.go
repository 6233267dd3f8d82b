package export

import (
	"strings"

	"github.com/tagwarden/tagwarden/internal/policy"
)

// The kinds that have a pod's spec, as rules of admission name them.
var podResources = []struct {
	group     string
	version   string
	resources []string
	kinds     []string
}{
	{"", "v1", []string{"pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"}, []string{"Pod", "ReplicationController", "PodTemplate"}},
	{"apps", "v1", []string{"deployments", "replicasets", "statefulsets", "daemonsets"}, []string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"}},
	{"batch", "v1", []string{"jobs", "cronjobs"}, []string{"Job", "CronJob"}},
}

// matchConstraints are those of ValidatingAdmissionPolicies, and of Kyverno's
// ValidatingPolicies, which have the same.
func matchConstraints() object {
	var rules []any
	for _, r := range podResources {
		rules = append(rules, object{
			{"apiGroups", []string{r.group}},
			{"apiVersions", []string{r.version}},
			{"operations", []string{"CREATE", "UPDATE"}},
			{"resources", r.resources},
		})
	}
	return object{{"resourceRules", rules}}
}

const (
	// paramName and paramNamespace are those of the ConfigMap with the lists.
	paramName      = "tagwarden-policy"
	paramNamespace = "tagwarden"
)

func metadata(name string) object {
	return object{{"name", name}, {"labels", object{{"app.kubernetes.io/managed-by", "tagwarden-export"}}}}
}

func policyName(effect policy.Effect) string { return "tagwarden-" + effect.String() }

// vap writes ValidatingAdmissionPolicies (admissionregistration.k8s.io/v1, in
// Kubernetes since 1.30), one for each effect, since an effect belongs to a
// binding. Their lists are in a ConfigMap.
func vap(m *model) (Output, error) {
	notes := append([]string{
		"lists are regular expressions in the ConfigMap tagwarden/tagwarden-policy; without it nothing is denied, so guard it as you guard the policies",
		"kube-system is never denied anything, so that a wrong list cannot stop the cluster",
		"an object that costs more than CEL's budget, which is more than a hundred containers with the longest names, is refused where images are denied, and passes elsewhere",
	}, m.admissionNotes()...)
	if m.policy.UsesLabels() {
		notes = append(notes, "the labels of a namespace count as they are when an object is admitted")
	}
	d := celDialect{list: func(name, _ string) string { return "params.data." + name }}
	data := object{
		{"debugImages", m.debug},
		{"developmentNamespaces", m.development},
		{"infrastructureImages", m.infrastructure},
		{"productionNamespaces", m.production},
	}
	if m.allowed != "" {
		data = append(object{{"allowedRegistries", m.allowed}}, data...)
	}
	labels := metadata("")[1:]
	objects := []object{
		{{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", metadata(paramNamespace)}},
		{
			{"apiVersion", "v1"},
			{"kind", "ConfigMap"},
			{"metadata", append(object{{"name", paramName}, {"namespace", paramNamespace}}, labels...)},
			{"data", data},
		},
	}
	for _, effect := range levels {
		if !m.used(effect) {
			continue
		}
		objects = append(objects, m.vapPolicy(effect, d), vapBinding(effect))
	}
	text, err := document(comment("ValidatingAdmissionPolicies (Kubernetes 1.30 and later). Apply the file as it is.", notes), objects...)
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"validatingadmissionpolicy.yaml", text}}, Notes: notes}, nil
}

func (m *model) vapPolicy(effect policy.Effect, d celDialect) object {
	failure := "Ignore"
	if effect == policy.Deny {
		failure = "Fail"
	}
	return object{
		{"apiVersion", "admissionregistration.k8s.io/v1"},
		{"kind", "ValidatingAdmissionPolicy"},
		{"metadata", metadata(policyName(effect))},
		{"spec", object{
			{"failurePolicy", failure},
			{"paramKind", object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}}},
			{"matchConstraints", matchConstraints()},
			{"variables", celObjects(m.celVariables(effect, d))},
			{"validations", celValidations()},
		}},
	}
}

func vapBinding(effect policy.Effect) object {
	spec := object{
		{"policyName", policyName(effect)},
		{"paramRef", object{{"name", paramName}, {"namespace", paramNamespace}, {"parameterNotFoundAction", "Allow"}}},
		{"validationActions", []string{effectWord(effect)}},
	}
	if effect == policy.Deny {
		spec = append(spec, entry{"matchResources", object{{"namespaceSelector", object{{"matchExpressions", []any{object{
			{"key", "kubernetes.io/metadata.name"},
			{"operator", "NotIn"},
			{"values", []string{"kube-system"}},
		}}}}}}})
	}
	return object{
		{"apiVersion", "admissionregistration.k8s.io/v1"},
		{"kind", "ValidatingAdmissionPolicyBinding"},
		{"metadata", metadata(policyName(effect))},
		{"spec", spec},
	}
}

// effectWord is Deny, Warn or Audit.
func effectWord(effect policy.Effect) string {
	s := effect.String()
	return strings.ToUpper(s[:1]) + s[1:]
}

func celObjects(vars []entry) []any {
	var all []any
	for _, v := range vars {
		all = append(all, object{{"name", v.key}, {"expression", v.value}})
	}
	return all
}

func celValidations() []any {
	return []any{object{
		{"expression", "size(variables.faults) == 0"},
		{"messageExpression", "variables.faults.join(' | ')"},
		{"message", "an image reference is not as the policy wants it"},
		{"reason", "Forbidden"},
	}}
}
