package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A ResourceList is what kustomize and kpt give a function
// (https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md).
type ResourceList struct {
	// Config is the data of the functionConfig.
	Config map[string]string

	results bool // it has some already
}

// A FunctionResult is what a function says of an object.
type FunctionResult struct {
	Message string
	// Severity is error, warning or info.
	Severity string
	Object   Object
	// Path is that of a field.
	Path string
}

// ParseResourceList reads what is beside the items of a ResourceList.
func ParseResourceList(data []byte) (*ResourceList, error) {
	root, err := parseYAML(bytes.TrimPrefix(readable(Kubernetes, data), bom))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not valid YAML: %w", err)
	case text(root, "kind") != "ResourceList" || !strings.HasPrefix(text(root, "apiVersion"), "config.kubernetes.io/"):
		return nil, errors.New("not a ResourceList of config.kubernetes.io")
	}
	out := &ResourceList{Config: map[string]string{}, results: value(root, "results") != nil}
	pairs(value(value(root, "functionConfig"), "data"), func(key string, v *yaml.Node) {
		if v != nil && v.Kind == yaml.ScalarNode {
			out.Config[key] = v.Value
		}
	})
	return out, nil
}

// WithResults puts results behind the text of a list. It is an error if there is
// no place for them; without results the text is as it was.
func (l *ResourceList) WithResults(data []byte, results []FunctionResult) ([]byte, error) {
	if len(results) == 0 || l.results || IsJSON(data) {
		// The list of another function is not ours, and a line of JSON has no end
		// to put them behind. Whoever calls says them elsewhere, too.
		return data, nil
	}
	type resource struct {
		APIVersion string            `json:"apiVersion,omitempty"`
		Kind       string            `json:"kind,omitempty"`
		Metadata   map[string]string `json:"metadata,omitempty"`
	}
	type result struct {
		Message     string            `json:"message"`
		Severity    string            `json:"severity"`
		ResourceRef *resource         `json:"resourceRef,omitempty"`
		Field       map[string]string `json:"field,omitempty"`
	}
	out := bytes.Clone(data)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	out = append(out, "results:\n"...)
	for _, r := range results {
		x := result{Message: r.Message, Severity: r.Severity}
		if o := r.Object; o.Kind != "" {
			x.ResourceRef = &resource{o.APIVersion, o.Kind, map[string]string{"name": o.Name}}
			if o.Namespace != "" {
				x.ResourceRef.Metadata["namespace"] = o.Namespace
			}
		}
		if r.Path != "" {
			x.Field = map[string]string{"path": r.Path}
		}
		line, err := json.Marshal(x) // Which is YAML, too.
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, "- "...), line...), '\n')
	}
	if _, err := parseYAML(bytes.TrimPrefix(out, bom)); err != nil {
		return nil, fmt.Errorf("results cannot be put behind the list: %w", err)
	}
	return out, nil
}
