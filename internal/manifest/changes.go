package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v4"
)

// A Change is a value that differs between two texts of a file, as its parser
// reads them.
type Change struct {
	// Path leads to the value from the top of its document.
	Path          string
	Before, After string
	// Added is set for a key that was not there before, with a value.
	Added bool
}

// Changes parses two texts of a file and lists the values that differ. Comments
// and the way in which values are written are no values. The error says that the
// texts differ in more than values: in structure, or where nothing can be parsed.
// Of a Dockerfile only that can be told; its values are those that Find gives.
func (f *Finder) Changes(format Format, before, after []byte) ([]Change, error) {
	switch format {
	case Dockerfile:
		if n, m := bytes.Count(before, newline), bytes.Count(after, newline); n != m {
			return nil, fmt.Errorf("it had %d lines and has %d", n, m)
		}
		return nil, nil
	case Terraform:
		return terraformChanges(before, after)
	}
	one, err := parts(format, before)
	if err != nil {
		return nil, err
	}
	two, err := parts(format, after)
	if err != nil {
		return nil, err
	}
	if len(one) != len(two) {
		return nil, fmt.Errorf("it had %d documents and has %d", len(one), len(two))
	}
	var all []Change
	for i := range one {
		if bytes.Equal(one[i], two[i]) {
			continue
		}
		found, err := f.documentChanges(one[i], two[i])
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// parts are the documents of a text, as Find takes them.
func parts(format Format, data []byte) ([][]byte, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("larger than %d MiB", MaxSize>>20)
	}
	var all [][]byte
	text := readable(format, data)
	for start, end := range bounds(text) {
		all = append(all, text[start:end])
	}
	return all, nil
}

func (f *Finder) documentChanges(before, after []byte) ([]Change, error) {
	one, quick := f.quick.parse(string(before))
	two, quickToo := f.after.parse(string(after))
	if quick && quickToo {
		c := &comparison{}
		if c.compare(one, two, 0); c.err == nil && !c.blocks {
			return c.changes, nil
		}
	}
	// Whatever is not certain, the decoder decides.
	one, err := parseYAML(before)
	if err != nil {
		return nil, fmt.Errorf("it was not valid YAML: %w", err)
	}
	if two, err = parseYAML(after); err != nil {
		return nil, fmt.Errorf("it is no longer valid YAML: %w", err)
	}
	c := &comparison{}
	c.compare(one, two, 0)
	return c.changes, c.err
}

// maxDepth is how deep a document is compared. The decoder takes no deeper one.
const maxDepth = 20_000

// A comparison walks two trees side by side.
type comparison struct {
	trail
	changes []Change
	// blocks is set when a block scalar was met, whose text the quick parser
	// leaves out.
	blocks bool
	err    error
}

func (c *comparison) fail(reason string) {
	if c.err == nil {
		c.err = errors.New(c.path() + ": " + reason)
	}
}

func (c *comparison) compare(a, b *yaml.Node, depth int) {
	switch {
	case c.err != nil:
	case a == nil || b == nil:
		if a != b {
			c.fail("a document became empty, or is no longer")
		}
	case depth > maxDepth:
		c.fail("nested too deeply to compare")
	case a.Kind != b.Kind, a.Anchor != b.Anchor, a.Kind == yaml.AliasNode && a.Value != b.Value:
		c.fail("the structure changed")
	case a.Kind == yaml.ScalarNode:
		c.blocks = c.blocks || (a.Style|b.Style)&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
		if a.Value != b.Value {
			c.changes = append(c.changes, Change{Path: c.path(), Before: a.Value, After: b.Value})
		} else if a.Tag != b.Tag {
			c.fail("the type changed")
		}
	case a.Kind == yaml.MappingNode:
		c.mappings(a, b, depth)
	case len(a.Content) != len(b.Content):
		c.fail("a member came or went")
	default:
		for i := range a.Content {
			c.push(pathStep{index: i})
			c.compare(a.Content[i], b.Content[i], depth+1)
			c.pop()
		}
	}
}

// mappings compares key by key. The second may have more keys, with scalars.
func (c *comparison) mappings(a, b *yaml.Node, depth int) {
	i := 0
	for j := 0; j+1 < len(b.Content) && c.err == nil; j += 2 {
		key, value := b.Content[j], b.Content[j+1]
		left := len(a.Content) - i
		switch {
		case left > 1 && (key.Value == a.Content[i].Value || left == len(b.Content)-j):
			// With as many left on both sides, a key that differs was changed: the
			// name of a feature of a devcontainer is its reference.
			c.compare(a.Content[i], key, depth+1)
			c.push(pathStep{key: key.Value})
			c.compare(a.Content[i+1], value, depth+1)
			c.pop()
			i += 2
		case value.Kind == yaml.ScalarNode && key.Kind == yaml.ScalarNode:
			c.push(pathStep{key: key.Value})
			c.changes = append(c.changes, Change{Path: c.path(), After: value.Value, Added: true})
			c.pop()
		default:
			c.fail("the structure changed")
		}
	}
	if i != len(a.Content) {
		c.fail("a key went")
	}
}

// terraformChanges compares token by token.
func terraformChanges(before, after []byte) ([]Change, error) {
	one, _ := hclsyntax.LexConfig(before, "", hcl.InitialPos) // Find reports what cannot be parsed.
	two, diags := hclsyntax.LexConfig(after, "", hcl.InitialPos)
	if diags.HasErrors() {
		return nil, errors.New("it is no longer valid HCL: " + clipReason(diags[0].Summary))
	}
	if len(one) != len(two) {
		return nil, fmt.Errorf("it had %d tokens and has %d", len(one), len(two))
	}
	var all []Change
	for i := range one {
		a, b := &one[i], &two[i]
		if bytes.Equal(a.Bytes, b.Bytes) && a.Type == b.Type {
			continue
		}
		line := strconv.Itoa(a.Range.Start.Line)
		if a.Type != hclsyntax.TokenQuotedLit || b.Type != hclsyntax.TokenQuotedLit {
			return nil, errors.New("line " + line + ": more than a text in quotes changed")
		}
		all = append(all, Change{Path: "line " + line, Before: string(a.Bytes), After: string(b.Bytes)})
	}
	return all, nil
}
