package manifest

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/image"
)

// containerResources are the beginnings of the types of Terraform resources
// whose images are those of containers. Elsewhere an "image" is mostly that of
// a virtual machine, unless it has a tag.
var containerResources = []string{
	"kubernetes_", "kubectl_", "aws_ecs_", "aws_batch_", "aws_apprunner_", "aws_lambda_", "aws_sagemaker_", "google_cloud_run",
	"google_cloudbuild_", "azurerm_container_", "docker_", "nomad_", "podman_", "helm_release", "digitalocean_app",
}

// machineResources have images with tags that are none of containers.
var machineResources = []string{"lxd_", "incus_", "aws_codebuild_"}

// imageFields are the fields that have a reference, beside those that end with
// _image. With true they have nothing else.
var imageFields = map[string]bool{"image": false, "image_uri": true, "image_identifier": true, "container_image": true, "docker_image": true, "docker_image_name": true}

// terraform finds the references of Terraform's resources
// (https://developer.hashicorp.com/terraform/language/syntax/configuration),
// those in objects and in calls of jsonencode and yamlencode included. A
// reference that a variable makes is Unscannable.
func terraform(data []byte) (out Result) {
	defer func() {
		if p := recover(); p != nil {
			out.Unscannable = append(out.Unscannable, Unscannable{Reason: fmt.Sprintf("the HCL parser failed: %v", p)})
		}
	}()
	file, diags := hclsyntax.ParseConfig(data, "", hcl.InitialPos)
	if diags.HasErrors() {
		u := Unscannable{Reason: "not valid HCL: " + clipReason(diags[0].Summary+": "+diags[0].Detail)}
		if diags[0].Subject != nil {
			u.Line = diags[0].Subject.Start.Line
		}
		out.Unscannable = append(out.Unscannable, u)
	}
	if file == nil {
		return out
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return out
	}
	t := &terraformScan{data: data, places: newPlaces(data), out: &out, values: map[string]hclsyntax.Expression{}, asked: map[string]bool{}, seen: map[int]bool{}}
	t.define(body)
	for name, a := range body.Attributes { // Values of variables: *.tfvars.
		t.path, t.sure = "", false
		t.expression(a.Expr, name, strings.Contains(name, "image"))
	}
	for _, b := range body.Blocks {
		t.top(b)
	}
	return out
}

// define notes what the file itself gives to variables and local values.
func (t *terraformScan) define(body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		switch {
		case b.Type == "variable" && len(b.Labels) == 1 && b.Body.Attributes["default"] != nil:
			t.values["var."+b.Labels[0]] = b.Body.Attributes["default"].Expr
		case b.Type == "locals":
			for name, a := range b.Body.Attributes {
				t.values["local."+name] = a.Expr
			}
		}
	}
}

type terraformScan struct {
	data   []byte
	places *places
	out    *Result
	object Object
	// sure is set in resources that are about containers; elsewhere only what
	// has a tag or a digest is taken for a reference.
	sure  bool
	path  string
	depth int
	// values are those of var.… and local.…, as far as the file has them.
	values map[string]hclsyntax.Expression
	asked  map[string]bool
	// seen has the references that were found, by where they begin.
	seen map[int]bool
}

// top looks at a block of the file.
func (t *terraformScan) top(b *hclsyntax.Block) {
	t.object = Object{Kind: b.Type, Name: strings.Join(b.Labels, ".")}
	t.path, t.sure = "", false
	switch {
	case b.Type == "variable" && len(b.Labels) == 1:
		if a := b.Body.Attributes["default"]; a != nil {
			t.expression(a.Expr, "default", strings.Contains(b.Labels[0], "image"))
		}
	case b.Type == "module", b.Type == "locals":
		t.body(b.Body)
	case (b.Type == "resource" || b.Type == "data") && len(b.Labels) == 2:
		if hasPrefix(b.Labels[0], machineResources) {
			return
		}
		t.sure = hasPrefix(b.Labels[0], containerResources)
		t.body(b.Body)
		// The images of the Docker provider are called name.
		if a := b.Body.Attributes["name"]; a != nil && (b.Labels[0] == "docker_image" || b.Labels[0] == "docker_registry_image") {
			t.expression(a.Expr, "name", true)
		}
	}
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func (t *terraformScan) body(b *hclsyntax.Body) {
	const deepest = 100
	if t.depth++; t.depth > deepest {
		return
	}
	defer func() { t.depth-- }()
	for name, a := range b.Attributes {
		t.field(name, a.Expr, join(t.path, name))
	}
	for i, block := range b.Blocks {
		of := t.path
		t.path = join(of, fmt.Sprintf("%s[%d]", block.Type, nth(b.Blocks[:i], block.Type)))
		t.body(block.Body)
		t.path = of
	}
}

// nth counts the blocks of a type.
func nth(before hclsyntax.Blocks, kind string) (n int) {
	for _, b := range before {
		if b.Type == kind {
			n++
		}
	}
	return n
}

// field looks at a value with a name.
func (t *terraformScan) field(name string, e hclsyntax.Expression, path string) {
	sure := t.sure
	t.sure = sure || imageFields[name]
	if object, ok := e.(*hclsyntax.ObjectConsExpr); !ok || !t.split(object, name, path) {
		_, isField := imageFields[name]
		t.expression(e, path, isField || strings.HasSuffix(name, "_image"))
	}
	t.sure = sure
}

// expression looks for references in a value; isRef says that it should be
// one itself.
func (t *terraformScan) expression(e hclsyntax.Expression, path string, isRef bool) {
	const deepest = 100
	if t.depth++; t.depth > deepest {
		return
	}
	defer func() { t.depth-- }()
	switch e := e.(type) {
	case *hclsyntax.TemplateWrapExpr:
		t.expression(e.Wrapped, path, isRef)
	case *hclsyntax.TemplateExpr:
		switch {
		case isRef:
			t.reference(e, path)
		case t.sure:
			t.embedded(e)
		}
	case *hclsyntax.ScopeTraversalExpr:
		if isRef {
			t.variable(e, path)
		}
	case *hclsyntax.ParenthesesExpr:
		t.expression(e.Expression, path, isRef)
	case *hclsyntax.ConditionalExpr:
		t.expression(e.TrueResult, path, isRef)
		t.expression(e.FalseResult, path, isRef)
	case *hclsyntax.TupleConsExpr:
		for i, item := range e.Exprs {
			t.expression(item, fmt.Sprintf("%s[%d]", path, i), false)
		}
	case *hclsyntax.ObjectConsExpr:
		for _, item := range e.Items {
			name := keyOf(item)
			t.field(name, item.ValueExpr, join(path, name))
		}
	case *hclsyntax.FunctionCallExpr:
		if isRef && t.sure {
			t.gap(e, "the reference is what a function makes")
			return
		}
		for _, arg := range e.Args {
			t.expression(arg, path, false)
		}
	case *hclsyntax.ForExpr:
		t.expression(e.ValExpr, path, false)
	}
}

func keyOf(item hclsyntax.ObjectConsItem) string {
	name := hcl.ExprAsKeyword(item.KeyExpr)
	if key, diags := item.KeyExpr.Value(nil); name == "" && !diags.HasErrors() && key.Type() == cty.String && key.IsKnown() && !key.IsNull() {
		name = key.AsString()
	}
	return name
}

// variable takes what a variable or a local value has, if the file says it.
func (t *terraformScan) variable(e *hclsyntax.ScopeTraversalExpr, path string) {
	if len(e.Traversal) == 2 {
		if attr, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
			name := e.Traversal.RootName() + "." + attr.Name
			if v := t.values[name]; v != nil {
				if key := fmt.Sprint(name, t.sure); !t.asked[key] { // Variables can be made of each other.
					t.asked[key] = true
					t.expression(v, path, true)
				}
				return
			}
		}
	}
	if t.sure && len(e.Traversal) > 0 && e.Traversal.RootName() != "docker_image" {
		t.gap(e, "the reference comes from a variable")
	}
}

// split takes the values of a chart for an image: repository, and tag, digest or
// registry.
func (t *terraformScan) split(e *hclsyntax.ObjectConsExpr, name, path string) bool {
	if name != "image" && !strings.HasSuffix(name, "Image") {
		return false
	}
	parts := map[string]string{}
	var place hcl.Range
	for _, item := range e.Items {
		v, diags := item.ValueExpr.Value(nil)
		if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
			continue
		}
		key := keyOf(item)
		if parts[key] = v.AsString(); key == "repository" || key == "tag" && place.Filename == "" {
			place = item.ValueExpr.Range()
		}
	}
	text := parts["repository"]
	if text == "" {
		return false
	}
	if parts["registry"] != "" {
		text = parts["registry"] + "/" + text
	}
	if parts["tag"] != "" {
		text += ":" + parts["tag"]
	}
	if parts["digest"] != "" {
		text += "@" + parts["digest"]
	}
	t.found(Reference{Text: text, Span: t.span(place), Style: Double, Path: path, Derived: true})
	return true
}

func (t *terraformScan) span(r hcl.Range) Span {
	return t.places.span(min(max(r.Start.Byte, 0), len(t.data)), min(max(r.End.Byte, 0), len(t.data)))
}

// found notes a reference, once.
func (t *terraformScan) found(r Reference) {
	if !t.seen[r.Span.Start] {
		t.seen[r.Span.Start] = true
		r.Format, r.Object, r.ContainerKind = Terraform, t.object, Other
		t.out.References = append(t.out.References, r)
	}
}

// embedded looks into a text with a manifest, a definition of tasks, or values,
// in YAML or JSON. What the text takes from variables is left out of it.
func (t *terraformScan) embedded(e *hclsyntax.TemplateExpr) {
	whole := t.span(e.Range())
	var text []byte
	derived := e.IsStringLiteral()
	if v, diags := e.Value(nil); derived && !diags.HasErrors() && v.Type() == cty.String {
		text = []byte(v.AsString())
	} else {
		// The bytes of a heredoc are its text. Variables become what says that
		// they are some, without moving anything.
		text, derived = bytes.Clone(t.data[whole.Start:whole.End]), false
		for _, part := range e.Parts {
			if _, literal := part.(*hclsyntax.LiteralValueExpr); literal {
				continue
			}
			r := t.span(part.Range())
			from, to := max(0, r.Start-whole.Start), min(len(text), r.End-whole.Start)
			for from > 0 && text[from] != '$' && text[from] != '%' {
				from--
			}
			for to < len(text) && text[to-1] != '}' {
				to++
			}
			for i := from; i < to; i++ {
				if text[i] != '\n' {
					text[i] = '$'
				}
			}
		}
		if i := bytes.IndexByte(text, '\n'); bytes.HasPrefix(text, []byte("<<")) && i >= 0 {
			begin := i + 1 // Behind <<EOT; the closing word goes, too.
			end := bytes.LastIndexByte(bytes.TrimRight(text, "\n"), '\n')
			if end < begin {
				return
			}
			copy(text[:begin], bytes.Repeat([]byte(" "), begin-1))
			text[begin-1] = '\n'
			text = text[:end]
		} else {
			text[0], text[len(text)-1] = ' ', ' ' // Its quotes.
		}
	}
	if !bytes.Contains(text, []byte("mage")) {
		return
	}
	root, err := parseYAML(text)
	if err != nil || root == nil || root.Kind == yaml.ScalarNode {
		if err != nil && imageKeyLine.Match(text) {
			t.gap(e, "a text with images is not valid YAML: "+clipReason(err.Error()))
		}
		return
	}
	var out Result
	w := &walker{
		document: &document{text: newPlaces(text), root: root}, format: Terraform, out: &out, object: t.object,
		seen: map[*yaml.Node]bool{},
	}
	w.walk(root, parent{})
	for _, r := range out.References {
		r.Derived = r.Derived || derived
		if derived {
			r.Split, r.Span = nil, whole
		} else {
			r.Split, r.Span = nil, t.places.span(whole.Start+r.Span.Start, whole.Start+r.Span.End)
		}
		if object := r.Object; object.Kind == "" {
			r.Object = t.object
		}
		r.Format = Terraform
		t.out.References = append(t.out.References, r)
	}
	for _, u := range out.Unscannable {
		if strings.Contains(u.Reason, "$$") { // What was put in above.
			u.Reason = "the reference is made of variables"
		}
		t.out.Unscannable = append(t.out.Unscannable, Unscannable{Line: whole.Line - 1 + max(u.Line, 1), Reason: u.Reason})
	}
}

// imageKeyLine is a key that names an image, in YAML or JSON.
var imageKeyLine = regexp.MustCompile(`(?m)[iI]mage"?[ \t]*:`)

func (t *terraformScan) gap(e hclsyntax.Expression, reason string) {
	t.out.Unscannable = append(t.out.Unscannable, Unscannable{Line: e.Range().Start.Line, Reason: reason})
}

// reference takes a string.
func (t *terraformScan) reference(e *hclsyntax.TemplateExpr, path string) {
	if !e.IsStringLiteral() {
		if len(e.Parts) > 0 && (t.sure || strings.Contains(path, "image")) {
			t.gap(e, "the reference is made of variables")
		}
		return
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String {
		return
	}
	text := v.AsString()
	if !isImage(text) || !t.sure && !tagged(text) {
		return
	}
	span := t.span(e.Parts[0].Range())
	t.found(Reference{
		Text: text, Span: span, Style: Double, Path: path, Derived: string(t.data[span.Start:span.End]) != text,
	})
}

// tagged reports whether a text is a reference with a tag or a digest, which
// few other things look like.
func tagged(text string) bool {
	ref, err := image.Parse(text)
	return err == nil && (ref.Tag() != "" || ref.Pinned())
}
