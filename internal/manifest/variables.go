package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// expanded notes what a text with variables stands for, as far as the file says
// it. syntax matches a variable, with its name as the first group that is not
// empty; lookup gives the values that it can have. Where a variable is all of
// the text, its value is the reference, at the place of the value.
func (f *walker) expanded(v *yaml.Node, path string, in parent, syntax *regexp.Regexp, lookup func(name string) []*yaml.Node) {
	const most = 100 // More than that is no list of images.
	if f.seen == nil {
		f.seen = map[*yaml.Node]bool{} // Two can have one variable.
	}
	texts := []string{""}
	last := 0
	for _, m := range syntax.FindAllStringSubmatchIndex(v.Value, -1) {
		name := ""
		for g := 2; g < len(m) && name == ""; g += 2 {
			if m[g] >= 0 {
				name = v.Value[m[g]:m[g+1]]
			}
		}
		values := lookup(name)
		if len(values) == 0 {
			f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
			return
		}
		whole := m[0] == 0 && m[1] == len(v.Value)
		var next []string
		for _, value := range values {
			switch {
			case syntax.MatchString(value.Value):
				f.gap(v, fmt.Errorf("the reference has a variable that is made of variables: %s", clip(v.Value)))
				return
			case whole:
				f.add(value, path, in)
			default:
				for _, before := range texts {
					if len(next) < most {
						next = append(next, before+v.Value[last:m[0]]+value.Value)
					}
				}
			}
		}
		if whole {
			return
		}
		texts, last = next, m[1]
	}
	rest := v.Value[last:]
	if last == 0 {
		f.add(v, path, in) // No variable that is known.
		return
	}
	if f.again(v) {
		return
	}
	for _, text := range texts {
		if text += rest; f.format != Kubernetes && strings.Contains(text, "$") {
			f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
			return
		}
		f.put(v, text, path, in)
	}
}

var (
	// https://tekton.dev/docs/pipelines/variables/
	tektonParameter = regexp.MustCompile(`\$\((?:inputs\.)?params(?:\.([\w-]+)|\["([^"]+)"\]|\['([^']+)'\])\)`)
	// https://argo-workflows.readthedocs.io/en/latest/variables/
	argoParameter = regexp.MustCompile(`\{\{=?\s*(?:workflow|inputs)\.parameters\.([\w-]+)\s*\}\}`)
	// https://docs.openshift.com/container-platform/latest/openshift_images/using-templates.html
	openshiftParameter = regexp.MustCompile(`\$\{\{?([A-Za-z0-9_]+)\}?\}`)
)

// parameterSyntax is how the object writes parameters, if the text has one.
func (f *walker) parameterSyntax(text string) *regexp.Regexp {
	switch {
	case !strings.ContainsAny(text, "${"):
	case strings.HasPrefix(f.object.APIVersion, "tekton.dev/") && strings.Contains(text, "$("):
		return tektonParameter
	case strings.HasPrefix(f.object.APIVersion, "argoproj.io/") && strings.Contains(text, "{{"):
		return argoParameter
	case f.params != nil && strings.Contains(text, "${"):
		return openshiftParameter
	}
	return nil
}

// parameters finds what params and parameters give values to, anywhere below n:
// the values, or else the defaults.
func (f *walker) parameters(n *yaml.Node) map[string][]*yaml.Node {
	values, defaults := map[string][]*yaml.Node{}, map[string][]*yaml.Node{}
	left := maxNodes
	var look func(key string, n *yaml.Node, depth int)
	look = func(key string, n *yaml.Node, depth int) {
		const deepest = 100
		if n = resolved(n); n == nil || left == 0 || depth > deepest {
			return
		}
		left--
		switch n.Kind {
		case yaml.SequenceNode:
			for _, item := range n.Content {
				if name := text(item, "name"); name != "" && (key == "params" || key == "parameters") {
					if v := value(item, "value"); isScalar(v) {
						values[name] = append(values[name], v)
					} else if v := value(item, "default"); isScalar(v) {
						defaults[name] = append(defaults[name], v)
					}
				}
				look("", item, depth+1)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				look(n.Content[i].Value, n.Content[i+1], depth+1)
			}
		}
	}
	look("", n, 0)
	for name, all := range defaults {
		if values[name] == nil {
			values[name] = all
		}
	}
	return values
}

// scalars are the values of a list, or the one value that it is instead.
func scalars(n *yaml.Node) (all []*yaml.Node) {
	switch n = resolved(n); {
	case n == nil:
	case isScalar(n):
		all = append(all, n)
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if item = resolved(item); isScalar(item) {
				all = append(all, item)
			}
		}
	}
	return all
}
