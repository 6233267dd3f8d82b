package falco

import (
	"errors"
	"fmt"
	"strings"
)

// Output is a compiled output template: text with %fields in it.
type Output struct {
	parts  []outputPart
	fields []*FieldRef // each once
	named  map[string]bool
}

type outputPart struct {
	text    string // where there is no field
	extract extractor
	width   int // 0 for as long as it is
}

// maxWidth is the widest a field can be made, in bytes.
const maxWidth = 1 << 12

// ParseOutput compiles a template: %field, %field[arg], %transformer(…), with
// or without a width before the name. A * at its very beginning is left out:
// it told Falco to print null values, which is what it does always now.
func ParseOutput(template string, cat *Catalog) (*Output, error) {
	o := &Output{named: map[string]bool{}}
	text := strings.TrimPrefix(template, "*")
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			i = len(text)
		}
		if i > 0 {
			o.parts = append(o.parts, outputPart{text: text[:i]})
		}
		if text = text[i:]; text == "" {
			break
		}
		rest, err := o.token(text[1:], cat)
		if err != nil {
			return nil, err
		}
		text = rest
	}
	return o, nil
}

// token reads a field off the text behind a %, and returns what follows it.
func (o *Output) token(text string, cat *Catalog) (string, error) {
	if text == "" {
		return "", errors.New("invalid formatting syntax: formatting cannot end with a %")
	}
	part := outputPart{}
	for text != "" && isDigit(text[0]) {
		part.width = min(part.width*10+int(text[0]-'0'), maxWidth)
		text = text[1:]
	}
	if text == "" {
		return "", errors.New("invalid formatting syntax: formatting cannot end with a number")
	}
	// As much of the text as makes sense is the field. Falco's message is
	// about the last attempt, which does not tell much; the first one does.
	var first, last error
	for size := len(text); size > 0; {
		p := &parser{lexer: lexer{in: text[:size]}, max: maxDepth}
		c := &compiler{cat: cat, cond: &Condition{}}
		operand, err := p.fieldOrTransform()
		if err == nil {
			var t typed
			if t, err = c.left(operand); err == nil {
				if err := displayable(t.fields); err != nil {
					return "", err
				}
				part.extract = t.extract
				o.parts = append(o.parts, part)
				o.add(t.fields)
				return text[p.pos:], nil
			}
		}
		if last = err; first == nil {
			first = err
		}
		size = min(size-1, p.pos)
	}
	if first.Error() == last.Error() {
		return "", errors.New("unknown filter: " + last.Error())
	}
	return "", errors.New("unknown filter: " + last.Error() + ": " + first.Error())
}

func displayable(fields []*FieldRef) error {
	for _, f := range fields {
		if f.FilterOnly {
			return fmt.Errorf("unknown filter: %s is filter only and cannot be used as a display field", f)
		}
	}
	return nil
}

// fieldOrTransform reads what an output may name.
func (p *parser) fieldOrTransform() (Operand, error) {
	operand, err := p.transform(leftTransforms...)
	if operand == nil && err == nil {
		operand, err = p.field()
	}
	if operand == nil && err == nil {
		err = errors.New("unexpected token after '" + p.last + "', expecting a field or a valid transformer")
	}
	return operand, err
}

// add keeps the fields that the JSON form of an alert has: those that the
// template names, without their transformers.
func (o *Output) add(fields []*FieldRef) {
	for _, f := range fields {
		if !o.named[f.text] {
			o.named[f.text] = true
			o.fields = append(o.fields, f)
		}
	}
}

// Fields returns the fields of the template as they are written, each once.
func (o *Output) Fields() []string {
	all := make([]string, len(o.fields))
	for i, f := range o.fields {
		all[i] = f.text
	}
	return all
}

// Render fills the template from ev; a field without a value is <NA>.
func (o *Output) Render(ev Event) string {
	var b strings.Builder
	for _, p := range o.parts {
		if p.extract == nil {
			b.WriteString(p.text)
			continue
		}
		text := p.extract.value(ev).String()
		if p.width > 0 {
			text = (text + strings.Repeat(" ", max(0, p.width-len(text))))[:p.width]
		}
		b.WriteString(text)
	}
	return b.String()
}
