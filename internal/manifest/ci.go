package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// pairs calls f with the keys and values of a mapping.
func pairs(n *yaml.Node, f func(key string, v *yaml.Node)) {
	if n = resolved(n); n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "<<" {
			pairs(n.Content[i+1], f)
			continue
		}
		f(n.Content[i].Value, resolved(n.Content[i+1]))
	}
}

func isScalar(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" && n.Value != ""
}

// compose finds the images of services
// (https://github.com/compose-spec/compose-spec/blob/main/05-services.md#image).
// A service that is built has an image of its own making, if any.
func (f *walker) compose() {
	pairs(value(f.root, "services"), func(name string, service *yaml.Node) {
		if v := value(service, "image"); isScalar(v) && value(service, "build") == nil {
			f.add(v, "services."+name+".image", parent{container: name, kind: Other})
		}
	})
}

// composeVariable is a variable with a default
// (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md).
var composeVariable = regexp.MustCompile(`\$\{\w+:?-([^${}]*)\}`)

// devcontainer finds the image of a development container, and the features that
// are put into it, which are pulled from registries, too
// (https://containers.dev/implementors/json_reference/).
func (f *walker) devcontainer() {
	if v := value(f.root, "image"); isScalar(v) {
		f.add(v, "image", parent{kind: Other})
	}
	n := value(f.root, "features")
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; strings.Contains(key.Value, "/") && !strings.HasPrefix(key.Value, ".") && isImage(key.Value) {
			f.add(key, "features", parent{container: "feature", kind: Other})
		}
	}
}

// kustomization finds the images that are put in the place of others
// (https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/images/).
// One without a newTag and a digest leaves the tag as it is in the manifests.
func (f *walker) kustomization() {
	images := value(f.root, "images")
	if images == nil || images.Kind != yaml.SequenceNode {
		return
	}
	for i, item := range images.Content {
		name, newName := value(item, "name"), value(item, "newName")
		tag, digest := value(item, "newTag"), value(item, "digest")
		if !isScalar(newName) {
			newName = name
		}
		if !isScalar(newName) || !isScalar(tag) && !isScalar(digest) {
			continue
		}
		s := &Split{NoDigest: f.noDigest(item)}
		r := Reference{Format: f.format, ContainerKind: Other, Path: fmt.Sprintf("images[%d]", i), Split: s, Container: text(item, "name")}
		whole, main := newName.Value, tag
		if isScalar(digest) {
			main = digest
		}
		ok := true
		take := func(v *yaml.Node, into *Span, sep string) {
			if !isScalar(v) {
				return
			}
			span, style, err := f.scalar(v)
			if err != nil {
				f.gap(v, err)
				ok = false
				return
			}
			*into = span
			r.Anchored = r.Anchored || v.Anchor != ""
			if v == main {
				r.Span, r.Style, r.Comment = span, style, comment(v)
			}
			if sep != "" {
				whole += sep + v.Value
			}
		}
		take(newName, &s.Repository, "")
		sep := ":"
		if isScalar(digest) { // It goes before a tag, which is for people then.
			sep = ""
		}
		take(tag, &s.Tag, sep)
		take(digest, &s.Digest, "@")
		if r.Text = whole; ok {
			f.note(r)
		}
	}
}

// actions finds the images of GitHub workflows and actions
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax).
func (f *walker) actions() {
	image := func(v *yaml.Node, path, name string) {
		if isScalar(v) {
			f.docker(v, path, name)
		}
	}
	steps := func(n *yaml.Node, path string) {
		if n == nil || n.Kind != yaml.SequenceNode {
			return
		}
		for i, step := range n.Content {
			f.uses(value(step, "uses"), fmt.Sprintf("%s[%d].uses", path, i), text(step, "name"))
		}
	}
	pairs(value(f.root, "jobs"), func(name string, job *yaml.Node) {
		path := "jobs." + name
		if c := value(job, "container"); isScalar(c) {
			image(c, path+".container", name)
		} else {
			image(value(c, "image"), path+".container.image", name)
		}
		pairs(value(job, "services"), func(service string, v *yaml.Node) {
			image(value(v, "image"), path+".services."+service+".image", service)
		})
		steps(value(job, "steps"), path+".steps")
		f.uses(value(job, "uses"), path+".uses", name) // A workflow that is called.
	})
	runs := value(f.root, "runs")
	steps(value(runs, "steps"), "runs.steps")
	if v := value(runs, "image"); isScalar(v) && strings.HasPrefix(v.Value, dockerScheme) {
		f.docker(v, "runs.image", "")
	}
}

// uses takes what a step runs: an image, or an action of another repository.
// One of this repository comes with it.
func (f *walker) uses(v *yaml.Node, path, name string) {
	if !isScalar(v) || strings.HasPrefix(v.Value, "./") || strings.HasPrefix(v.Value, "../") {
		return
	}
	if strings.HasPrefix(v.Value, dockerScheme) {
		f.docker(v, path, name)
		return
	}
	before := len(f.out.References)
	f.add(v, path, parent{container: name, kind: Other})
	if len(f.out.References) > before {
		f.out.References[before].Action = true
	}
}

const dockerScheme = "docker://"

// docker adds a reference that may have docker:// before it.
func (f *walker) docker(v *yaml.Node, path, name string) {
	before := len(f.out.References)
	f.add(v, path, parent{container: name, kind: Other})
	if len(f.out.References) > before {
		r := &f.out.References[before]
		if rest, ok := strings.CutPrefix(r.Text, dockerScheme); ok {
			r.Text = rest
			r.Span = f.text.span(r.Span.Start+len(dockerScheme), r.Span.End)
		}
	}
}

// gitlab finds the images of GitLab pipelines
// (https://docs.gitlab.com/ci/yaml/#image).
func (f *walker) gitlab() {
	image := func(v *yaml.Node, path, name string) {
		if v != nil && v.Kind == yaml.MappingNode {
			v, path = value(v, "name"), path+".name"
		}
		if isScalar(v) {
			f.add(v, path, parent{container: name, kind: Other})
		}
	}
	job := func(n *yaml.Node, path, name string) {
		image(value(n, "image"), join(path, "image"), name)
		if services := value(n, "services"); services != nil && services.Kind == yaml.SequenceNode {
			for i, s := range services.Content {
				image(resolved(s), join(path, fmt.Sprintf("services[%d]", i)), name)
			}
		}
	}
	job(f.root, "", "")
	pairs(f.root, func(name string, v *yaml.Node) {
		if v != nil && v.Kind == yaml.MappingNode && name != "variables" && name != "image" {
			job(v, name, name)
		}
	})
}

// circle finds the images of CircleCI jobs and executors
// (https://circleci.com/docs/configuration-reference/#docker).
func (f *walker) circle() {
	for _, section := range []string{"jobs", "executors"} {
		pairs(value(f.root, section), func(name string, job *yaml.Node) {
			docker := value(job, "docker")
			if docker == nil || docker.Kind != yaml.SequenceNode {
				return
			}
			for i, d := range docker.Content {
				if v := value(d, "image"); isScalar(v) {
					f.add(v, fmt.Sprintf("%s.%s.docker[%d].image", section, name, i), parent{container: name, kind: Other})
				}
			}
		})
	}
}
