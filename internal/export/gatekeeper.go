package export

import (
	_ "embed"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// rego is the template's program, in Rego v0, which every Gatekeeper reads.
//
//go:embed gatekeeper.rego
var rego string

// gatekeeper writes a ConstraintTemplate (templates.gatekeeper.sh/v1) and a
// constraint for each effect, with the policy as its parameters.
func gatekeeper(m *model) (Output, error) {
	notes := append([]string{
		"the constraints are of a kind that the template makes: apply the template first and wait a moment",
		"audit is Gatekeeper's dryrun: the audit counts what runs already, too",
		"ephemeral containers are seen where Gatekeeper's webhook is asked about pods/ephemeralcontainers",
	}, m.admissionNotes()...)
	if m.policy.UsesLabels() {
		notes = append(notes, "labels of namespaces are known from Gatekeeper's cache, for which there is a SyncSet beside the template; without it no label selects")
	}
	objects := []object{m.template()}
	if m.policy.UsesLabels() {
		objects = append(objects, object{
			{"apiVersion", "syncset.gatekeeper.sh/v1alpha1"},
			{"kind", "SyncSet"},
			{"metadata", metadata("tagwarden")},
			{"spec", object{{"gvks", []any{object{{"group", ""}, {"version", "v1"}, {"kind", "Namespace"}}}}}},
		})
	}
	first, err := document(comment("Gatekeeper ConstraintTemplate (templates.gatekeeper.sh/v1).", notes), objects...)
	if err != nil {
		return Output{}, err
	}
	var constraints []object
	for _, effect := range levels {
		if m.used(effect) {
			constraints = append(constraints, m.constraint(effect))
		}
	}
	second, err := document(comment("Gatekeeper constraints, of the kind that gatekeeper-template.yaml makes.", notes), constraints...)
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"gatekeeper-template.yaml", first}, {"gatekeeper-constraints.yaml", second}}, Notes: notes}, nil
}

const constraintKind = "TagwardenImageReferences"

func (m *model) template() object {
	text := object{{"type", "string"}}
	texts := object{{"type", "array"}, {"items", text}}
	open := object{{"type", "object"}, {"x-kubernetes-preserve-unknown-fields", true}}
	opens := object{{"type", "array"}, {"items", open}}
	return object{
		{"apiVersion", "templates.gatekeeper.sh/v1"},
		{"kind", "ConstraintTemplate"},
		{"metadata", append(metadata("tagwardenimagereferences"), entry{"annotations", object{
			{"metadata.gatekeeper.sh/title", policyTitle},
			{"metadata.gatekeeper.sh/version", "1.0.0"},
			{"description", "What tagwarden.yaml makes of image references."},
		}})},
		{"spec", object{
			{"crd", object{{"spec", object{
				{"names", object{{"kind", constraintKind}}},
				{"validation", object{{"openAPIV3Schema", object{
					{"type", "object"},
					{"properties", object{
						{"productionNamespaces", text},
						{"developmentNamespaces", text},
						{"productionLabels", object{{"type", "array"}, {"items", opens}}},
						{"developmentLabels", object{{"type", "array"}, {"items", opens}}},
						{"debugImages", text},
						{"infrastructureImages", text},
						{"allowedRegistries", text},
						{"ephemeralContainers", text},
						{"spared", texts},
						{"classes", opens},
						{"exceptions", opens},
						{"effects", object{{"type", "object"}, {"additionalProperties", object{
							{"type", "object"},
							{"properties", object{
								{"scopes", texts},
								{"infrastructureScopes", texts},
								{"notInfrastructure", object{{"type", "boolean"}}},
								{"hygiene", object{{"type", "boolean"}}},
							}},
						}}}},
						{"messages", object{{"type", "object"}, {"additionalProperties", text}}},
						{"syntax", object{{"type", "object"}, {"additionalProperties", text}}},
					}},
				}}}},
			}}}},
			{"targets", []any{object{
				{"target", "admission.k8s.gatekeeper.sh"},
				{"rego", rego},
			}}},
		}},
	}
}

func (m *model) constraint(effect policy.Effect) object {
	action := effect.String()
	if effect == policy.Audit {
		action = "dryrun"
	}
	var kinds []any
	for _, r := range podResources {
		kinds = append(kinds, object{{"apiGroups", []string{r.group}}, {"kinds", r.kinds}})
	}
	return object{
		{"apiVersion", "constraints.gatekeeper.sh/v1beta1"},
		{"kind", constraintKind},
		{"metadata", metadata(policyName(effect))},
		{"spec", object{
			{"enforcementAction", action},
			{"match", object{{"kinds", kinds}}},
			{"parameters", m.parameters(effect)},
		}},
	}
}

func (m *model) parameters(effect policy.Effect) object {
	t := m.tag
	o := object{
		{"productionNamespaces", m.production},
		{"developmentNamespaces", m.development},
	}
	if len(m.productionLabels) > 0 {
		o = append(o, entry{"productionLabels", regoSelectors(m.productionLabels)})
	}
	if len(m.developmentLabels) > 0 {
		o = append(o, entry{"developmentLabels", regoSelectors(m.developmentLabels)})
	}
	o = append(o, entry{"debugImages", m.debug}, entry{"infrastructureImages", m.infrastructure})
	if m.allowed != "" {
		o = append(o, entry{"allowedRegistries", m.allowed})
	}
	ephemeral := "ignore"
	if m.policy.AlertEphemeral() {
		ephemeral = "alert"
	}
	o = append(o, entry{"ephemeralContainers", ephemeral})
	if m.sparesMade(effect) {
		o = append(o, entry{"spared", controllers})
	}
	if len(m.classes) > 0 {
		var classes []any
		for _, c := range m.classes {
			classes = append(classes, object{{"image", c.image}, {"tag", c.tag}, {"class", c.class.String()}})
		}
		o = append(o, entry{"classes", classes})
	}
	var effects, says object
	for _, id := range judged {
		all, platform, notPlatform := m.at(id, effect)
		if len(all)+len(platform) == 0 {
			continue
		}
		var e object
		if len(all) > 0 {
			e = append(e, entry{"scopes", all})
		}
		if len(platform) > 0 {
			e = append(e, entry{"infrastructureScopes", platform})
		}
		if notPlatform {
			e = append(e, entry{"notInfrastructure", true})
		}
		if hygiene(id) {
			e = append(e, entry{"hygiene", true})
		}
		effects = append(effects, entry{string(id), e})
		says = append(says, entry{string(id), messages[id].what + "; " + messages[id].fix})
	}
	o = append(o, entry{"effects", effects})
	if exceptions := m.regoExceptions(effects); len(exceptions) > 0 {
		o = append(o, entry{"exceptions", exceptions})
	}
	return append(o, entry{"messages", says}, entry{"syntax", object{
		{"reference", t.Reference},
		{"id", t.ID},
		{"name", t.Name},
		{"registry", t.Registry},
		{"latest", t.Latest},
		{"version", t.Version},
		{"moves", t.Moves},
		{"unique", t.Unique},
		{"longWord", t.LongWord},
		{"mixed", t.Mixed},
		{"number", t.Number},
		{"issue", t.Issue},
		{"build", t.Build},
	}})
}

func (m *model) regoExceptions(effects object) []any {
	has := map[finding.ID]bool{}
	for _, e := range effects {
		has[finding.ID(e.key)] = true
	}
	var all []any
	for _, e := range m.exceptions {
		if !has[e.Finding] {
			continue
		}
		o := object{{"finding", string(e.Finding)}, {"until", e.end().Format(time.RFC3339)}}
		for _, part := range []entry{{"namespace", e.namespace}, {"workload", e.workload}, {"image", e.image}} {
			if part.value != "" {
				o = append(o, part)
			}
		}
		if kind := e.ContainerKind(); kind != "" {
			o = append(o, entry{"containerKind", "^" + kind + "$"})
		}
		all = append(all, append(o, entry{"owner", e.Owner}, entry{"ticket", e.Ticket}))
	}
	return all
}

func regoSelectors(all []selector) []any {
	var lists []any
	for _, s := range all {
		var list []any
		for _, r := range s.requirements() {
			o := object{{"key", r.key}}
			if r.values != nil {
				o = append(o, entry{"values", r.values})
			}
			if r.than != "" {
				o = append(o, entry{"than", r.than})
			}
			if r.not {
				o = append(o, entry{"except", true})
			}
			list = append(list, o)
		}
		lists = append(lists, list)
	}
	return lists
}
