package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/image"
)

// maxNodes is how many values of one document are looked at, aliases followed:
// a few lines of aliases can stand for billions.
const maxNodes = 2_000_000

// walker collects the references of one document.
type walker struct {
	*document
	format Format
	object Object
	out    *Result
	// seen has the nodes that were met, nil where none can be met twice.
	seen      map[*yaml.Node]bool
	seenSplit map[[3]*yaml.Node]bool
	nodes     int
	trail
}

// A trail leads to the node that is looked at.
type trail struct{ steps []pathStep }

// A pathStep is a key of a mapping, or the index of a member.
type pathStep struct {
	key   string
	index int // of a member, if key is ""
}

// path is where it leads: spec.containers[0].image.
func (t *trail) path() string {
	var b strings.Builder
	for _, s := range t.steps {
		if s.key == "" {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.key)
	}
	return b.String()
}

func (t *trail) push(s pathStep) { t.steps = append(t.steps, s) }
func (t *trail) pop()            { t.steps = t.steps[:len(t.steps)-1] }

// again reports whether a node was met before, which aliases make possible.
func (f *walker) again(n *yaml.Node) bool {
	if f.seen == nil {
		return false
	}
	before := f.seen[n]
	f.seen[n] = true
	return before
}

// top takes an object, or the objects of a list: everything that looks like a
// Kubernetes object, whatever its kind.
func (f *walker) top(n *yaml.Node) {
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
			f.steps = append(f.steps[:0], pathStep{key: "items"}, pathStep{index: i})
			f.walk(item, parent{})
			f.steps, f.object = f.steps[:0], of
		}
		return
	}
	f.object = objectOf(n)
	switch kind {
	case "CustomResourceDefinition", "ConfigMap", "Secret":
		// Schemas and texts, not references.
		return
	}
	f.walk(n, parent{})
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
func (f *walker) walk(n *yaml.Node, in parent) {
	n = resolved(n)
	if f.nodes++; n == nil || f.nodes > maxNodes {
		return
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			f.push(pathStep{index: i})
			f.walk(item, f.member(resolved(item), in))
			f.pop()
		}
	case yaml.MappingNode:
		if f.again(n) || f.split(n, in) {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			f.push(pathStep{key: n.Content[i].Value})
			f.field(n.Content[i].Value, n.Content[i+1], in)
			f.pop()
		}
	}
}

// member says what a member of a list is: a container of a pod, or a thing with
// a name.
func (f *walker) member(n *yaml.Node, in parent) parent {
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
func (f *walker) field(key string, n *yaml.Node, in parent) {
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
		f.walk(v, next)
		return
	}
	switch {
	case v.Tag == "!!null":
	case key == "image" && (in.kind == Container || in.kind == Init || in.kind == Sidecar || in.kind == Ephemeral):
		f.add(v, f.path(), in)
	case key == "reference" && in.kind == Volume && f.below("image"):
		f.add(v, f.path(), in)
	case key == "bundle" && strings.HasPrefix(f.object.APIVersion, "tekton.dev/"):
		f.add(v, f.path(), parent{container: in.container, kind: Other})
	case key == "value" && in.container == "bundle" && strings.HasPrefix(f.object.APIVersion, "tekton.dev/"):
		// A parameter of the resolver of bundles.
		f.add(v, f.path(), parent{kind: Other})
	case key == "image", key == "package" && strings.HasPrefix(f.object.APIVersion, "pkg.crossplane.io/"):
		if isImage(v.Value) {
			f.add(v, f.path(), parent{container: in.container, kind: Other})
		}
	case strings.HasSuffix(key, "Image") && strings.ContainsAny(v.Value, "/:"):
		if _, err := image.Parse(v.Value); err == nil && isImage(v.Value) {
			f.add(v, f.path(), parent{container: in.container, kind: Other})
		}
	}
}

// below reports whether the key that is looked at stands right below another.
func (f *walker) below(key string) bool {
	return len(f.steps) > 1 && f.steps[len(f.steps)-2].key == key
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
func (f *walker) split(n *yaml.Node, in parent) bool {
	if in.key != "image" && !strings.HasSuffix(in.key, "Image") && f.format != HelmValues {
		return false
	}
	repository := value(n, "repository")
	tag, digest, registry := value(n, "tag"), value(n, "digest"), value(n, "registry")
	if repository == nil || repository.Kind != yaml.ScalarNode || repository.Value == "" || tag == nil && digest == nil && registry == nil && in.key != "image" {
		return false
	}
	if f.againSplit(repository, tag, digest) {
		return true
	}
	s := &Split{NoDigest: f.noDigest(n)}
	whole := repository.Value
	r := Reference{Format: f.format, Object: f.object, Container: in.container, ContainerKind: kindOr(in.kind), Path: f.path(), Split: s}
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
		r.Anchored = r.Anchored || v.Anchor != ""
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
		f.note(r)
	}
	return true
}

// againSplit reports whether the fields of a reference were met together
// before. A merge key can put one of them beside others.
func (f *walker) againSplit(repository, tag, digest *yaml.Node) bool {
	if f.seen == nil {
		return false
	}
	key := [3]*yaml.Node{repository, tag, digest}
	if f.seenSplit[key] {
		return true
	}
	if f.seenSplit == nil {
		f.seenSplit = map[[3]*yaml.Node]bool{}
	}
	f.seenSplit[key] = true
	return false
}

// noDigest is where the value of the key digest belongs if it has none.
func (f *walker) noDigest(n *yaml.Node) Span {
	const name = "digest"
	if n = resolved(n); n == nil || n.Kind != yaml.MappingNode {
		return Span{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Value != name || v.Kind != yaml.ScalarNode || v.Anchor != "" || v.Value != "" && v.Tag != nullTag {
			continue
		}
		at, err := f.offset(k)
		if err != nil {
			return Span{}
		}
		data := f.text.data
		quote := 0
		if at < len(data) && (data[at] == '"' || data[at] == '\'') {
			quote = 1
		}
		if at+quote > len(data) || !bytes.HasPrefix(data[at+quote:], []byte(name)) {
			return Span{} // It is not written as it reads.
		}
		at += quote + len(name) + quote
		skip := func(of string) {
			for at < len(data) && strings.IndexByte(of, data[at]) >= 0 {
				at++
			}
		}
		skip(" ")
		if at >= len(data) || data[at] != ':' {
			return Span{}
		}
		at++
		colon := at
		skip(" \t")
		switch after := data[at:min(len(data), at+len("null"))]; {
		case len(after) > 1 && (after[0] == '"' || after[0] == '\'') && after[0] == after[1]:
			return f.text.span(at+1, at+1)
		case len(after) > 0 && after[0] == '~':
			return f.text.span(at, at+1)
		case strings.EqualFold(string(after), "null"):
			return f.text.span(at, at+len("null"))
		case len(after) == 0 || strings.IndexByte("\r\n#,}", after[0]) >= 0:
			return f.text.span(colon, colon)
		}
		return Span{}
	}
	return Span{}
}

func kindOr(k ContainerKind) ContainerKind {
	if k == "" {
		return Other
	}
	return k
}

// add notes a reference.
func (f *walker) add(v *yaml.Node, path string, in parent) {
	if f.again(v) {
		return // An anchor that is used again: it is changed once, there.
	}
	whole, derived := v.Value, false
	if f.format == Compose && strings.Contains(whole, "${") {
		whole = composeVariable.ReplaceAllString(whole, "$1")
		derived = true
	}
	// Elsewhere variables are part of the syntax. In a manifest they are a
	// reference that nobody can pull.
	if f.format != Kubernetes && (strings.Contains(whole, "{{") || strings.Contains(whole, "$") || strings.Contains(whole, "<<")) {
		f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
		return
	}
	span, style, err := f.scalar(v)
	if err != nil {
		f.gap(v, fmt.Errorf("image reference %s: %w", clip(v.Value), err))
		return
	}
	text := whole
	if style == Block {
		text = strings.TrimRight(text, "\n")
	}
	f.note(Reference{
		Text: text, Span: span, Style: style, Format: f.format, Object: f.object,
		Container: in.container, ContainerKind: kindOr(in.kind), Path: path, Comment: comment(v), Derived: derived,
	})
}

// note keeps a reference, but not the document that its texts are parts of.
func (f *walker) note(r Reference) {
	r.Text, r.Container, r.Comment = strings.Clone(r.Text), strings.Clone(r.Container), strings.Clone(r.Comment)
	o := r.Object
	r.Object = Object{strings.Clone(o.APIVersion), strings.Clone(o.Kind), strings.Clone(o.Namespace), strings.Clone(o.Name)}
	f.out.References = append(f.out.References, r)
}

func (f *walker) gap(v *yaml.Node, err error) {
	f.out.Unscannable = append(f.out.Unscannable, Unscannable{Line: f.text.line(f.base) - 1 + v.Line, Reason: err.Error()})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
