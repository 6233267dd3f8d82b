package falco

import (
	"errors"
	"fmt"
	"strings"
)

// lexer reads tokens off a condition. Keywords and operators are matched as
// prefixes, without a look at the character behind them, because Falco does.
type lexer struct {
	in   string
	pos  int
	last string // the last token, for messages
}

func isBlank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\b'
}

// isSpace is what regular expressions call space. It differs from a blank in
// the backspace, the vertical tab and the form feed.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// blank skips white space and reports whether there was any.
func (l *lexer) blank() bool {
	start := l.pos
	for l.pos < len(l.in) && isBlank(l.in[l.pos]) {
		l.pos++
	}
	return l.pos > start
}

// take reads the given text, if it is what comes next.
func (l *lexer) take(text string) bool {
	if !strings.HasPrefix(l.in[l.pos:], text) {
		return false
	}
	l.pos += len(text)
	l.last = text
	return true
}

func (l *lexer) takeAny(texts ...string) (string, bool) {
	for _, t := range texts {
		if l.take(t) {
			return t, true
		}
	}
	return "", false
}

// while takes the bytes that ok accepts, at least one.
func (l *lexer) while(ok func(c byte) bool) (string, bool) {
	end := l.pos
	for end < len(l.in) && ok(l.in[end]) {
		end++
	}
	return l.upTo(end)
}

func (l *lexer) upTo(end int) (string, bool) {
	if end == l.pos {
		return "", false
	}
	l.last = l.in[l.pos:end]
	l.pos = end
	return l.last, true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' }

// wordEnd is where an identifier that begins at i ends, or i.
func (l *lexer) wordEnd(i int) int {
	if i >= len(l.in) || !isLetter(l.in[i]) {
		return i
	}
	for i < len(l.in) && isWord(l.in[i]) {
		i++
	}
	return i
}

// identifier reads [a-zA-Z]+[a-zA-Z0-9_]*.
func (l *lexer) identifier() (string, bool) { return l.upTo(l.wordEnd(l.pos)) }

// fieldName reads two or more identifiers with dots between them.
func (l *lexer) fieldName() (string, bool) {
	end, dots := l.wordEnd(l.pos), 0
	for end > l.pos && end < len(l.in) && l.in[end] == '.' {
		next := l.wordEnd(end + 1)
		if next == end+1 {
			break
		}
		end, dots = next, dots+1
	}
	if dots == 0 {
		return "", false
	}
	return l.upTo(end)
}

// bare reads a text without quotes. A NUL ends it, as it ends every text in C.
func (l *lexer) bare() (string, bool) {
	return l.while(func(c byte) bool { return !isSpace(c) && strings.IndexByte("()\"'=,\x00", c) < 0 })
}

// bareArg reads a field's argument without quotes.
func (l *lexer) bareArg() (string, bool) {
	return l.while(func(c byte) bool { return !isSpace(c) && strings.IndexByte("[]\"'\x00", c) < 0 })
}

// number reads a hexadecimal or a decimal number.
func (l *lexer) number() (string, bool) {
	i := l.pos
	digits := func(ok func(byte) bool) bool {
		start := i
		for i < len(l.in) && ok(l.in[i]) {
			i++
		}
		return i > start
	}
	if strings.HasPrefix(l.in[i:], "0x") || strings.HasPrefix(l.in[i:], "0X") {
		i += 2
		if digits(func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }) {
			return l.upTo(i)
		}
		i = l.pos
	}
	if i < len(l.in) && (l.in[i] == '+' || l.in[i] == '-') {
		i++
	}
	if !digits(isDigit) {
		return "", false
	}
	if i < len(l.in) && l.in[i] == '.' {
		i++
	}
	digits(isDigit)
	if end := i; i+1 < len(l.in) && (l.in[i] == 'e' || l.in[i] == 'E') && (l.in[i+1] == '+' || l.in[i+1] == '-') {
		if i += 2; !digits(isDigit) {
			i = end
		}
	}
	return l.upTo(i)
}

// quoted reads a text in quotes. found is false where none begins; a text
// that does not end or has an unknown escape is an error.
func (l *lexer) quoted() (text string, found bool, err error) {
	if l.pos >= len(l.in) || l.in[l.pos] != '"' && l.in[l.pos] != '\'' {
		return "", false, nil
	}
	q, start := l.in[l.pos], l.pos+1
	for end := start; end < len(l.in) && l.in[end] != 0; end++ {
		// The end is told by the character before it alone: "a\\" goes on.
		if l.in[end] == q && l.in[end-1] != '\\' {
			text, err = unquote(l.in[start:end], q)
			l.last = l.in[l.pos : end+1]
			l.pos = end + 1
			return text, true, err
		}
	}
	return "", true, fmt.Errorf("expected a closing %c", q)
}

// errEscape is in every error about an escape.
var errEscape = errors.New("")

func escapeError(format string, args ...any) error {
	return fmt.Errorf(format+"%w", append(args, errEscape)...)
}

var errHex = escapeError(`invalid \x escape, expecting two hexadecimal digits`)

// unquote resolves the escapes of a text in quotes of kind q.
func unquote(s string, q byte) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", errors.New(`a text cannot end with a single '\'`)
		}
		switch c := s[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case ' ', '\\':
			b.WriteByte('\\')
		case '/':
			b.WriteByte('/')
		case '"', '\'':
			if c != q {
				return "", escapeError(`invalid \%c escape in '%c'-quoted string`, c, q)
			}
			b.WriteByte(c)
		case 'x':
			if i+2 >= len(s) {
				return "", errHex
			}
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi < 0 || lo < 0 {
				return "", errHex
			}
			b.WriteByte(byte(hi<<4 | lo))
			i += 2
		default:
			return "", escapeError(`unsupported string escape sequence: \%s`, string(rune(c)))
		}
	}
	return b.String(), nil
}

func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// quote writes s so that [unquote] gives it back.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\\':
			// Before the end, \\ would hide the quote that ends the text.
			if i == len(s)-1 {
				b.WriteString(`\x5c`)
			} else {
				b.WriteString(`\\`)
			}
		case '"':
			b.WriteString(`\"`)
		default:
			if c < ' ' || c == 0x7f {
				fmt.Fprintf(&b, `\x%02x`, c)
			} else {
				b.WriteByte(c)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
