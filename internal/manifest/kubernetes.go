package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
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
	// bare is set in what is no object: only what cannot be anything else is
	// a reference there.
	bare bool
	// rules is set in a policy, most of whose references are patterns.
	rules bool
	// params has the parameters of the object, once one was asked for.
	params map[string][]*yaml.Node
	// env has what other files give variables.
	env map[string]string
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

// top takes what a document has: an object or several, a patch, or something
// else that containers are in.
func (f *walker) top(n *yaml.Node) {
	n = resolved(n)
	switch {
	case n == nil:
	case n.Kind == yaml.SequenceNode: // Objects, as jq writes them, operations of a patch, or plays.
		for i, item := range n.Content {
			f.push(pathStep{index: i})
			switch {
			case f.isObject(item):
				f.steps = f.steps[:0]
				f.one(item, Object{})
			case !f.operation(resolved(item)):
				f.loose(item)
			}
			f.steps = f.steps[:0]
		}
	case f.isObject(n):
		f.one(n, Object{})
	default:
		f.loose(n)
	}
}

func (f *walker) isObject(n *yaml.Node) bool {
	return text(n, "kind") != "" && text(n, "apiVersion") != ""
}

// one takes an object, or the objects of a list: everything that looks like
// one, whatever its kind. like says what it is if it does not say it itself,
// as the items of a PodList.
func (f *walker) one(n *yaml.Node, like Object) {
	const deepest = 50
	n = resolved(n)
	if f.nodes++; n == nil || f.nodes > maxNodes || len(f.steps) > deepest {
		return
	}
	o := objectOf(n)
	if o.Kind == "" {
		o.Kind, o.APIVersion = like.Kind, like.APIVersion
	}
	of, rules := f.object, f.rules
	defer func() { f.object, f.rules = of, rules }()
	f.object = o
	switch o.Kind {
	case "CustomResourceDefinition", "ConfigMap", "Secret":
		return // Schemas and texts, not references.
	}
	key, each := "items", strings.TrimSuffix(o.Kind, "List")
	if o.Kind == "Template" && strings.HasPrefix(o.APIVersion, "template.openshift.io/") {
		key, each = "objects", o.Kind
		f.params = f.parameters(n)
	}
	if items := value(n, key); items != nil && items.Kind == yaml.SequenceNode && (key == "objects" || each != o.Kind) {
		if f.again(items) {
			return
		}
		for i, item := range items.Content {
			f.push(pathStep{key: key})
			f.push(pathStep{index: i})
			f.one(item, Object{APIVersion: o.APIVersion, Kind: each})
			f.pop()
			f.pop()
		}
		if key == "objects" {
			f.params = nil
		}
		return
	}
	if f.params == nil {
		defer func() { f.params = nil }()
	}
	// https://kyverno.io/docs/policy-types/
	f.rules = strings.HasPrefix(o.APIVersion, "kyverno.io/") || strings.HasPrefix(o.APIVersion, "policies.kyverno.io/")
	// What runs is in the spec; the status of a container has its image again.
	for i := 0; i+1 < len(n.Content); i += 2 {
		if name := n.Content[i].Value; name != "status" {
			f.push(pathStep{key: name})
			f.field(name, n.Content[i+1], parent{})
			f.pop()
		}
	}
}

// loose takes what is no object: the services of Compose under another name,
// objects in something else, a part of an object.
func (f *walker) loose(n *yaml.Node) {
	if services := value(n, "services"); services != nil && services.Kind == yaml.MappingNode && len(f.steps) == 0 {
		f.format = Compose
		f.compose()
		return
	}
	f.bare = true
	f.walk(n, parent{})
	f.bare = false
}

// operation takes an operation of a JSON patch
// (https://www.rfc-editor.org/rfc/rfc6902), and reports whether n is one.
func (f *walker) operation(n *yaml.Node) bool {
	at, v := text(n, "path"), value(n, "value")
	if text(n, "op") == "" || !strings.HasPrefix(at, "/") {
		return false
	}
	steps := strings.Split(at[1:], "/")
	last, list := steps[len(steps)-1], ""
	if len(steps) > 1 {
		list = steps[len(steps)-2]
	}
	f.push(pathStep{key: "value"})
	defer f.pop()
	switch {
	case v == nil:
	case v.Kind == yaml.ScalarNode:
		f.field(last, v, parent{key: list, kind: Other})
	case v.Kind == yaml.MappingNode:
		f.walk(v, f.member(v, parent{key: list}))
	default:
		f.walk(v, parent{key: last})
	}
	return true
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
		if f.again(n) {
			return
		}
		for i, item := range n.Content {
			f.push(pathStep{index: i})
			if v := resolved(item); in.key != "images" || !f.listed(v, in) {
				f.walk(v, f.member(v, in))
			}
			f.pop()
		}
	case yaml.MappingNode:
		switch {
		case f.again(n):
			return
		case f.bare && f.isObject(n):
			f.bare = false
			f.one(n, Object{})
			f.bare = true
			return
		}
		taken := f.split(n, in)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if taken != nil && resolved(n.Content[i+1]) == taken {
				continue
			}
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
	case "containers", "containerDefinitions": // The latter of Amazon's ECS.
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
		f.inner(key, v, in)
		return
	}
	tekton := strings.HasPrefix(f.object.APIVersion, "tekton.dev/")
	other := parent{container: in.container, kind: Other}
	switch {
	case v.Tag == nullTag:
	case key == "image" && (in.kind == Container || in.kind == Init || in.kind == Sidecar || in.kind == Ephemeral):
		f.image(v, in)
	case key == "reference" && in.kind == Volume && f.below("image"):
		f.image(v, in)
	case key == "bundle" && tekton:
		f.image(v, other)
	case key == "value" && in.container == "bundle" && tekton:
		// A parameter of the resolver of bundles.
		f.image(v, parent{kind: Other})
	case in.key == "images":
		f.listed(v, in)
	case f.bare:
		if (key == "image" || strings.HasSuffix(key, "Image")) && isImage(v.Value) && tagged(v.Value) {
			f.image(v, other)
		}
	case key == "value" && in.key == "env" && strings.HasPrefix(in.container, "RELATED_IMAGE_"):
		// https://sdk.operatorframework.io/docs/olm-integration/generation/
		if tagged(v.Value) {
			f.image(v, other)
		}
	case key == "image" && f.noContainer(v):
	case key == "builder" && f.format == Skaffold && f.below("buildpacks"):
		f.image(v, other)
	case key == "image", key == "package" && strings.HasPrefix(f.object.APIVersion, "pkg.crossplane.io/"):
		if isImage(v.Value) {
			f.image(v, other)
		}
	case (strings.HasSuffix(key, "Image") || key == "imageName") && strings.ContainsAny(v.Value, "/:"):
		if _, err := image.Parse(v.Value); err == nil && isImage(v.Value) {
			f.image(v, other)
		}
	}
}

// inner looks at a value that has others in it.
func (f *walker) inner(key string, v *yaml.Node, in parent) {
	switch key {
	case "labels", "annotations", "matchLabels", "nodeSelector":
		return // Texts to tell things apart by.
	case "requires", "setValues", "setValueTemplates", "artifactOverrides":
		if f.format == Skaffold {
			return // Names of what is built.
		}
	case "validate", "match", "exclude", "preconditions", "verifyImages", "context":
		if f.rules {
			return // What others are compared with.
		}
	case "status":
		if n := len(f.steps); n > 2 && f.steps[n-2].key == "" && f.steps[n-3].key == "items" {
			return
		}
	}
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
}

// image notes a reference, or what its parameters make of it.
func (f *walker) image(v *yaml.Node, in parent) {
	if f.rules {
		if _, err := image.Parse(v.Value); err != nil {
			return // A pattern, or an expression.
		}
	}
	if vars := f.parameterSyntax(v.Value); vars != nil {
		f.expanded(v, f.path(), in, vars, func(name string) []*yaml.Node {
			if f.params == nil {
				f.params = f.parameters(f.root)
			}
			return f.params[name]
		})
		return
	}
	f.add(v, f.path(), in)
}

// noContainer reports whether a field called image of a custom resource, or of
// a volume, is known to name something else.
func (f *walker) noContainer(v *yaml.Node) bool {
	switch {
	case f.format == Skaffold && len(f.steps) > 2: // What it builds, and tests of that.
		of := f.steps[len(f.steps)-3].key
		return of == "artifacts" || of == "test"
	case f.below("rbd"): // A block device of Ceph.
		return true
	case f.object.Kind == "ImageRepository" && strings.HasPrefix(f.object.APIVersion, "image.toolkit.fluxcd.io/"):
		return true // Flux lists the tags of it.
	case v.Style != 0:
		return false
	}
	return v.Value == "true" || v.Value == "false" || strings.Trim(v.Value, "0123456789") == ""
}

// listed takes a member of images: a reference as in lists of images to pull,
// one that Argo CD or Flux puts in the place of another (name=reference, or
// newName and newTag). It reports whether n is one.
func (f *walker) listed(n *yaml.Node, in parent) bool {
	if n == nil || n.Kind == yaml.MappingNode && value(n, "newName") == nil && value(n, "newTag") == nil {
		return false
	}
	if n.Kind == yaml.MappingNode {
		f.replacement(n, f.path())
		return true
	}
	if n.Kind != yaml.ScalarNode {
		return false
	}
	_, after, renamed := strings.Cut(n.Value, "=")
	if renamed && isImage(after) && tagged(after) {
		f.shifted(n, len(n.Value)-len(after), f.path(), parent{container: in.container, kind: Other})
	} else if !renamed && isImage(n.Value) && tagged(n.Value) {
		f.image(n, parent{container: in.container, kind: Other})
	}
	return true
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
	if text == "" || strings.Contains(text, "://") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") || strings.HasPrefix(text, "sha256:") {
		return false
	}
	if strings.HasPrefix(text, "projects/") && strings.Contains(text, "/images/") {
		return false // Of a virtual machine in Google's cloud.
	}
	lower := strings.ToLower(text)
	for _, end := range pictures {
		if strings.HasSuffix(lower, end) {
			return false
		}
	}
	return true
}

// first is the first of some keys of a mapping that has a value.
func first(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if v := value(n, key); isScalar(v) {
			return v
		}
	}
	return nil
}

// fields are the values that a reference in fields is made of, main the one
// that names the repository; nil if n is no such reference.
func (f *walker) fields(n *yaml.Node, in parent) (main, tag, digest, registry *yaml.Node) {
	named := in.key == "image" || strings.HasSuffix(in.key, "Image")
	if !named && f.format != HelmValues {
		return nil, nil, nil, nil
	}
	tag, digest, registry = value(n, "tag"), value(n, "digest"), value(n, "registry")
	some := tag != nil || digest != nil || registry != nil
	main = first(n, "repository")
	switch {
	case main != nil && (some || in.key == "image"):
		if f.bare && !isScalar(tag) && !isScalar(digest) {
			return nil, nil, nil, nil
		}
		return main, tag, digest, registry
	case main != nil:
		return nil, nil, nil, nil
	case named && some:
		main = first(n, "name", "image")
	case f.format == HelmValues:
		// image and its tag side by side.
		if main, tag = first(n, "image", "imageRepository"), first(n, "tag", "imageTag"); main == nil || tag == nil || tagged(main.Value) {
			return nil, nil, nil, nil
		}
		registry = first(n, "registry", "imageRegistry", "hub")
	}
	if main != nil && tag == nil && digest == nil || main != nil && !isImage(main.Value) {
		return nil, nil, nil, nil
	}
	return main, tag, digest, registry
}

// split takes a reference that stands in fields: repository, and tag, digest or
// registry. It returns the value that names the repository, or nil if n is no
// such reference.
func (f *walker) split(n *yaml.Node, in parent) (taken *yaml.Node) {
	repository, tag, digest, registry := f.fields(n, in)
	if repository == nil {
		return nil
	}
	if f.againSplit(repository, tag, digest) {
		return repository
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
		if err != nil && !errors.Is(err, errWritten) {
			f.gap(v, err)
			return ""
		}
		r.Derived = r.Derived || err != nil
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
	} else if sha := first(n, "sha"); sha != nil && tag != nil && sha256Hex.MatchString(sha.Value) {
		whole += "@sha256:" + sha.Value // As Grafana's charts have it.
		r.Derived = true
	}
	if _, err := image.Parse(whole); err != nil && in.key != "image" && !strings.HasSuffix(in.key, "Image") {
		return nil // A repository of something else.
	}
	r.Text, r.Comment = whole, comment(main)
	if r.Span != (Span{}) {
		f.note(r)
	}
	return repository
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

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
	// Elsewhere variables are part of the syntax. In a manifest they are a
	// reference that nobody can pull.
	if f.format != Kubernetes && (strings.Contains(v.Value, "{{") || strings.Contains(v.Value, "$") || strings.Contains(v.Value, "<<")) {
		f.gap(v, fmt.Errorf("the reference is a template or has a variable: %s", clip(v.Value)))
		return
	}
	f.put(v, v.Value, path, in)
}

// put notes what a value stands for, which can be another text than its own.
func (f *walker) put(v *yaml.Node, text, path string, in parent) {
	span, style, err := f.scalar(v)
	if err != nil && !errors.Is(err, errWritten) {
		f.gap(v, fmt.Errorf("image reference %s: %w", clip(v.Value), err))
		return
	}
	if style == Block {
		text = strings.TrimRight(text, "\n")
	}
	f.note(Reference{
		Text: text, Span: span, Style: style, Format: f.format, Object: f.object,
		Container: in.container, ContainerKind: kindOr(in.kind), Path: path, Comment: comment(v),
		Derived: err != nil || text != strings.TrimRight(v.Value, "\n"),
	})
}

// shifted notes a reference that has something else before it.
func (f *walker) shifted(v *yaml.Node, before int, path string, in parent) {
	n := len(f.out.References)
	f.add(v, path, in)
	if len(f.out.References) > n {
		r := &f.out.References[n]
		r.Text = r.Text[before:]
		if !r.Derived {
			r.Span = f.text.span(r.Span.Start+before, r.Span.End)
		}
	}
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
