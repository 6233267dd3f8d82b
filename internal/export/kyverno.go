package export

import "github.com/tagwarden/tagwarden/internal/policy"

// kyverno writes ClusterPolicies (kyverno.io/v1) whose rules are CEL, which
// Kyverno has since 1.11, and ValidatingPolicies (policies.kyverno.io/v1, since
// 1.17). Both say the same: apply one of the files.
func kyverno(m *model) (Output, error) {
	common := m.admissionNotes()
	notesOld := common
	if len(m.exceptions) > 0 {
		notesOld = append([]string{
			"the time is that of the last change of an object: in background scans an exception holds for what was there before its end, and in manifests outside of a cluster no exception holds",
		}, common...)
	}
	var clusterPolicies, validatingPolicies []object
	for _, effect := range levels {
		if !m.used(effect) {
			continue
		}
		clusterPolicies = append(clusterPolicies, m.clusterPolicy(effect))
		validatingPolicies = append(validatingPolicies, m.validatingPolicy(effect))
	}
	first, err := document(comment("Kyverno ClusterPolicies (kyverno.io/v1, Kyverno 1.11 and later). The ValidatingPolicies beside this file say the same: apply one of the two.", notesOld), clusterPolicies...)
	if err != nil {
		return Output{}, err
	}
	second, err := document(comment("Kyverno ValidatingPolicies (policies.kyverno.io/v1, Kyverno 1.17 and later).", common), validatingPolicies...)
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"kyverno-clusterpolicy.yaml", first}, {"kyverno-validatingpolicy.yaml", second}}, Notes: notesOld, Choice: true}, nil
}

const policyTitle = "Mutable image tags"

func (m *model) kyvernoMetadata(effect policy.Effect) object {
	return append(metadata(policyName(effect)), entry{"annotations", object{
		{"policies.kyverno.io/title", policyTitle},
		{"policies.kyverno.io/category", "Supply Chain Security"},
		{"policies.kyverno.io/description", "What tagwarden.yaml makes of image references: " + effect.String() + "."},
	}})
}

func (m *model) clusterPolicy(effect policy.Effect) object {
	var kinds []string
	for _, r := range podResources {
		for _, k := range r.kinds {
			group := r.version
			if r.group != "" {
				group = r.group + "/" + r.version
			}
			kinds = append(kinds, group+"/"+k)
			if k == "Pod" {
				kinds = append(kinds, group+"/Pod.ephemeralcontainers")
			}
		}
	}
	meta := m.kyvernoMetadata(effect)
	annotations, _ := meta[2].value.(object)
	// The rule names every kind itself.
	meta[2].value = append(object{{"pod-policies.kyverno.io/autogen-controllers", "none"}}, annotations...)
	action := "Audit"
	if effect == policy.Deny {
		action = "Enforce"
	}
	return object{
		{"apiVersion", "kyverno.io/v1"},
		{"kind", "ClusterPolicy"},
		{"metadata", meta},
		{"spec", object{
			{"background", true},
			{"emitWarning", effect == policy.Warn},
			{"failurePolicy", kyvernoFailure(effect)},
			{"rules", []any{object{
				{"name", "image-references"},
				{"match", object{{"any", []any{object{{"resources", object{
					{"kinds", kinds},
					{"operations", []string{"CREATE", "UPDATE"}},
				}}}}}}},
				{"validate", object{
					{"failureAction", action},
					{"cel", object{
						{"variables", celObjects(m.celVariables(effect, celDialect{list: literals}))},
						{"expressions", celValidations()},
					}},
				}},
			}}},
		}},
	}
}

func kyvernoFailure(effect policy.Effect) string {
	if effect == policy.Deny {
		return "Fail"
	}
	return "Ignore"
}

func (m *model) validatingPolicy(effect policy.Effect) object {
	return object{
		{"apiVersion", "policies.kyverno.io/v1"},
		{"kind", "ValidatingPolicy"},
		{"metadata", m.kyvernoMetadata(effect)},
		{"spec", object{
			{"failurePolicy", kyvernoFailure(effect)},
			{"validationActions", []string{effectWord(effect)}},
			{"matchConstraints", matchConstraints()},
			{"variables", celObjects(m.celVariables(effect, celDialect{list: literals, clock: "time.now()"}))},
			{"validations", kyvernoValidations()},
		}},
	}
}

// kyvernoValidations are without what ValidatingPolicies do not have.
func kyvernoValidations() []any {
	v, _ := celValidations()[0].(object)
	return []any{v[:len(v)-1]}
}
