package policy

import "strings"

// The names of the CustomResourceDefinitions.
const (
	Group            = "tagwarden.dev"
	Version          = "v1"
	PoliciesResource = "tagwardenpolicies"
	ExceptionsPlural = "tagwardenexceptions"
)

// A Column is what kubectl get shows of an object.
type Column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	JSONPath string `json:"jsonPath"`
	Priority int    `json:"priority,omitempty"`
}

// CRDs returns the CustomResourceDefinitions (apiextensions.k8s.io/v1) of
// TagwardenPolicy and TagwardenException, ready to be encoded as JSON or YAML.
func CRDs() []map[string]any {
	ready := Column{Name: "Ready", Type: "string", JSONPath: `.status.conditions[?(@.type=="Ready")].status`}
	why := Column{Name: "Reason", Type: "string", JSONPath: `.status.conditions[?(@.type=="Ready")].reason`}
	age := Column{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"}
	spec := func(name, path string, priority int) Column {
		return Column{Name: name, Type: "string", JSONPath: path, Priority: priority}
	}
	return []map[string]any{
		crd(KindException, ExceptionsPlural, "Namespaced", "twexc", ExceptionSchema(), []Column{
			spec("Finding", ".spec.finding", 0), spec("Workload", ".spec.workload", 0), spec("Image", ".spec.image", 1),
			spec("Owner", ".spec.owner", 0), spec("Ticket", ".spec.ticket", 0), spec("Expires", ".spec.expires", 0), ready, why, age,
		}),
		crd(KindPolicy, PoliciesResource, "Cluster", "twpol", SpecSchema(), []Column{ready, why, age}),
	}
}

func crd(kind, plural, scope, short string, spec *Schema, columns []Column) map[string]any {
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": plural + "." + Group},
		"spec": map[string]any{
			"group": Group,
			"scope": scope,
			"names": map[string]any{
				"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind),
				"shortNames": []string{short}, "categories": []string{"tagwarden"},
			},
			"versions": []any{map[string]any{
				"name": Version, "served": true, "storage": true,
				"subresources":             map[string]any{"status": map[string]any{}},
				"additionalPrinterColumns": columns,
				"schema": map[string]any{"openAPIV3Schema": &Schema{
					Type: "object", Required: []string{"spec"},
					Properties: map[string]*Schema{
						"apiVersion": {Type: "string"}, "kind": {Type: "string"}, "metadata": {Type: "object"},
						"spec": spec, "status": statusSchema(),
					},
				}},
			}},
		},
	}
}

// statusSchema is that of the conditions that Kubernetes' objects have
// (k8s.io/apimachinery/pkg/apis/meta/v1, Condition).
func statusSchema() *Schema {
	condition := objectSchema("", map[string]*Schema{
		"type":               {Type: "string"},
		"status":             {Type: "string", Enum: []string{"True", "False", "Unknown"}},
		"reason":             {Type: "string"},
		"message":            {Type: "string"},
		"observedGeneration": {Type: "integer", Format: "int64"},
		"lastTransitionTime": {Type: "string", Format: "date-time"},
	}, "type", "status")
	return objectSchema("What Tagwarden made of the object.", map[string]*Schema{
		"observedGeneration": {Type: "integer", Format: "int64"},
		"conditions":         listSchema("", condition),
	})
}
