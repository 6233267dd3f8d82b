package policy

import (
	"fmt"

	"github.com/tagwarden/tagwarden/internal/finding"
)

// A Schema is a JSON schema in the part of the language that JSON schema
// 2020-12 and the structural schemas of CustomResourceDefinitions
// (apiextensions.k8s.io/v1) have in common, apart from AdditionalProperties.
type Schema struct {
	Schema      string             `json:"$schema,omitempty"`
	ID          string             `json:"$id,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   int                `json:"minLength,omitempty"`
	MaxLength   int                `json:"maxLength,omitempty"`
	Minimum     int                `json:"minimum,omitempty"`
	Maximum     int                `json:"maximum,omitempty"`
	MaxItems    int                `json:"maxItems,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	// AdditionalProperties is false in a JSON schema, so that an editor shows a
	// misspelt key, and absent in a structural one, which prunes by itself.
	AdditionalProperties *bool `json:"additionalProperties,omitempty"`
}

// Bounds of the schema, so that the API server keeps objects small. The file is
// bounded by its size alone.
const (
	maxListItems = 1000
	maxText      = 1000
)

// JSONSchema returns the schema of the file tagwarden.yaml.
func JSONSchema() *Schema {
	s := policySchema(false)
	s.Properties["apiVersion"] = &Schema{Type: "string", Enum: []string{apiVersion}, Description: "The version of the format."}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = "https://tagwarden.dev/schema/tagwarden.yaml.json"
	s.Title = "The policy of Tagwarden"
	return strict(s)
}

// SpecSchema returns the structural schema of the spec of a TagwardenPolicy.
func SpecSchema() *Schema { return policySchema(true) }

// ExceptionSchema returns the structural schema of the spec of a
// TagwardenException.
func ExceptionSchema() *Schema {
	s := exceptionSchema()
	delete(s.Properties, "namespace")
	s.Description = "Who accepts which finding in the namespace of the object, and until when."
	return s
}

// strict closes the objects of s, and lifts the bounds that only an API server
// needs.
func strict(s *Schema) *Schema {
	s.MaxItems, s.MaxLength = 0, 0
	if s.Properties != nil {
		closed := false
		s.AdditionalProperties = &closed
	}
	for _, p := range s.Properties {
		strict(p)
	}
	if s.Items != nil {
		strict(s.Items)
	}
	return s
}

func textSchema(description string) *Schema {
	return &Schema{Type: "string", MinLength: 1, MaxLength: maxText, Description: description}
}

func wordSchema(description string, words ...string) *Schema {
	return &Schema{Type: "string", Enum: words, Description: description}
}

func listSchema(description string, item *Schema) *Schema {
	return &Schema{Type: "array", MaxItems: maxListItems, Items: item, Description: description}
}

func objectSchema(description string, properties map[string]*Schema, required ...string) *Schema {
	return &Schema{Type: "object", Description: description, Properties: properties, Required: required}
}

// quoted is said of words that YAML 1.1, as kubectl reads it, takes for
// something else.
func quoted(object bool) string {
	if object {
		return ` Write "off" in quotes: kubectl reads it as false otherwise.`
	}
	return ""
}

// policySchema returns the schema of a policy; object says whether it is the
// spec of an object in a cluster.
func policySchema(object bool) *Schema {
	namespace := textSchema("The name of a namespace, or a pattern: * stands for any characters, ? for one.")
	selector := textSchema("A label selector, as kubectl -l takes it: environment=production.")
	images := textSchema("A repository, or a pattern: * stays between two slashes, ** crosses them.")
	return objectSchema("What each finding does where, and who accepts which until when. What is left out keeps its default; a list takes the place of the default list.", map[string]*Schema{
		"namespaces": objectSchema("Which namespaces are production, and which are for development. Production comes first where both match.", map[string]*Schema{
			"production":        listSchema("Names of production namespaces, or patterns.", namespace),
			"productionLabels":  listSchema("Selectors over the labels of production namespaces. One that matches is enough.", selector),
			"development":       listSchema("Names of development namespaces, or patterns.", namespace),
			"developmentLabels": listSchema("Selectors over the labels of development namespaces.", selector),
		}),
		"findings": findingsSchema(object),
		"classes": listSchema("What the tags of some images mean, where their names do not tell. The first that matches counts.", objectSchema("", map[string]*Schema{
			"image": images,
			"tag":   textSchema("A tag, or a pattern: * stands for any characters, ? for one."),
			"class": wordSchema("fixed for tags that stay, floating for tags that move.", classWords...),
		}, "image", "tag", "class")),
		"allowedRegistries":    listSchema("Registries and repositories that images may come from (TW-12). None means that all may.", textSchema("A registry (ghcr.io), or a pattern over repositories (ghcr.io/acme/**).")),
		"debugImages":          listSchema("Images that are only there to look around: no pattern, no tag.", textSchema("A repository: busybox, ghcr.io/acme/toolbox.")),
		"infrastructureImages": listSchema("Images that belong to the platform. Their mutable tags and missing digests are warned about at most.", images),
		"ephemeralContainers":  wordSchema("Whether the mutable tags and missing digests of debug containers are ignored, or alerted like all others.", ephemeralWords...),
		"signers": listSchema("Whose signatures are trusted. Each has publicKey, or issuer and identity or identityRegexp.", objectSchema("", map[string]*Schema{
			"name":           textSchema("What people call the signer."),
			"images":         listSchema("The images that it signs.", images),
			"publicKey":      {Type: "string", MaxLength: 10_000, Description: "The PEM text of a public key, as cosign.pub has it."},
			"issuer":         textSchema("The OIDC issuer of keyless signatures."),
			"identity":       textSchema("The subject of the certificates: an address or a workflow."),
			"identityRegexp": textSchema("A pattern that matches the whole subject, instead of identity."),
		}, "name", "images")),
		"admission": objectSchema("How requests to the API server are answered.", map[string]*Schema{
			"pin":         wordSchema("Which objects have their tags pinned to digests: pods alone, the templates of controllers too, or none."+quoted(object), pinWords...),
			"unresolved":  wordSchema("What becomes of an image whose digest the registry does not tell: let in as it is, with a warning, or denied in production.", unresolvedWords...),
			"controllers": wordSchema("What becomes of pods that Kubernetes' own controllers make from templates that are there already, where they would be denied: a warning, so that they come back when a node fails, or a denial.", controllersWords...),
		}),
		"maxExceptionDays": {Type: "integer", Minimum: 1, Maximum: mostDays, Description: "How many days ahead an exception may end. A year, if left out."},
		"exceptions":       listSchema("Who accepts which finding where, and until when. Each names a finding or a rule, and at least one of namespace, workload, image and containerKind.", exceptionSchema()),
		"knownPushers": listSchema("Who is expected to push which images. Of an image that no item covers, nobody is unknown.", objectSchema("", map[string]*Schema{
			"image": images,
			"names": listSchema("Accounts as the registry names them, or patterns: * stands for any characters but a slash, ? for one.", textSchema("An account.")),
		}, "image", "names")),
	})
}

func findingsSchema(object bool) *Schema {
	byID := map[string]*Schema{}
	for _, id := range finding.IDs() {
		words := effectNames
		if !Admitted(id) {
			words = effectNames[:Audit+1]
		}
		effect := func(s Scope, where string) *Schema {
			d := defaultRules()[id].effects[s]
			return wordSchema(fmt.Sprintf("What it does %s. If left out: %s.%s", where, d, quoted(object)), words...)
		}
		byID[string(id)] = objectSchema(id.Title(), map[string]*Schema{
			Production.String():  effect(Production, "in production namespaces"),
			Elsewhere.String():   effect(Elsewhere, "in namespaces that are neither"),
			Development.String(): effect(Development, "in development namespaces"),
		})
	}
	return objectSchema("What each finding does where: deny and warn when an image is asked for, audit when it runs, off nowhere.", byID)
}

func exceptionSchema() *Schema {
	ids := []string{}
	for _, id := range finding.IDs() {
		if id != finding.TW10 {
			ids = append(ids, string(id))
		}
	}
	return objectSchema("Who accepts which finding where, and until when.", map[string]*Schema{
		"finding":       wordSchema("The finding that is accepted, or else rule.", ids...),
		"rule":          textSchema("The name of a Falco rule whose alerts are accepted, or else finding."),
		"namespace":     textSchema("The name of a namespace, or a pattern."),
		"workload":      textSchema("Kind/name of the top controller, or a pattern: Deployment/api, */api."),
		"image":         textSchema("A repository, or a pattern: * stays between two slashes, ** crosses them."),
		"containerKind": wordSchema("The kind of container.", containerKinds...),
		"owner":         textSchema("Who answers for it."),
		"ticket":        textSchema("The key or the address of the issue that tracks the way out."),
		"reason":        textSchema("Why the finding is accepted."),
		"expires":       {Type: "string", Format: "date", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, Description: "The last day on which it holds, in UTC: 2027-02-23."},
	}, "owner", "ticket", "reason", "expires")
}
