package falco

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
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
		re, literal, err := fullPOSIX(text)
		if err != nil {
			return nil, fmt.Errorf("invalid regex pattern: %w", err)
		}
		return func(v Value) bool { return strings.Contains(v.str, literal) && re.MatchString(validUTF8(v.str)) }, nil
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
// a match of the whole text. It also returns a part that every match contains,
// which is found faster.
func fullPOSIX(pattern string) (re *regexp.Regexp, literal string, err error) {
	parsed, err := syntax.Parse(pattern, syntax.POSIX|syntax.ClassNL)
	if err != nil {
		return nil, "", err
	}
	re, err = regexp.Compile(`\A(?:` + parsed.String() + `)\z`)
	return re, requiredLiteral(parsed.Simplify()), err
}

// requiredLiteral is the longest literal that every match of re contains, or "".
func requiredLiteral(re *syntax.Regexp) string {
	longest := ""
	switch re.Op {
	case syntax.OpLiteral:
		// Bytes that are not UTF-8 are matched as U+FFFD, and stand there as
		// they are.
		if re.Flags&syntax.FoldCase == 0 && !slices.Contains(re.Rune, utf8.RuneError) {
			return string(re.Rune)
		}
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		for _, sub := range re.Sub {
			if literal := requiredLiteral(sub); len(literal) > len(longest) {
				longest = literal
			}
		}
	}
	return longest
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
