package falco

import (
	"fmt"
	"slices"
	"strings"
)

// Output is a compiled output template: text with %fields in it.
type Output struct {
	parts []outputPart
}

type outputPart struct {
	text  string // where there is no field
	name  string // as written: proc.name, tolower(proc.name)
	value typed
	width int // 0 for as long as it is
}

// ParseOutput compiles a template: %field, %field[arg], %transformer(…), with
// a * or a width before the name.
func ParseOutput(template string, cat *Catalog) (*Output, error) {
	o := &Output{}
	c := &compiler{cat: cat, cond: &Condition{}}
	for template != "" {
		i := strings.IndexByte(template, '%')
		if i < 0 {
			o.parts = append(o.parts, outputPart{text: template})
			break
		}
		if i > 0 {
			o.parts = append(o.parts, outputPart{text: template[:i]})
		}
		part, rest, err := c.outputField(template[i+1:])
		if err != nil {
			return nil, err
		}
		o.parts = append(o.parts, part)
		template = rest
	}
	return o, nil
}

func (c *compiler) outputField(text string) (outputPart, string, error) {
	var part outputPart
	text = strings.TrimPrefix(text, "*")
	for text != "" && isDigit(text[0]) {
		part.width = min(part.width*10+int(text[0]-'0'), 1<<12)
		text = text[1:]
	}
	p := &parser{lexer: lexer{in: text}, max: maxDepth}
	operand, err := p.transform(leftTransforms...)
	if operand == nil && err == nil {
		operand, err = p.field()
	}
	if err == nil && operand == nil {
		err = fmt.Errorf("unknown filter: unexpected token after '%%', expecting a field or a transformer")
	}
	if err != nil {
		return part, "", err
	}
	part.name = text[:p.pos]
	part.value, err = c.left(operand)
	return part, text[p.pos:], err
}

// Fields returns the fields of the template as they are written, each once.
func (o *Output) Fields() []string {
	var all []string
	for _, p := range o.parts {
		if p.name != "" && !slices.Contains(all, p.name) {
			all = append(all, p.name)
		}
	}
	return all
}

// Render fills the template from ev; a field without a value is <NA>.
func (o *Output) Render(ev Event) string {
	var b strings.Builder
	for _, p := range o.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		text := "<NA>"
		if v := p.value.extract.value(ev); !v.IsNull() {
			text = v.format(p.value.typ)
		}
		if p.width > 0 {
			text = fmt.Sprintf("%-*.*s", p.width, p.width, text)
		}
		b.WriteString(text)
	}
	return b.String()
}
