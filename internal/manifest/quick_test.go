package manifest

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// sameTree compares a tree of the quick parser with one of the decoder, and
// returns what differs first.
func sameTree(q, d *yaml.Node, path string) string {
	block := q.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case q.Kind != d.Kind:
		return fmt.Sprintf("%s: kind %d, want %d", path, q.Kind, d.Kind)
	case q.Kind == yaml.ScalarNode && (!block || q.Value != "") && q.Value != d.Value && d.Tag != nullTag:
		return fmt.Sprintf("%s: value %q, want %q", path, q.Value, d.Value)
	case block != (d.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0):
		return fmt.Sprintf("%s: style %d, want %d", path, q.Style, d.Style)
	case len(q.Content) != len(d.Content):
		return fmt.Sprintf("%s: %d children, want %d", path, len(q.Content), len(d.Content))
	case d.Tag != nullTag && q.Kind == yaml.ScalarNode && (q.Line != d.Line || q.Column != d.Column):
		return fmt.Sprintf("%s: at %d:%d, want %d:%d", path, q.Line, q.Column, d.Line, d.Column)
	case d.Anchor != "" || d.Kind == yaml.AliasNode:
		return path + ": an anchor or alias"
	}
	for i := range q.Content {
		isKey := q.Kind == yaml.MappingNode && i%2 == 0
		if !isKey && (q.Content[i].Tag == nullTag) != (d.Content[i].Tag == nullTag) {
			return fmt.Sprintf("%s[%d]: tag %q, want %q", path, i, q.Content[i].Tag, d.Content[i].Tag)
		}
		if diff := sameTree(q.Content[i], d.Content[i], fmt.Sprintf("%s[%d]", path, i)); diff != "" {
			return diff
		}
	}
	return ""
}

func checkQuick(t *testing.T, text string) (accepted bool) {
	t.Helper()
	var q quick
	root, ok := q.parse(text)
	if !ok {
		return false
	}
	want, err := parseYAML([]byte(text))
	if err != nil {
		t.Fatalf("accepted what is no YAML: %v\n%s", err, text)
	}
	if want == nil {
		t.Fatalf("found something in an empty document:\n%s", text)
	}
	if diff := sameTree(root, want, ""); diff != "" {
		t.Fatalf("%s\n%s", diff, text)
	}
	return true
}

// quickCases are documents, and whether the quick parser takes them.
var quickCases = []struct {
	text string
	want bool
}{
	{"a: 1", true},
	{"a: 1\nb:\n  c: d # e\n", true},
	{"---\na: b\n", true},
	{"--- # x\na: b\n", true},
	{"# c\n\na:\n- b\n- c: d\n  e: f\n-\n  g: h\n- - i\n  - j\n", true},
	{"a:\n  - b\n  -   c: d\n      e: f\n", true},
	{"a:\n# between\n  - b\n", true},
	{"a:\nb: ~\nc: null\nd:  # nothing\n", true},
	{"a: 'it''s'\nb: \"x\\ty\\n\"\n\"c d\": e\n'f': g\n", true},
	{"a: {b: c, \"d\":e, f: [g, 'h', {i: j}], k: []}\n", true},
	{"{\"a\":\"b\",\n\"c\":[1,\n2]\n}\n", true},
	{"a: [b,\n  c]\n", true},
	{"a: |\n  x\n  y: {{ z }}\n\n  w\nb: >-\n  c\n  d\n", true},
	{"a:\n- |\n  x\n  y\n- b\n", true},
	{"a: http://x:1/y#z\nb: -1\nc: --d=e\nf: a?b\n", true},
	{"a: ä\nü: b\n", true},
	{"a b: c\n", true},
	{"a:\n  \"b\"\n", true},
	{"- a\n- b", true},

	// For the decoder.
	{"a: &b c\nd: *b\n", false},
	{"a: !!str b\n", false},
	{"<<: {a: b}\n", false},
	{"a: b\n  c\n", false},
	{"a: \"b\n  c\"\n", false},
	{"a:\tb\n", false},
	{"a: b\r\n", false},
	{"a: {{ b }}\n", false},
	{"a: b: c\n", false},
	{"a: b:\n", false},
	{"a: |\n  x\n", true},
	{"image: >-\n  x:1\nb: c\n", true},
	{"image: |\n  x:1  \n\n\nb: c\n", true},
	{"- >-\n  x", true},
	{"a: |\n  x", true},
	{"a: |\n  x\n   \n", false},
	{"a: |\n\n  x\n", false},
	{"a: |+\n  x\n\n", false},
	{"a: |\nb: c\n", false},
	{"image: |\n  x\n  y\n", false},
	{"a: |2\n  x\n  y\n", false},
	{"a:\n   b: c\n  d: e\n", false},
	{"a: [b, c\n", false},
	{"a: {b: c}}\n", false},
	{"a: @b\n", false},
	{"? a\n: b\n", false},
	{"%YAML 1.2\n---\na: b\n", false},
	{"", false},
	{"# only\n", false},
	{"a: \"\\x41\"\n", false},
	{"a: b\n...\n", false},
	{"...", false},
	{"text", false},
	{"a: \"b\" c\n", false},
	{"a: {b: c}: d\n", false},
	{"a: [b]c\n", false},
	{"a:\n  b: 1\n- c\n", false},
	{strings.Repeat("[", 300) + strings.Repeat("]", 300), false},
	{strings.Repeat("- ", 300) + "a", false},
}

func TestQuick(t *testing.T) {
	t.Parallel()
	for _, tc := range quickCases {
		if got := checkQuick(t, tc.text); got != tc.want {
			t.Errorf("taken: %v, want %v:\n%s", got, tc.want, tc.text)
		}
	}
}

// TestQuickAgain: what a document leaves behind is no part of the next.
func TestQuickAgain(t *testing.T) {
	t.Parallel()
	var q quick
	for _, tc := range quickCases {
		root, ok := q.parse(tc.text)
		if ok != tc.want {
			t.Fatalf("taken: %v, want %v:\n%s", ok, tc.want, tc.text)
		}
		if want, err := parseYAML([]byte(tc.text)); ok && err == nil {
			if diff := sameTree(root, want, ""); diff != "" {
				t.Errorf("%s\n%s", diff, tc.text)
			}
		}
	}
}

func FuzzQuick(f *testing.F) {
	for _, tc := range quickCases {
		f.Add(tc.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) < 4000 {
			checkQuick(t, text)
		}
	})
}
