package manifest

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// quick parses the YAML that most manifests are written in, some ten times as
// fast as the decoder: block and flow collections, scalars on one line, block
// scalars. At the first thing that it does not know for certain it gives up,
// and the decoder has the document: anchors, tags, merge keys, scalars on
// several lines, tabs, templates, and everything that is an error. What it
// does accept must be the tree that the decoder makes, but for the text of
// block scalars, which is left out; FuzzQuick holds it.
type quick struct {
	s      string
	at     int // what is not read yet
	line   int // from 1
	start  int // where the line begins
	depth  int
	bad    bool
	chunks [][]yaml.Node
	used   int // of the nodes in chunks
	stack  []*yaml.Node
	kids   []*yaml.Node // what Content of all nodes is cut from
}

const (
	chunkSize = 256
	// maxQuickDepth keeps the stack small.
	maxQuickDepth = 200
	// maxChunks is how much is kept for the next document.
	maxChunks = 128
)

// parse reads one document. The nodes are good until the next call. ok is false
// if the document is not for this parser.
func (q *quick) parse(text string) (root *yaml.Node, ok bool) {
	if !simple(text) {
		return nil, false
	}
	if len(q.chunks) > maxChunks {
		q.chunks, q.kids = q.chunks[:maxChunks:maxChunks], nil
	}
	*q = quick{s: text, line: 1, chunks: q.chunks, stack: q.stack[:0], kids: q.kids[:0]}
	if strings.HasPrefix(text, "---") {
		q.at = 3
		if !q.restIsEmpty() {
			return nil, false
		}
		q.nextLine()
	}
	indent := q.content()
	if indent < 0 {
		return nil, false // Empty: what it means is left to the decoder.
	}
	root = q.block(indent, -1)
	if q.bad || q.content() >= 0 || root.Kind == yaml.ScalarNode {
		return nil, false
	}
	return root, true
}

// simple reports whether the characters are ones that mean the same everywhere.
func simple(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			ascii = false
		case c < 0x20 && c != '\n', c == 0x7f:
			return false
		}
	}
	if ascii {
		return true
	}
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return false
			}
		case r >= 0x80 && r < 0xA0, r == 0x2028, r == 0x2029, r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
			return false // Controls, line breaks of YAML 1.1, byte order marks.
		}
	}
	return true
}

func (q *quick) fail() *yaml.Node {
	q.bad = true
	return nil
}

func (q *quick) node(kind yaml.Kind, at int) *yaml.Node {
	i, j := q.used/chunkSize, q.used%chunkSize
	if i == len(q.chunks) {
		q.chunks = append(q.chunks, make([]yaml.Node, chunkSize))
	}
	q.used++
	n := &q.chunks[i][j]
	*n = yaml.Node{Kind: kind, Line: q.line, Column: 1 + utf8.RuneCountInString(q.s[q.start:at])}
	return n
}

// take gives a node the children on the stack above base.
func (q *quick) take(n *yaml.Node, base int) {
	from := len(q.kids)
	q.kids = append(q.kids, q.stack[base:]...)
	n.Content = q.kids[from:len(q.kids):len(q.kids)]
	q.stack = q.stack[:base]
}

// nextLine goes to the begin of the next line.
func (q *quick) nextLine() {
	if i := strings.IndexByte(q.s[q.at:], '\n'); i >= 0 {
		q.at += i + 1
		q.line++
	} else {
		q.at = len(q.s)
	}
	q.start = q.at
}

// content goes to the next line that is no comment and not empty, and returns
// how far it is indented: q.at is at its first character. It returns -1 at the
// end. q must be at the begin of a line, or at the content of one.
func (q *quick) content() int {
	if q.at > q.start {
		return q.at - q.start
	}
	for q.at < len(q.s) {
		i := q.at
		for i < len(q.s) && q.s[i] == ' ' {
			i++
		}
		if i < len(q.s) && q.s[i] != '\n' && q.s[i] != '#' {
			q.at = i
			return i - q.start
		}
		q.nextLine()
	}
	return -1
}

// restIsEmpty reports whether the line has nothing more than a comment.
func (q *quick) restIsEmpty() bool {
	i := q.at
	for i < len(q.s) && q.s[i] == ' ' {
		i++
	}
	return i == len(q.s) || q.s[i] == '\n' || q.s[i] == '#' && i > q.at
}

// note takes the comment at the end of the line.
func (q *quick) note(n *yaml.Node) {
	i := q.at
	for i < len(q.s) && q.s[i] == ' ' {
		i++
	}
	if i < len(q.s) && q.s[i] == '#' {
		end := strings.IndexByte(q.s[i:], '\n')
		if end < 0 {
			end = len(q.s) - i
		}
		n.LineComment = strings.TrimRight(q.s[i:i+end], " ")
	}
}

// dash reports whether a member of a sequence begins at i.
func (q *quick) dash(i int) bool {
	return i < len(q.s) && q.s[i] == '-' && (i+1 == len(q.s) || q.s[i+1] == ' ' || q.s[i+1] == '\n')
}

// block reads what stands at q.at, indented by indent, in a collection that is
// indented by outer.
func (q *quick) block(indent, outer int) *yaml.Node {
	if q.depth++; q.depth > maxQuickDepth {
		return q.fail()
	}
	defer func() { q.depth-- }()
	if q.dash(q.at) {
		return q.sequence(indent)
	}
	if q.s[q.at] == '{' || q.s[q.at] == '[' {
		return q.flowLine(outer)
	}
	if end, _ := q.key(); end >= 0 {
		return q.mapping(indent)
	}
	if q.bad {
		return nil
	}
	return q.inline(outer, "")
}

// sequence reads the members that begin at a column.
func (q *quick) sequence(indent int) *yaml.Node {
	n := q.node(yaml.SequenceNode, q.at)
	base := len(q.stack)
	for q.dash(q.at) && !q.bad {
		q.at++
		var item *yaml.Node
		if q.restIsEmpty() {
			item = q.below(indent, "", false)
		} else {
			for q.s[q.at] == ' ' {
				q.at++
			}
			item = q.block(q.at-q.start, indent)
		}
		if q.bad {
			return nil
		}
		q.stack = append(q.stack, item)
		switch next := q.content(); {
		case next > indent:
			return q.fail()
		case next < indent:
			q.take(n, base)
			return n
		}
	}
	q.take(n, base)
	return n
}

// mapping reads the keys that begin at a column.
func (q *quick) mapping(indent int) *yaml.Node {
	n := q.node(yaml.MappingNode, q.at)
	base := len(q.stack)
	for {
		end, name := q.key()
		if end < 0 {
			return q.fail()
		}
		k := q.node(yaml.ScalarNode, q.at)
		k.Value = name
		q.at = end
		var v *yaml.Node
		if q.restIsEmpty() {
			v = q.below(indent, name, true)
		} else {
			for q.s[q.at] == ' ' {
				q.at++
			}
			v = q.inline(indent, name)
		}
		if q.bad {
			return nil
		}
		q.stack = append(q.stack, k, v)
		switch next := q.content(); {
		case next > indent:
			return q.fail()
		case next < indent || q.dash(q.at):
			// A sequence at the same column is the value of a key, not a key.
			q.take(n, base)
			return n
		}
	}
}

// below reads what stands on the lines below a key or a dash, or null.
func (q *quick) below(indent int, name string, sameColumn bool) *yaml.Node {
	n := q.node(yaml.ScalarNode, q.at)
	n.Tag = nullTag
	if name != "" {
		q.note(n)
	}
	q.nextLine()
	next := q.content()
	switch {
	case next > indent:
		return q.block(next, indent)
	case next == indent && sameColumn && q.dash(q.at):
		if q.depth++; q.depth > maxQuickDepth {
			return q.fail()
		}
		defer func() { q.depth-- }()
		return q.sequence(next)
	}
	return n
}

const nullTag = "!!null"

// key finds the key at q.at. end is behind its colon, or -1 if there is none.
func (q *quick) key() (end int, name string) {
	const longest = 1000 // A key has up to 1024 characters.
	switch c := q.s[q.at]; c {
	case '"', '\'':
		value, after := q.quoted(q.at)
		if q.bad || after >= len(q.s) || q.s[after] != ':' {
			return -1, ""
		}
		if after+1 < len(q.s) && q.s[after+1] != ' ' && q.s[after+1] != '\n' || after-q.at > longest {
			q.bad = true
			return -1, ""
		}
		return after + 1, value
	default:
		if indicator[c] {
			if c != '-' || q.dash(q.at) {
				return -1, ""
			}
		}
	}
	for i := q.at; i < len(q.s); i++ {
		switch q.s[i] {
		case '\n':
			return -1, ""
		case '#':
			if q.s[i-1] == ' ' {
				return -1, ""
			}
		case ':':
			if i+1 < len(q.s) && q.s[i+1] != ' ' && q.s[i+1] != '\n' {
				continue
			}
			name = q.s[q.at:i]
			if name[len(name)-1] == ' ' || name == "<<" || i-q.at > longest {
				q.bad = true
				return -1, ""
			}
			return i + 1, name
		}
	}
	return -1, ""
}

// indicator has the characters that a plain scalar cannot begin with, or only
// sometimes.
var indicator = [256]bool{
	'-': true, '?': true, ':': true, ',': true, '[': true, ']': true, '{': true, '}': true, '#': true, '&': true,
	'*': true, '!': true, '|': true, '>': true, '\'': true, '"': true, '%': true, '@': true, '`': true,
}

// inline reads a value that begins on this line and ends with its line, or a
// block scalar or a flow collection.
func (q *quick) inline(indent int, name string) *yaml.Node {
	n := q.node(yaml.ScalarNode, q.at)
	switch c := q.s[q.at]; c {
	case '{', '[':
		return q.flowLine(indent)
	case '|', '>':
		return q.blockScalar(n, indent, name)
	case '"', '\'':
		value, after := q.quoted(q.at)
		if q.bad {
			return nil
		}
		n.Value, n.Style = value, yaml.DoubleQuotedStyle
		if c == '\'' {
			n.Style = yaml.SingleQuotedStyle
		}
		q.at = after
		if !q.restIsEmpty() {
			return q.fail()
		}
	default:
		if indicator[c] && (c != '-' || q.dash(q.at)) {
			return q.fail()
		}
		line := q.s[q.at:]
		if i := strings.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		line = strings.TrimRight(line, " ")
		if strings.Contains(line, ": ") || line[len(line)-1] == ':' {
			return q.fail()
		}
		q.plain(n, line)
		q.at += len(line)
	}
	q.note(n)
	q.nextLine()
	if q.content() > indent {
		return q.fail() // It goes on, or is an error.
	}
	return n
}

func (q *quick) plain(n *yaml.Node, text string) {
	n.Value = text
	switch text {
	case "~", "null", "Null", "NULL":
		n.Tag = nullTag
	}
}

// blockScalar passes over the text of | and >. A text of one line, which can be
// a reference, becomes the value; one of several lines is left out.
func (q *quick) blockScalar(n *yaml.Node, indent int, name string) *yaml.Node {
	n.Style = yaml.LiteralStyle
	if q.s[q.at] == '>' {
		n.Style = yaml.FoldedStyle
	}
	q.at++
	end := "\n"
	if q.at < len(q.s) && (q.s[q.at] == '-' || q.s[q.at] == '+') {
		if end = ""; q.s[q.at] == '+' {
			return q.fail() // The blank lines behind it count.
		}
		q.at++
	}
	if !q.restIsEmpty() {
		return q.fail()
	}
	q.nextLine()
	begun := q.at
	width, lines := -1, 0
	for q.at < len(q.s) {
		i := q.at
		for i < len(q.s) && q.s[i] == ' ' {
			i++
		}
		column := i - q.at
		switch {
		case i == len(q.s), q.s[i] == '\n':
			if width < 0 || column > width {
				return q.fail() // It is part of the text, or an error.
			}
		case width < 0 && column <= indent:
			return q.fail() // It is empty.
		case width < 0:
			width, lines, begun = column, 1, i
		case column >= width:
			lines++
		case column > indent:
			return q.fail()
		default:
			return q.blockEnds(n, lines, begun, end, name)
		}
		q.nextLine()
	}
	return q.blockEnds(n, lines, begun, end, name)
}

// blockEnds gives a block scalar its value, if it has one line, which begins at
// begun.
func (q *quick) blockEnds(n *yaml.Node, lines, begun int, end, name string) *yaml.Node {
	switch {
	case lines == 0, lines > 1 && (strings.Contains(name, "mage") || name == "dockerfile_inline"):
		return q.fail()
	case lines > 1:
		return n
	}
	line := q.s[begun:]
	i := strings.IndexByte(line, '\n')
	if i < 0 {
		i, end = len(line), ""
	}
	if n.Value = line[:i]; end != "" {
		n.Value += end
	}
	return n
}

// flowLine reads a flow collection, and the end of its last line.
func (q *quick) flowLine(indent int) *yaml.Node {
	n := q.flow(indent)
	if q.bad || !q.restIsEmpty() {
		return q.fail()
	}
	q.note(n)
	q.nextLine()
	if q.content() > indent && indent >= 0 {
		return q.fail()
	}
	return n
}

// space goes to the next character of a flow collection, on this line or one
// of the next.
func (q *quick) space(indent int) byte {
	for q.at < len(q.s) {
		switch q.s[q.at] {
		case ' ':
			q.at++
		case '\n':
			q.nextLine()
			next := q.content()
			if next >= 0 && next <= indent || strings.HasPrefix(q.s[q.start:], "---") || strings.HasPrefix(q.s[q.start:], "...") {
				q.bad = true
				return 0
			}
		case '#':
			q.bad = true
			return 0
		default:
			return q.s[q.at]
		}
	}
	q.bad = true
	return 0
}

// flow reads [ … ] or { … }.
func (q *quick) flow(indent int) *yaml.Node {
	if q.depth++; q.depth > maxQuickDepth {
		return q.fail()
	}
	defer func() { q.depth-- }()
	base := len(q.stack)
	isMap := q.s[q.at] == '{'
	kind, closing := yaml.SequenceNode, byte(']')
	if isMap {
		kind, closing = yaml.MappingNode, '}'
	}
	n := q.node(kind, q.at)
	n.Style = yaml.FlowStyle
	q.at++
	for !q.bad {
		c := q.space(indent)
		if q.bad {
			return nil
		}
		if c == closing {
			q.at++
			q.take(n, base)
			return n
		}
		if isMap {
			q.stack = append(q.stack, q.flowKey(indent))
			if q.bad {
				return nil
			}
			if c = q.space(indent); q.bad {
				return nil
			}
		}
		switch c {
		case '{', '[':
			q.stack = append(q.stack, q.flow(indent))
		default:
			q.stack = append(q.stack, q.flowScalar())
		}
		if q.bad {
			return nil
		}
		switch c = q.space(indent); {
		case q.bad:
			return nil
		case c == ',':
			q.at++
		case c != closing:
			return q.fail()
		}
	}
	return nil
}

// flowKey reads a key and its colon.
func (q *quick) flowKey(indent int) *yaml.Node {
	quoted := q.s[q.at] == '"' || q.s[q.at] == '\''
	line := q.line
	k := q.flowScalar()
	if q.bad || k.Value == "<<" || len(k.Value) > 1000 {
		return q.fail()
	}
	k.Tag = "" // Of a key only the text counts.
	if c := q.space(indent); q.bad || c != ':' || q.line != line {
		return q.fail()
	}
	q.at++
	if q.at < len(q.s) && q.s[q.at] != ' ' && q.s[q.at] != '\n' && !quoted {
		return q.fail()
	}
	if q.at < len(q.s) && q.s[q.at] == ':' {
		return q.fail()
	}
	return k
}

// flowScalar reads a scalar in a flow collection.
func (q *quick) flowScalar() *yaml.Node {
	n := q.node(yaml.ScalarNode, q.at)
	c := q.s[q.at]
	if c == '"' || c == '\'' {
		value, after := q.quoted(q.at)
		if q.bad {
			return nil
		}
		n.Value, n.Style = value, yaml.DoubleQuotedStyle
		if c == '\'' {
			n.Style = yaml.SingleQuotedStyle
		}
		q.at = after
		return n
	}
	if indicator[c] && (c != '-' || q.at+1 >= len(q.s) || strings.IndexByte(" \n,[]{}", q.s[q.at+1]) >= 0) {
		return q.fail()
	}
	i := q.at
	for ; i < len(q.s); i++ {
		switch q.s[i] {
		case ',', '[', ']', '{', '}', '\n':
		case '#':
			if q.s[i-1] == ' ' {
				return q.fail()
			}
			continue
		case ':':
			if i+1 < len(q.s) && strings.IndexByte(" \n,[]{}", q.s[i+1]) < 0 {
				continue
			}
		case '?':
			return q.fail()
		default:
			continue
		}
		break
	}
	if i == len(q.s) || q.s[i] == '\n' {
		// It may go on in the next line.
		rest := strings.TrimLeft(q.s[i:], " \n")
		if rest == "" || strings.IndexByte(",]}", rest[0]) < 0 {
			return q.fail()
		}
	}
	text := strings.TrimRight(q.s[q.at:i], " ")
	if text == "" {
		return q.fail()
	}
	q.plain(n, text)
	q.at += len(text)
	return n
}

// quoted reads a quoted scalar on one line, and returns its value and where it
// ends.
func (q *quick) quoted(at int) (value string, end int) {
	quote := q.s[at]
	escaped := false
	for i := at + 1; i < len(q.s); i++ {
		switch q.s[i] {
		case '\n':
			q.bad = true
			return "", 0
		case '\\':
			if quote == '"' {
				escaped = true
				i++
				if i == len(q.s) || q.s[i] == '\n' {
					q.bad = true
					return "", 0
				}
			}
		case quote:
			if quote == '\'' && i+1 < len(q.s) && q.s[i+1] == '\'' {
				escaped = true
				i++
				continue
			}
			value = q.s[at+1 : i]
			if escaped {
				value = q.unescape(value, quote)
			}
			return value, i + 1
		}
	}
	q.bad = true
	return "", 0
}

// unescape knows the escapes that are in use; the decoder knows all.
func (q *quick) unescape(s string, quote byte) string {
	if quote == '\'' {
		return strings.ReplaceAll(s, "''", "'")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '"', '\\', '/':
			b.WriteByte(s[i])
		default:
			q.bad = true
			return ""
		}
	}
	return b.String()
}
