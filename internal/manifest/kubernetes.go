package manifest

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/image"
)

// maxNodes is how many values of one document are looked at, aliases followed:
// a few lines of aliases can stand for billions.
const maxNodes = 2_000_000

// finder collects the references of one document.
type finder struct {
	*document
	format Format
	object Object
	out    *Result
	seen   map[*yaml.Node]bool
	nodes  int
}

// kubernetes finds the references of manifests: of everything that looks like a
// Kubernetes object, whatever its kind.
func kubernetes(d document, out *Result) {
	f := &finder{document: &d, format: Kubernetes, out: out, seen: map[*yaml.Node]bool{}}
	f.top(d.root)
}

// top takes an object, or the objects of a list.
func (f *finder) top(n *yaml.Node) {
	n = resolved(n)
	if n == nil {
		return
	}
	if n.Kind == yaml.SequenceNode { // An array of objects, as jq writes it.
		for _, item := range n.Content {
			f.top(item)
		}
		return
	}
	kind, apiVersion := text(n, "kind"), text(n, "apiVersion")
	if kind == "" || apiVersion == "" {
		return
	}
	if items := value(n, "items"); items != nil && items.Kind == yaml.SequenceNode && strings.HasSuffix(kind, "List") {
		for i, item := range items.Content {
			of := f.object
			f.object = objectOf(item)
			if f.object.Kind == "" { // The items of a PodList have no kind of their own.
				f.object.Kind, f.object.APIVersion = strings.TrimSuffix(kind, "List"), apiVersion
			}
			f.walk(item, fmt.Sprintf("items[%d]", i), parent{})
			f.object = of
		}
		return
	}
	f.object = objectOf(n)
	switch kind {
	case "CustomResourceDefinition", "ConfigMap", "Secret":
		// Schemas and texts, not references.
		return
	}
	f.walk(n, "", parent{})
}

func objectOf(n *yaml.Node) Object {
	meta := value(n, "metadata")
	return Object{
		APIVersion: text(n, "apiVersion"), Kind: text(n, "kind"),
		Namespace: text(meta, "namespace"), Name: firstOf(text(meta, "name"), text(meta, "generateName")),
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// parent is what stands around a value.
type parent struct {
	key       string
	container string
	kind      ContainerKind
}

// walk looks for references below n.
func (f *finder) walk(n *yaml.Node, path string, in parent) {
	n = resolved(n)
	if f.nodes++; n == nil || f.nodes > maxNodes {
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			f.walk(item, fmt.Sprintf("%s[%d]", path, i), f.member(resolved(item), in))
		}
	case yaml.MappingNode:
		if f.seen[n] { // An anchor that is used again.
			return
		}
		f.seen[n] = true
		if f.split(n, path, in) {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.field(n.Content[i].Value, n.Content[i+1], join(path, n.Content[i].Value), in)
		}
	}
}

// member says what a member of a list is: a container of a pod, or a thing with
// a name.
func (f *finder) member(n *yaml.Node, in parent) parent {
	out := parent{key: in.key, container: text(n, "name"), kind: Other}
	switch in.key {
	case "containers":
		out.kind = Container
	case "initContainers":
		out.kind = Init
		if text(n, "restartPolicy") == "Always" {
			out.kind = Sidecar
		}
	case "ephemeralContainers":
		out.kind = Ephemeral
	case "volumes":
		out.kind = Volume
	}
	return out
}

// field looks at the value of one key.
func (f *finder) field(key string, n *yaml.Node, path string, in parent) {
	v := resolved(n)
	if v == nil {
		return
	}
	if v.Kind != yaml.ScalarNode {
		if v.Kind == yaml.MappingNode && len(v.Content) > 0 && v.Content[0].Kind == yaml.MappingNode && (key == "image" || strings.HasSuffix(key, "Image")) {
			// {{ … }} without quotes reads as a mapping in a mapping.
			f.gap(v, errors.New("the reference is a template; render it first, as with: helm template CHART | tagwarden scan -"))
			return
		}
		next := in
		if key != "<<" { // A merge key adds to what it stands in.
			next.key = key
		}
		if v.Kind == yaml.SequenceNode {
			next.container, next.kind = "", ""
		}
		f.walk(v, path, next)
		return
	}
	switch {
	case v.Tag == "!!null":
	case key == "image" && (in.kind == Container || in.kind == Init || in.kind == Sidecar || in.kind == Ephemeral):
		f.add(v, path, in)
	case key == "reference" && in.kind == Volume && strings.HasSuffix(path, ".image.reference"):
		f.add(v, path, in)
	case key == "image", key == "package" && strings.HasPrefix(f.object.APIVersion, "pkg.crossplane.io/"):
		if isImage(v.Value) {
			f.add(v, path, parent{container: in.container, kind: Other})
		}
	case strings.HasSuffix(key, "Image") && strings.ContainsAny(v.Value, "/:"):
		if _, err := image.Parse(v.Value); err == nil && isImage(v.Value) {
			f.add(v, path, parent{container: in.container, kind: Other})
		}
	}
}

// pictures are the endings of files that a field "image" may name as well.
var pictures = []string{".png", ".jpg", ".jpeg", ".svg", ".gif", ".ico", ".webp", ".iso", ".qcow2", ".img", ".vmdk"}

// isImage tells references from other things that fields called image have: an
// address or the file of a picture.
func isImage(text string) bool {
	if text == "" || strings.Contains(text, "://") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return false
	}
	lower := strings.ToLower(text)
	for _, end := range pictures {
		if strings.HasSuffix(lower, end) {
			return false
		}
	}
	return true
}

// split takes a reference that stands in fields: repository, and tag, digest or
// registry. It reports whether n is one.
func (f *finder) split(n *yaml.Node, path string, in parent) bool {
	if in.key != "image" && !strings.HasSuffix(in.key, "Image") && f.format != HelmValues {
		return false
	}
	repository := value(n, "repository")
	tag, digest, registry := value(n, "tag"), value(n, "digest"), value(n, "registry")
	if repository == nil || repository.Kind != yaml.ScalarNode || repository.Value == "" || tag == nil && digest == nil && registry == nil && in.key != "image" {
		return false
	}
	if f.seen[repository] {
		return true
	}
	f.seen[repository] = true
	s := &Split{}
	whole := repository.Value
	r := Reference{Format: f.format, Object: f.object, Container: in.container, ContainerKind: kindOr(in.kind), Path: path, Split: s}
	main := repository
	get := func(v *yaml.Node, into *Span) string {
		if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" || v.Value == "" {
			return ""
		}
		span, style, err := f.scalar(v)
		if err != nil {
			f.gap(v, err)
			return ""
		}
		*into = span
		if v == main {
			r.Span, r.Style = span, style
		}
		return v.Value
	}
	if tag != nil && tag.Value != "" && tag.Tag != "!!null" {
		main = tag
	}
	if digest != nil && digest.Value != "" && digest.Tag != "!!null" {
		main = digest
	}
	get(repository, &s.Repository)
	if v := get(registry, &s.Registry); v != "" {
		whole = v + "/" + whole
	}
	if v := get(tag, &s.Tag); v != "" {
		whole += ":" + v
	}
	if v := get(digest, &s.Digest); v != "" {
		whole += "@" + v
	}
	r.Text, r.Comment = whole, comment(main)
	if r.Span != (Span{}) {
		f.out.References = append(f.out.References, r)
	}
	return true
}

func kindOr(k ContainerKind) ContainerKind {
	if k == "" {
		return Other
	}
	return k
}

// add notes a reference.
func (f *finder) add(v *yaml.Node, path string, in parent) {
	if f.seen[v] {
		return // An anchor that is used again: it is changed once, there.
	}
	f.seen[v] = true
	if strings.Contains(v.Value, "{{") || strings.Contains(v.Value, "${") || strings.Contains(v.Value, "$(") {
		f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
		return
	}
	span, style, err := f.scalar(v)
	if err != nil {
		f.gap(v, fmt.Errorf("image reference %s: %w", clip(v.Value), err))
		return
	}
	text := v.Value
	if style == Block {
		text = strings.TrimRight(text, "\n")
	}
	f.out.References = append(f.out.References, Reference{
		Text: text, Span: span, Style: style, Format: f.format, Object: f.object,
		Container: in.container, ContainerKind: kindOr(in.kind), Path: path, Comment: comment(v),
	})
}

func (f *finder) gap(v *yaml.Node, err error) {
	f.out.Unscannable = append(f.out.Unscannable, Unscannable{Line: f.text.line(f.base) - 1 + v.Line, Reason: err.Error()})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
