package export

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// mark begins every file that was written here, behind the comment sign of its
// format. A file without it is somebody else's.
const mark = "Written by tagwarden export"

// An entry is one key of an object; objects keep the order in which they are
// written.
type entry struct {
	key   string
	value any
}

type object []entry

// node makes the YAML of a value. Texts of several lines are written in blocks.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case object:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, e := range v {
			n.Content = append(n.Content, node(e.key), node(e.value))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			n.Content = append(n.Content, node(e))
		}
		return n
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, e := range v {
			n.Content = append(n.Content, node(e))
		}
		return n
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if strings.Contains(v, "\n") {
			n.Style = yaml.LiteralStyle
		}
		return n
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)}
	}
	panic(fmt.Sprintf("export: no YAML for %T", v)) // The types are those of this package.
}

// document writes values as documents of one file, with a comment at its head.
func document[T any](head string, values ...T) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(head)
	for i, v := range values {
		if i > 0 {
			b.WriteString("---\n")
		}
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(node(v)); err != nil {
			return nil, err
		}
		if err := e.Close(); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// width is that of comments.
const width = 78

// comment is the head of a file: what it is, and what the engine does not do.
func comment(what string, notes []string) string {
	var b strings.Builder
	line := func(text, first, next string) {
		for text != "" {
			cut := len(text)
			if len(first)+cut > width {
				if cut = strings.LastIndexByte(text[:width-len(first)+1], ' '); cut < 0 {
					if cut = strings.IndexByte(text, ' '); cut < 0 {
						cut = len(text)
					}
				}
			}
			b.WriteString(strings.TrimRight(first+text[:cut], " ") + "\n")
			text, first = strings.TrimLeft(text[cut:], " "), next
		}
	}
	line(mark+". "+what, "# ", "# ")
	if len(notes) > 0 {
		b.WriteString("#\n")
		line("What the policy says and this does not do, or in another way:", "# ", "# ")
		for _, n := range notes {
			line(n, "# - ", "#   ")
		}
	}
	return b.String()
}
