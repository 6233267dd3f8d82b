package manifest

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/tagwarden/tagwarden/image"
)

// containerResources are the beginnings of the types of Terraform resources
// whose images are those of containers. Elsewhere an "image" is mostly that of
// a virtual machine.
var containerResources = []string{
	"kubernetes_", "kubectl_", "aws_ecs_", "aws_batch_", "aws_apprunner_", "aws_lambda_", "aws_sagemaker_", "google_cloud_run",
	"google_cloudbuild_", "azurerm_container_", "docker_", "nomad_", "podman_", "helm_release", "digitalocean_app",
}

// imageFields are the fields that have a reference, beside those that end with
// _image.
var imageFields = map[string]bool{"image": true, "image_uri": true, "image_identifier": true, "container_image": true}

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
	t := &terraformScan{data: data, places: newPlaces(data), out: &out}
	for _, b := range body.Blocks {
		t.top(b)
	}
	return out
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
}

// top looks at a block of the file.
func (t *terraformScan) top(b *hclsyntax.Block) {
	t.object = Object{Kind: b.Type, Name: strings.Join(b.Labels, ".")}
	t.path, t.sure = "", false
	switch {
	case b.Type == "variable" && len(b.Labels) == 1 && strings.Contains(b.Labels[0], "image"):
		if a := b.Body.Attributes["default"]; a != nil {
			t.expression(a.Expr, "default", true)
		}
	case b.Type == "module", b.Type == "locals":
		t.body(b.Body)
	case (b.Type == "resource" || b.Type == "data") && len(b.Labels) == 2:
		for _, prefix := range containerResources {
			if strings.HasPrefix(b.Labels[0], prefix) {
				t.sure = true
				t.body(b.Body)
				// The images of the Docker provider are called name.
				if a := b.Body.Attributes["name"]; a != nil && (b.Labels[0] == "docker_image" || b.Labels[0] == "docker_registry_image") {
					t.expression(a.Expr, "name", true)
				}
				return
			}
		}
	}
}

func (t *terraformScan) body(b *hclsyntax.Body) {
	const deepest = 100
	if t.depth++; t.depth > deepest {
		return
	}
	defer func() { t.depth-- }()
	for name, a := range b.Attributes {
		t.expression(a.Expr, join(t.path, name), isImageField(name))
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

func isImageField(name string) bool { return imageFields[name] || strings.HasSuffix(name, "_image") }

// expression looks for references in a value; isImage says that it should be
// one itself.
func (t *terraformScan) expression(e hclsyntax.Expression, path string, isRef bool) {
	switch e := e.(type) {
	case *hclsyntax.TemplateWrapExpr:
		if isRef {
			t.gap(e, "the reference comes from a variable")
		}
	case *hclsyntax.TemplateExpr:
		if isRef {
			t.reference(e, path)
		}
	case *hclsyntax.ScopeTraversalExpr:
		if isRef && t.sure && len(e.Traversal) > 0 && e.Traversal.RootName() != "docker_image" {
			t.gap(e, "the reference comes from a variable")
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
			name := hcl.ExprAsKeyword(item.KeyExpr)
			if key, diags := item.KeyExpr.Value(nil); name == "" && !diags.HasErrors() && key.Type() == cty.String && key.IsKnown() && !key.IsNull() {
				name = key.AsString()
			}
			t.expression(item.ValueExpr, join(path, name), isImageField(name))
		}
	case *hclsyntax.FunctionCallExpr:
		for _, arg := range e.Args {
			t.expression(arg, path, false)
		}
	case *hclsyntax.ForExpr:
		t.expression(e.ValExpr, path, false)
	}
}

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
	r := e.Parts[0].Range()
	start, end := r.Start.Byte, r.End.Byte
	if start < 0 || end > len(t.data) || string(t.data[start:end]) != text {
		t.gap(e, "image reference "+clip(text)+": it is written with escapes")
		return
	}
	t.out.References = append(t.out.References, Reference{
		Text: text, Span: t.places.span(start, end), Style: Double, Format: Terraform, Object: t.object,
		ContainerKind: Other, Path: path,
	})
}

// tagged reports whether a text is a reference with a tag or a digest, which
// few other things look like.
func tagged(text string) bool {
	ref, err := image.Parse(text)
	return err == nil && (ref.Tag() != "" || ref.Pinned())
}
