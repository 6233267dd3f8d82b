package falco

import (
	"errors"
	"fmt"
	"strings"
)

// left compiles the left side of a check, or an argument of a transformer.
func (c *compiler) left(o Operand) (typed, error) {
	switch o := o.(type) {
	case *FieldName:
		c.on(o.At, o)
		ref, err := c.cat.ref(o)
		if err != nil {
			return typed{}, err
		}
		return typed{text: ref.text, extract: fieldExtractor{ref}, typ: ref.Type, list: ref.List, fields: []*FieldRef{ref}}, nil
	case *Transform:
		return c.transform(o)
	case *Text:
		c.on(o.At, o)
		if err := checkConstant(String, o.Value); err != nil {
			return typed{}, err
		}
		return typed{extract: constExtractor{StringValue(o.Value)}, typ: String}, nil
	case *List:
		return c.operands(o)
	}
	return typed{}, fmt.Errorf("filter error: a check cannot begin with %s", o)
}

// operands compiles a list of arguments.
func (c *compiler) operands(l *List) (typed, error) {
	all := make(listExtractor, len(l.Items))
	whole := typed{typ: String, list: true}
	for i, item := range l.Items {
		t, err := c.left(item)
		switch {
		case err != nil:
			return typed{}, err
		case t.list:
			return typed{}, errors.New("filter error: a list cannot hold another list")
		}
		all[i] = t.extract
		whole.fields = append(whole.fields, t.fields...)
	}
	whole.extract = all
	return whole, nil
}

// transform compiles a transformer and checks number and types of its
// arguments.
func (c *compiler) transform(t *Transform) (typed, error) {
	if t.HasArg && (t.Name != "getopt" || t.Arg == "") {
		return typed{}, fmt.Errorf("filter error: transformer '%s' does not take the argument [%s]", t.Name, t.Arg)
	}
	var fields []*FieldRef
	args := make([]typed, len(t.Args))
	for i, a := range t.Args {
		var err error
		if args[i], err = c.left(a); err != nil {
			return typed{}, err
		}
		if f, ok := args[i].extract.(fieldExtractor); ok && f.ref.Plain && t.Name != "val" {
			return typed{}, fmt.Errorf("field '%s' does not support transformers", f.ref.Name)
		}
		fields = append(fields, args[i].fields...)
	}
	c.on(t.At, t)
	out, err := apply(t, args)
	out.fields, out.text = fields, t.String()
	if t.Name == "val" {
		out.text = args[0].text
	}
	return out, err
}

// apply checks the arguments of a transformer and puts it over them.
func apply(t *Transform, args []typed) (typed, error) {
	least, most := 1, 1
	switch t.Name {
	case "join", "getopt":
		least, most = 2, 2
	case "concat":
		least, most = 2, 1<<10
	}
	if len(args) < least || len(args) > most {
		return typed{}, fmt.Errorf("filter error: transformer '%s' does not work with %d arguments", t.Name, len(args))
	}
	wrong := func(i int) (typed, error) {
		return typed{}, fmt.Errorf("filter error: transformer '%s' does not work on %s as argument %d", t.Name, args[i], i+1)
	}
	a := args[0]
	bytes := a.typ.isString() || a.typ == Bytes
	switch t.Name {
	case "join":
		switch {
		case a.list || !a.typ.isString():
			return wrong(0)
		case !args[1].list:
			return wrong(1)
		}
		return typed{extract: joinExtractor{a.extract, args[1].extract}, typ: String}, nil
	case "concat":
		parts := make(listExtractor, len(args))
		for i, a := range args {
			if a.list {
				return wrong(i)
			}
			parts[i] = a.extract
		}
		return typed{extract: joinExtractor{constExtractor{StringValue("")}, parts}, typ: String}, nil
	case "getopt":
		switch {
		case !a.list:
			return wrong(0)
		case args[1].list:
			return wrong(1)
		}
		return typed{extract: getoptExtractor{a.extract, args[1].extract, t.Arg}, typ: String, list: !t.HasArg}, nil
	case "val":
		return a, nil
	case "len":
		if !a.list && !bytes {
			return wrong(0)
		}
		return typed{extract: lenExtractor{a.extract}, typ: Uint64}, nil
	case "b64":
		if a.typ != String && a.typ != Bytes {
			return wrong(0)
		}
		a.extract = mapExtractor{a.extract, decodeBase64, a.typ == Bytes}
		return a, nil
	}
	if !a.typ.isString() {
		return wrong(0)
	}
	f := map[string]func(string) string{"tolower": asciiLower, "toupper": asciiUpper, "basename": basename}[t.Name]
	a.extract = mapExtractor{a.extract, func(s string) (string, bool) { return f(s), true }, false}
	return a, nil
}

func asciiLower(s string) string { return mapBytes(s, func(c byte) byte { return lower(c, true) }) }

func asciiUpper(s string) string { return mapBytes(s, upper) }

// mapBytes returns s itself where nothing changes.
func mapBytes(s string, f func(byte) byte) string {
	for i := range len(s) {
		if f(s[i]) == s[i] {
			continue
		}
		b := []byte(s)
		for ; i < len(b); i++ {
			b[i] = f(b[i])
		}
		return string(b)
	}
	return s
}

func basename(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
