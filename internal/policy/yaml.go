package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxErrors is how many errors are told of one file.
const maxErrors = 100

// A reader walks the nodes of one policy file and collects all that is wrong,
// each thing where it stands. It reads no further into a value that is wrong.
type reader struct {
	file string
	now  time.Time
	errs Errors
	more bool // than maxErrors were found
	// maxDays is how far ahead exceptions may end.
	maxDays int

	endLine, endColumn int // the position after the last character
}

// A field is a key that a mapping may have, and how its value is read.
type field struct {
	key  string
	read func(n *yaml.Node, path string)
}

func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	r.failAt(n.Line, n.Column, path, format, args...)
}

func (r *reader) failAt(line, column int, path, format string, args ...any) {
	if len(r.errs) == maxErrors {
		r.more = true
		return
	}
	r.errs = append(r.errs, &Error{
		File: r.file, Line: max(line, 1), Column: max(column, 1), Path: path,
		Message: fmt.Sprintf(format, args...),
	})
}

// err returns what was found to be wrong, in the order of the file.
func (r *reader) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	r.errs.sort()
	if r.more {
		last := *r.errs[len(r.errs)-1]
		last.Path, last.Message = "", "there are more errors, mend these first"
		r.errs = append(r.errs, &last)
	}
	return r.errs
}

// document returns the value of the one document in data, or nil if there is
// none or it is not valid; the errors know which of the two.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > maxSize {
		r.failAt(1, 1, "", "the file is larger than %d bytes", maxSize)
		return nil
	}
	if !r.readable(data) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); err != nil {
		if !errors.Is(err, io.EOF) {
			r.syntax(err)
		}
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		r.fail(&second, "", "a second document starts here, a policy is one document")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	root := first.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil // only comments, or a lone "---"
	}
	return root
}

// readable reports whether data is text as YAML wants it. The YAML reader
// refuses other text too, without saying where.
func (r *reader) readable(data []byte) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			r.failAt(line, column, "", "the file is not UTF-8 text")
			return false
		case c == '\n', c == '\u2028', c == '\u2029', c == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")):
			line, column = line+1, 0 // these end a line in YAML
		case c == '\uFEFF' && i == 0:
			column = 0
		case unicode.IsControl(c) && c != '\t' && c != '\r', c == '\uFEFF', c == '\uFFFE', c == '\uFFFF':
			r.failAt(line, column, "", "the character %U cannot stand in a policy", c)
			return false
		}
		i += size
		column++
	}
	r.endLine, r.endColumn = line, column
	return true
}

func (r *reader) syntax(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		r.failAt(1, 1, "", "not valid YAML: %v", err)
		return
	}
	line, column, message := at.Mark.Line, at.Mark.Column, at.Message
	if context := at.ContextMark; at.ContextMsg != "" {
		message += " (" + at.ContextMsg
		if context.Line > 0 && context != at.Mark {
			message += fmt.Sprintf(" that starts at %d:%d", context.Line, context.Column)
		}
		message += ")"
	}
	if line > r.endLine {
		line, column = r.endLine, r.endColumn // the file ends too early, and without a newline
	}
	r.failAt(line, column, "", "not valid YAML: %s", message)
}

// mapping reads the fields of n and returns the nodes of the keys that n has,
// or nil if n is no mapping. A misspelt key counts as the one that was meant,
// so that it is not called missing as well.
func (r *reader) mapping(n *yaml.Node, path string, fields ...field) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "found %s, expected a mapping with the keys %s", describe(n), strings.Join(keys(fields), ", "))
		return nil
	}
	seen, meant := make(map[string]*yaml.Node, len(fields)), map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			if key.ShortTag() == "!!merge" {
				r.fail(key, path, "merge keys (<<) are not read here, write the keys out")
			} else {
				r.fail(key, path, "found %s for a key, expected one of %s", describe(key), strings.Join(keys(fields), ", "))
			}
			continue
		}
		at := join(path, key.Value)
		if first, ok := seen[key.Value]; ok {
			r.fail(key, at, "the key is here twice, first on line %d", first.Line)
			continue
		}
		seen[key.Value] = key
		if f := find(fields, key.Value); f != nil {
			f.read(value, at)
			continue
		}
		r.fail(key, at, "unknown key%s", instead(key.Value, keys(fields)))
		if word, ok := nearest(key.Value, keys(fields)); ok {
			meant[word] = key
		}
	}
	for word, key := range meant {
		if seen[word] == nil {
			seen[word] = key
		}
	}
	return seen
}

func find(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

func keys(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

func join(path, key string) string {
	if strings.Trim(key, upper+lower+digits+"-_") != "" || key == "" {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// sequence calls read for each item of n, and reports whether n is a sequence.
func (r *reader) sequence(n *yaml.Node, path string, read func(n *yaml.Node, path string)) bool {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, path, "found %s, expected a list%s", describe(n), emptyList(n))
		return false
	}
	for i, item := range n.Content {
		read(item, fmt.Sprintf("%s[%d]", path, i))
	}
	return true
}

func emptyList(n *yaml.Node) string {
	if n.ShortTag() == "!!null" {
		return " ([] is the empty one)"
	}
	return ""
}

// text returns the text of n on one line, and false if n is not text or there
// is none. What YAML takes for a number or a date must be in quotes.
func (r *reader) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		r.fail(n, path, "found %s, expected text", describe(n))
		return "", false
	}
	if n.ShortTag() != "!!str" {
		r.fail(n, path, "found %s, expected text, write %q", describe(n), n.Value)
		return "", false
	}
	s := strings.Join(strings.Fields(n.Value), " ")
	if s == "" {
		r.fail(n, path, "found nothing, expected text")
		return "", false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			r.fail(n, path, "the character %U cannot be printed, leave it out", c)
			return "", false
		}
	}
	return s, true
}

// choice returns the text of n if it is one of words.
func (r *reader) choice(n *yaml.Node, path string, words ...string) (string, bool) {
	s, ok := r.text(n, path)
	if !ok {
		return "", false
	}
	if slices.Contains(words, s) {
		return s, true
	}
	r.fail(n, path, "unknown value %s%s", quote(s), instead(s, words))
	return "", false
}

// describe says what n is, in the words of people.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + n.Value + "; aliases are not read here, write the value out)"
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "nothing"
	case "!!str":
		return "the text " + quote(n.Value)
	case "!!bool":
		return "the truth value " + quote(n.Value)
	case "!!int", "!!float":
		return "the number " + quote(n.Value)
	case "!!timestamp":
		return "the date " + quote(n.Value)
	default:
		return "a value with the tag " + quote(tag)
	}
}
