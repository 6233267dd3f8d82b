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
		f.replacement(item, fmt.Sprintf("images[%d]", i))
	}
}

// replacement takes a member of images.
func (f *walker) replacement(item *yaml.Node, path string) {
	name, newName := value(item, "name"), value(item, "newName")
	tag, digest := value(item, "newTag"), value(item, "digest")
	if !isScalar(newName) {
		newName = name
	}
	if !isScalar(newName) || !isScalar(tag) && !isScalar(digest) {
		return
	}
	s := &Split{NoDigest: f.noDigest(item)}
	r := Reference{Format: f.format, Object: f.object, ContainerKind: Other, Path: path, Split: s, Container: text(item, "name")}
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

// actions finds the images of GitHub workflows and actions
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax).
func (f *walker) actions() {
	var matrix *yaml.Node // of the job
	image := func(v *yaml.Node, path, name string) {
		switch {
		case !isScalar(v):
		case matrixValue.MatchString(v.Value):
			f.expanded(v, path, parent{container: name, kind: Other}, matrixValue, func(of string) []*yaml.Node {
				all := scalars(value(matrix, of))
				if more := value(matrix, "include"); more != nil {
					for _, item := range more.Content {
						all = append(all, scalars(value(item, of))...)
					}
				}
				return all
			})
		default:
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
		matrix = value(value(job, "strategy"), "matrix")
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

// matrixValue is a value of the matrix of a job.
var matrixValue = regexp.MustCompile(`\$\{\{\s*matrix\.([\w-]+)\s*\}\}`)

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
	before := 0
	if strings.HasPrefix(v.Value, dockerScheme) {
		before = len(dockerScheme)
	}
	f.shifted(v, before, path, parent{container: name, kind: Other})
}

// gitlab finds the images of GitLab pipelines
// (https://docs.gitlab.com/ci/yaml/#image). A variable stands for the value that
// the file gives it.
func (f *walker) gitlab() {
	global := value(f.root, "variables")
	image := func(v, job *yaml.Node, path, name string) {
		if v != nil && v.Kind == yaml.MappingNode {
			v, path = value(v, "name"), path+".name"
		}
		if !isScalar(v) {
			return
		}
		f.expanded(v, path, parent{container: name, kind: Other}, gitlabVariable, func(name string) []*yaml.Node {
			for _, all := range []*yaml.Node{value(job, "variables"), global} {
				got := value(all, name)
				if got != nil && got.Kind == yaml.MappingNode {
					got = value(got, "value")
				}
				if isScalar(got) {
					return []*yaml.Node{got}
				}
			}
			return nil
		})
	}
	job := func(n *yaml.Node, path, name string) {
		image(value(n, "image"), n, join(path, "image"), name)
		if services := value(n, "services"); services != nil && services.Kind == yaml.SequenceNode {
			for i, s := range services.Content {
				image(resolved(s), n, join(path, fmt.Sprintf("services[%d]", i)), name)
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

// https://docs.gitlab.com/ci/variables/where_variables_can_be_used/
var gitlabVariable = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)

// circle finds the images of CircleCI jobs and executors
// (https://circleci.com/docs/configuration-reference/#docker). A parameter
// stands for its default.
func (f *walker) circle() {
	pipeline := value(f.root, "parameters")
	for _, section := range []string{"jobs", "executors"} {
		pairs(value(f.root, section), func(name string, job *yaml.Node) {
			docker := value(job, "docker")
			if docker == nil || docker.Kind != yaml.SequenceNode {
				return
			}
			for i, d := range docker.Content {
				v := value(d, "image")
				if !isScalar(v) {
					continue
				}
				path := fmt.Sprintf("%s.%s.docker[%d].image", section, name, i)
				f.expanded(v, path, parent{container: name, kind: Other}, circleParameter, func(name string) []*yaml.Node {
					params := value(job, "parameters")
					if rest, ok := strings.CutPrefix(name, "pipeline."); ok {
						name, params = rest, pipeline
					}
					return scalars(value(value(params, strings.TrimPrefix(name, "parameters.")), "default"))
				})
			}
		})
	}
}

var circleParameter = regexp.MustCompile(`<<\s*((?:pipeline\.)?parameters\.[\w-]+)\s*>>`)
