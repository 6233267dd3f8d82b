package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// compose finds the images of services
// (https://github.com/compose-spec/compose-spec/blob/main/05-services.md#image).
// A service that is built has an image of its own making, unless it says that
// it is pulled.
func (f *walker) compose() {
	services := value(f.root, "services")
	if services == nil && value(f.root, "version") == nil {
		services = f.root // The first version of the format.
	}
	pairs(services, func(name string, service *yaml.Node) {
		in, path := parent{container: name, kind: Other}, "services."+name
		build := value(service, "build")
		if v := value(service, "image"); isScalar(v) && (build == nil || pulled[policyWord(service)]) {
			f.interpolated(v, path+".image", in)
		}
		if volumes := value(service, "volumes"); volumes != nil && volumes.Kind == yaml.SequenceNode {
			for i, volume := range volumes.Content {
				if v := value(volume, "source"); text(volume, "type") == "image" && isScalar(v) {
					f.interpolated(v, fmt.Sprintf("%s.volumes[%d].source", path, i), in)
				}
			}
		}
		f.contexts(value(build, "additional_contexts"), path+".build.additional_contexts", in)
		if v := value(build, "dockerfile_inline"); isScalar(v) {
			f.inline(v, path+".build.dockerfile_inline", in)
		}
	})
}

// pulled are the policies by which the image of a service with a build is
// pulled all the same
// (https://github.com/compose-spec/compose-spec/blob/main/05-services.md#pull_policy).
var pulled = map[string]bool{"always": true, "missing": true, "if_not_present": true, "daily": true, "weekly": true, "every": true}

func policyWord(service *yaml.Node) string {
	word, _, _ := strings.Cut(text(service, "pull_policy"), "_")
	if word == "if" {
		return "if_not_present"
	}
	return word
}

// contexts takes the images that a build is given by name
// (https://github.com/compose-spec/compose-spec/blob/main/build.md#additional_contexts).
func (f *walker) contexts(n *yaml.Node, path string, in parent) {
	take := func(v *yaml.Node, path string) {
		if isScalar(v) {
			if i := strings.Index(v.Value, contextScheme); i >= 0 {
				f.shifted(v, i+len(contextScheme), path, in)
			}
		}
	}
	if n != nil && n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			take(resolved(item), fmt.Sprintf("%s[%d]", path, i))
		}
	}
	pairs(n, func(name string, v *yaml.Node) { take(v, path+"."+name) })
}

const contextScheme = "docker-image://"

// inline takes the images of a Dockerfile that is written in place.
func (f *walker) inline(v *yaml.Node, path string, in parent) {
	if f.again(v) {
		return
	}
	found := dockerfile([]byte(v.Value))
	for i := range found.References {
		in.container = firstOf(found.References[i].Container, in.container)
		f.put(v, found.References[i].Text, path, in)
	}
	for _, u := range found.Unscannable {
		f.gap(v, u)
	}
}

// alternative is a value for a variable that is set, which only the
// environment of a run decides.
var alternative = regexp.MustCompile(`\$\{\w+:?\+`)

// unknown stands for the value of a variable that is not known.
const unknown = "\x00"

// interpolated notes a reference with the variables of the file put in: those
// that .env gives a value, and those with a default
// (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md).
func (f *walker) interpolated(v *yaml.Node, path string, in parent) {
	if !strings.Contains(v.Value, "$") {
		f.add(v, path, in)
		return
	}
	if f.again(v) {
		return
	}
	some := false
	text, err := template.SubstituteWithOptions(v.Value, func(name string) (string, bool) {
		if got, ok := f.env[name]; ok {
			return got, true
		}
		some = true
		return unknown, false
	}, template.WithoutLogging)
	switch {
	case err != nil:
		f.gap(v, fmt.Errorf("the reference has a variable without a value: %w", err))
	case strings.Contains(text, unknown), some && alternative.MatchString(v.Value):
		f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
	default:
		f.put(v, text, path, in)
	}
}

// Env reads a file of variables, as Compose reads .env beside its own files.
func Env(data []byte) (map[string]string, error) {
	return dotenv.UnmarshalBytesWithLookup(data, nil)
}
