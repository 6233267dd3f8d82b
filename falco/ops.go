package falco

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// maxConstant is the length of the longest constant, in bytes.
const maxConstant = 255

func checkConstant(t Type, text string) error {
	switch {
	case len(text) > maxConstant:
		return fmt.Errorf("filter parameter too long: %d bytes instead of at most %d", len(text), maxConstant)
	case t != Bytes && strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("filter value cannot contain a NUL byte")
	}
	return nil
}

// newTest makes the question that op asks of a value of type t.
func newTest(t Type, op, text string) (func(Value) bool, error) {
	if err := checkConstant(t, text); err != nil {
		return nil, err
	}
	switch {
	case t.isString() || t == Bytes:
		return stringTest(op, text)
	case t == IPAddr:
		return addrTest(op, text)
	case t == IPNet:
		return netTest(op, text)
	case t == Bool:
		return boolTest(op, text)
	}
	return numberTest(t, op, text)
}

func stringTest(op, text string) (func(Value) bool, error) {
	switch op {
	case "=":
		return func(v Value) bool { return v.str == text }, nil
	case "!=":
		return func(v Value) bool { return v.str != text }, nil
	case "<":
		return func(v Value) bool { return v.str < text }, nil
	case "<=":
		return func(v Value) bool { return v.str <= text }, nil
	case ">":
		return func(v Value) bool { return v.str > text }, nil
	case ">=":
		return func(v Value) bool { return v.str >= text }, nil
	case "contains":
		return func(v Value) bool { return strings.Contains(v.str, text) }, nil
	case "icontains":
		return func(v Value) bool { return containsFold(v.str, text) }, nil
	case "startswith":
		return func(v Value) bool { return strings.HasPrefix(v.str, text) }, nil
	case "endswith":
		return func(v Value) bool { return strings.HasSuffix(v.str, text) }, nil
	case "glob":
		return func(v Value) bool { return fnmatch(text, v.str, false) }, nil
	case "iglob":
		return func(v Value) bool { return fnmatch(text, v.str, true) }, nil
	case "regex":
		re, err := fullPOSIX(text)
		if err != nil {
			return nil, fmt.Errorf("invalid regex pattern: %w", err)
		}
		return func(v Value) bool { return re.MatchString(validUTF8(v.str)) }, nil
	case "bcontains", "bstartswith":
		raw, err := hexText(text)
		if err != nil {
			return nil, err
		}
		if op == "bcontains" {
			return func(v Value) bool { return strings.Contains(v.str, raw) }, nil
		}
		return func(v Value) bool { return strings.HasPrefix(v.str, raw) }, nil
	case "in", "intersects":
		return func(v Value) bool { return v.str == text }, nil
	case "pmatch":
		ps := newPrefixes([]string{text})
		return func(v Value) bool { return ps.match(v.str) }, nil
	}
	return nil, fmt.Errorf("the operator '%s' does not work on strings", op)
}

// fullPOSIX compiles a regular expression as RE2 does in its POSIX mode, for
// a match of the whole text.
func fullPOSIX(pattern string) (*regexp.Regexp, error) {
	re, err := syntax.Parse(pattern, syntax.POSIX|syntax.ClassNL)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + re.String() + `)\z`)
}

// validUTF8 replaces every byte that is not UTF-8, as Falco does before it
// asks a regular expression.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	// A range over a string gives a replacement for each such byte.
	return string([]rune(s))
}

func hexText(text string) (string, error) {
	if len(text)%2 != 0 {
		return "", fmt.Errorf("'%s' is not a byte string: it needs two hexadecimal digits a byte", text)
	}
	raw := make([]byte, len(text)/2)
	for i := range raw {
		hi, lo := hexValue(text[2*i]), hexValue(text[2*i+1])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("'%s' is not a byte string: it needs two hexadecimal digits a byte", text)
		}
		raw[i] = byte(hi<<4 | lo)
	}
	return string(raw), nil
}
