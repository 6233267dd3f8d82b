package falco

import (
	"errors"
	"fmt"
	"strings"
)

type (
	fieldExtractor struct{ ref *FieldRef }
	constExtractor struct{ v Value }
	// mapExtractor applies a function to a value, or to each of a list.
	mapExtractor struct {
		from extractor
		f    func(Value) (Value, bool)
	}
	lenExtractor  struct{ from extractor }
	joinExtractor struct {
		sep   typed
		parts []typed
		// listed is a field that has the parts, in place of parts.
		listed *typed
	}
	listExtractor   struct{ parts []typed }
	getoptExtractor struct {
		from   typed
		opts   extractor
		option string // the one that is asked for, or "" for all
	}
)

func (x fieldExtractor) value(ev Event) Value { return ev.Field(x.ref) }

func (x constExtractor) value(Event) Value { return x.v }

func (x mapExtractor) value(ev Event) Value {
	v := x.from.value(ev)
	switch v.kind {
	case null:
		return Value{}
	case list:
		out := make([]Value, 0, len(v.ext.items))
		for _, item := range v.ext.items {
			mapped, ok := x.f(item)
			if !ok {
				return Value{}
			}
			// Falco keeps the terminating NUL of a transformed element, so
			// that it equals no constant.
			mapped.str += "\x00"
			out = append(out, mapped)
		}
		return ListValue(out...)
	}
	out, ok := x.f(v)
	if !ok {
		return Value{}
	}
	return out
}

func (x lenExtractor) value(ev Event) Value {
	v := x.from.value(ev)
	switch v.kind {
	case null:
		return Value{}
	case list:
		return UintValue(uint64(len(v.ext.items)))
	}
	return UintValue(uint64(len(v.str)))
}

func (x joinExtractor) value(ev Event) Value {
	sep := x.sep.extract.value(ev)
	if sep.kind == null {
		return Value{}
	}
	var parts []string
	if x.listed != nil {
		v := x.listed.extract.value(ev)
		if v.kind == null {
			return Value{}
		}
		for _, item := range v.items() {
			parts = append(parts, item.format(x.listed.typ))
		}
	}
	for _, p := range x.parts {
		v := p.extract.value(ev)
		if v.kind == null {
			return Value{}
		}
		parts = append(parts, v.format(p.typ))
	}
	return StringValue(strings.Join(parts, sep.str))
}

func (x listExtractor) value(ev Event) Value {
	items := make([]Value, 0, len(x.parts))
	for _, p := range x.parts {
		v := p.extract.value(ev)
		if v.kind == null {
			return Value{}
		}
		items = append(items, StringValue(v.format(p.typ)))
	}
	return ListValue(items...)
}

func (x getoptExtractor) value(ev Event) Value {
	v, opts := x.from.extract.value(ev), x.opts.value(ev)
	if v.kind == null || opts.kind == null {
		return Value{}
	}
	var all []Value
	asked := Value{}
	getopt(v.items(), opts.str, func(option byte, keyed string, listed ...string) {
		if x.option == string(option) {
			asked = StringValue(keyed)
		}
		for _, l := range listed {
			all = append(all, StringValue(l))
		}
	})
	switch {
	case x.option != "":
		return asked
	case len(all) == 0:
		return Value{}
	}
	return ListValue(all...)
}

// getopt reads short options as getopt(3) with "+" does: up to the first
// argument that is no option. Long options are passed over. For each option it
// gives what getopt(…)[option] is and what it adds to the list of all: its
// letter and its argument; "?" for an unknown option, and an empty text for an
// option that lacks its argument.
func getopt(args []Value, opts string, found func(option byte, keyed string, listed ...string)) {
	for i := 0; i < len(args); i++ {
		arg := args[i].str
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			return
		}
		if strings.HasPrefix(arg, "--") {
			continue
		}
	letters:
		for j := 1; j < len(arg); j++ {
			letter := arg[j : j+1]
			at := strings.Index(opts, letter)
			switch {
			case at < 0 || letter == ":":
				found('?', "?", "?")
			case at+1 == len(opts) || opts[at+1] != ':':
				found(arg[j], letter, letter)
			case j+1 < len(arg):
				found(arg[j], arg[j+1:], letter, arg[j+1:])
				break letters
			case i+1 < len(args):
				i++
				found(arg[j], args[i].str, letter, args[i].str)
			default:
				found(arg[j], "", "")
			}
		}
	}
}

// left compiles the left side of a check.
func (c *compiler) left(o Operand) (typed, error) {
	switch o := o.(type) {
	case *FieldName:
		return c.field(o)
	case *Transform:
		return c.transform(o)
	}
	return typed{}, fmt.Errorf("a check cannot begin with %s", o)
}

func (c *compiler) field(f *FieldName) (typed, error) {
	ref, err := c.cat.ref(f)
	if err != nil {
		return typed{}, err
	}
	c.cond.fields = append(c.cond.fields, ref)
	return typed{extract: fieldExtractor{ref}, typ: ref.Type, list: ref.List}, nil
}

// argument compiles an argument of a transformer.
func (c *compiler) argument(o Operand) (typed, error) {
	switch o := o.(type) {
	case *Text:
		if err := checkConstant(String, o.Value); err != nil {
			return typed{}, err
		}
		return typed{extract: constExtractor{StringValue(o.Value)}, typ: String}, nil
	case *List:
		parts := make([]typed, len(o.Items))
		for i, item := range o.Items {
			var err error
			if parts[i], err = c.argument(item); err != nil {
				return typed{}, err
			}
			if parts[i].list {
				return typed{}, errors.New("a list cannot hold another list")
			}
		}
		return typed{extract: listExtractor{parts}, typ: String, list: true}, nil
	}
	return c.left(o)
}

// transform compiles a transformer and checks number and types of its
// arguments.
func (c *compiler) transform(t *Transform) (typed, error) {
	if t.HasArg && (t.Name != "getopt" || t.Arg == "") {
		return typed{}, fmt.Errorf("transformer '%s' does not take the argument [%s]", t.Name, t.Arg)
	}
	args := make([]typed, len(t.Args))
	for i, a := range t.Args {
		var err error
		if args[i], err = c.argument(a); err != nil {
			return typed{}, err
		}
	}
	count := func(least, most int) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("transformer '%s' has %d arguments, want %s", t.Name, len(args), span(least, most))
		}
		return nil
	}
	wrong := func(i int) error {
		return fmt.Errorf("transformer '%s' does not work on %s as argument %d", t.Name, describeType(args[i]), i+1)
	}
	switch t.Name {
	case "join":
		if err := count(2, 2); err != nil {
			return typed{}, err
		}
		switch {
		case args[0].list || !args[0].typ.isString():
			return typed{}, wrong(0)
		case !args[1].list:
			return typed{}, wrong(1)
		}
		x := joinExtractor{sep: args[0]}
		if parts, ok := args[1].extract.(listExtractor); ok {
			x.parts = parts.parts
		} else {
			x.listed = &args[1]
		}
		return typed{extract: x, typ: String}, nil
	case "concat":
		if err := count(2, 1<<10); err != nil {
			return typed{}, err
		}
		for i, a := range args {
			if a.list {
				return typed{}, wrong(i)
			}
		}
		return typed{extract: joinExtractor{sep: typed{extract: constExtractor{StringValue("")}}, parts: args}, typ: String}, nil
	case "getopt":
		if err := count(2, 2); err != nil {
			return typed{}, err
		}
		switch {
		case !args[0].list:
			return typed{}, wrong(0)
		case args[1].list:
			return typed{}, wrong(1)
		}
		return typed{extract: getoptExtractor{args[0], args[1].extract, t.Arg}, typ: String, list: !t.HasArg}, nil
	}

	if err := count(1, 1); err != nil {
		return typed{}, err
	}
	a := args[0]
	switch t.Name {
	case "val":
		return a, nil
	case "len":
		if !a.list && !a.typ.isString() && a.typ != Bytes {
			return typed{}, wrong(0)
		}
		return typed{extract: lenExtractor{a.extract}, typ: Uint64}, nil
	case "b64":
		if !a.typ.isString() && a.typ != Bytes {
			return typed{}, wrong(0)
		}
		a.extract = mapExtractor{a.extract, func(v Value) (Value, bool) {
			s, ok := decodeBase64(v.str)
			return StringValue(s), ok
		}}
		return a, nil
	}
	if !a.typ.isString() {
		return typed{}, wrong(0)
	}
	f := map[string]func(string) string{"tolower": asciiLower, "toupper": asciiUpper, "basename": basename}[t.Name]
	a.extract = mapExtractor{a.extract, func(v Value) (Value, bool) { return StringValue(f(v.str)), true }}
	return a, nil
}

func span(least, most int) string {
	if least == most {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d or more", least)
}

func asciiLower(s string) string { return mapBytes(s, func(c byte) byte { return lower(c, true) }) }

func asciiUpper(s string) string { return mapBytes(s, upper) }

func mapBytes(s string, f func(byte) byte) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = f(c)
	}
	return string(b)
}

func basename(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
