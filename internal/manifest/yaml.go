package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// A document is one YAML document of a file.
type document struct {
	text *places
	// base is where the document begins in the file.
	base int
	root *yaml.Node
	// aliases is whether a node can be met twice.
	aliases bool
}

// documents parses the documents of a YAML stream one by one, so that one that
// cannot be read costs no other. "---" at the begin of a line ends a document
// wherever it stands (YAML 1.2, 9.1.2). A document without any of the words is
// passed over.
func (f *Finder) documents(s *places, words []string, each func(document), bad func(line int, text []byte, err error)) {
	for start, end := range bounds(s.data) {
		text := s.data[start:end]
		if containsAny(text, words) {
			root, quick := f.quick.parse(string(text))
			var err error
			if !quick {
				root, err = parseYAML(text)
			}
			switch {
			case err != nil:
				bad(s.line(start), text, err)
			case root != nil:
				each(document{text: s, base: start, root: root, aliases: !quick})
			}
		}
	}
}

// bounds are where the documents of a stream begin and end.
func bounds(data []byte) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		start := 0
		if bytes.HasPrefix(data, bom) {
			start = len(bom)
		}
		for start < len(data) {
			end := start + oneJSON(data[start:])
			for at := start; end == start; {
				i := bytes.Index(data[at:], []byte("\n---"))
				if i < 0 {
					end = len(data)
					break
				}
				at += i + 1
				if isMarker(data[at:]) {
					end = at
				}
			}
			if !yield(start, end) {
				return
			}
			start = end
		}
	}
}

// oneJSON is the length of the JSON object that data begins with, where another
// one follows it, as kubectl takes them and "jq -c" writes them; else 0.
func oneJSON(data []byte) int {
	const space = " \t\r\n"
	depth, quoted := 0, false
	for i := len(data) - len(bytes.TrimLeft(data, space)); i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			depth--
		case c == '\n' && isMarker(data[i+1:]):
			return 0
		}
		if depth > 0 {
			continue
		}
		if data[i] == '}' && bytes.HasPrefix(bytes.TrimLeft(data[i+1:], space), []byte("{")) {
			return i + 1
		}
		return 0 // No object, or the last one.
	}
	return 0
}

// isMarker reports whether a line begins a document.
func isMarker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || line[3] == '\n' || line[3] == '\r' || line[3] == ' ' || line[3] == '\t')
}

// parseYAML reads one document. The decoder takes time and memory for what it
// is given; whoever calls bounds that.
func parseYAML(text []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("the YAML decoder failed: %v", p)
		}
	}()
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0], nil
	}
	return nil, nil //nolint:nilnil // An empty document.
}

// offset is where a node begins in the file: its column counts characters.
func (d *document) offset(n *yaml.Node) (int, error) {
	start := d.base
	line := d.text.line(d.base)
	if n.Line > 1 {
		at, ok := d.text.lineStart(line + n.Line - 1)
		if !ok {
			return 0, errOutside
		}
		start = at
	}
	for range n.Column - 1 {
		if start >= len(d.text.data) {
			return 0, errOutside
		}
		_, size := utf8.DecodeRune(d.text.data[start:])
		start += size
	}
	return start, nil
}

var (
	errOutside = errors.New("its place in the file is not certain")
	errWritten = errors.New("it is written with escapes or on several lines")
)

// scalar finds the bytes of a scalar's value: without quotes, anchor and tag.
// It looks before it trusts the decoder's positions: the bytes found must be
// the value. With errWritten they are where it stands, written otherwise.
func (d *document) scalar(n *yaml.Node) (Span, Style, error) {
	at, err := d.offset(n)
	if err != nil {
		return Span{}, Plain, err
	}
	data := d.text.data
	// The position of an anchored or tagged value is that of its anchor or tag.
	for at < len(data) && (data[at] == '&' || data[at] == '!') {
		for at < len(data) && data[at] != ' ' && data[at] != '\t' && data[at] != '\n' {
			at++
		}
		for at < len(data) && (data[at] == ' ' || data[at] == '\t' || data[at] == '\r' || data[at] == '\n') {
			at++
		}
	}
	if at >= len(data) {
		return Span{}, Plain, errOutside
	}
	switch {
	case data[at] == '\'' || data[at] == '"':
		quote := data[at]
		end := at + 1
		for ; end < len(data) && data[end] != quote; end++ {
			if quote == '"' && data[end] == '\\' {
				end++
			}
		}
		style := Double
		if quote == '\'' {
			style = Single
		}
		if end >= len(data) {
			return Span{}, style, errOutside
		}
		if string(data[at+1:end]) != n.Value {
			return d.text.span(at+1, end), style, errWritten
		}
		return d.text.span(at+1, end), style, nil
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		value := strings.TrimRight(n.Value, "\n")
		head := at
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return Span{}, Block, errOutside
		}
		at += i + 1
		for at < len(data) && (data[at] == ' ' || data[at] == '\n' || data[at] == '\r') {
			at++
		}
		if strings.Contains(value, "\n") || !bytes.HasPrefix(data[at:], []byte(value)) {
			return d.text.span(head, head+i), Block, errWritten
		}
		return d.text.span(at, at+len(value)), Block, nil
	case !bytes.HasPrefix(data[at:], []byte(n.Value)):
		return Span{}, Plain, errOutside
	}
	return d.text.span(at, at+len(n.Value)), Plain, nil
}

// comment is the comment behind a value on its line.
func comment(n *yaml.Node) string {
	return strings.TrimSpace(strings.TrimPrefix(n.LineComment, "#"))
}

// value returns the value of a key of a mapping, through aliases and merge
// keys, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	most := 1000 // A few lines of merge keys can stand for billions.
	return merged(n, key, &most, false)
}

func merged(n *yaml.Node, key string, most *int, below bool) *yaml.Node {
	if n = resolved(n); n == nil || *most == 0 {
		return nil
	}
	*most--
	if n.Kind == yaml.SequenceNode && below { // << can have several.
		for _, item := range n.Content {
			if v := merged(item, key, most, true); v != nil {
				return v
			}
		}
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	merge := (*yaml.Node)(nil)
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case key:
			return resolved(n.Content[i+1])
		case "<<":
			merge = n.Content[i+1]
		}
	}
	if merge == nil {
		return nil
	}
	return merged(merge, key, most, true)
}

// text is the value of a key that is a string, or "".
func text(n *yaml.Node, key string) string {
	if v := value(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// resolved is what an alias stands for.
func resolved(n *yaml.Node) *yaml.Node {
	for range 8 {
		if n == nil || n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return nil
}
