package falco

import "strings"

// extractor gives the value of an operand.
type extractor interface{ value(ev Event) Value }

type (
	fieldExtractor struct{ ref *FieldRef }
	constExtractor struct{ v Value }
	// mapExtractor applies a function to a value, or to each of a list.
	mapExtractor struct {
		from  extractor
		f     func(string) (string, bool)
		bytes bool // the value is of type Bytes
	}
	lenExtractor struct{ from extractor }
	// joinExtractor puts the parts of a list or of a field with a list
	// together.
	joinExtractor struct{ sep, from extractor }
	listExtractor []extractor
	// getoptExtractor reads command line options.
	getoptExtractor struct {
		from, opts extractor
		option     string // the one that is asked for, or "" for all
	}
)

func (x fieldExtractor) value(ev Event) Value { return ev.Field(x.ref) }

func (x constExtractor) value(Event) Value { return x.v }

func (x mapExtractor) value(ev Event) Value {
	v := x.from.value(ev)
	if v.kind() == null {
		return v
	}
	if v.kind() != list {
		s, ok := x.f(strings.TrimRight(v.str, "\x00"))
		if !ok {
			return Value{}
		}
		if x.bytes {
			s = terminated(s)
		}
		return StringValue(s)
	}
	out := make([]Value, 0, len(v.items()))
	for _, item := range v.items() {
		s, ok := x.f(item.str)
		if !ok {
			return Value{}
		}
		out = append(out, StringValue(terminated(s)))
	}
	return ListValue(out...)
}

// terminated ends a text with a NUL. Falco counts that of a transformed value in
// its length, so that elements of lists and bytes equal no constant.
func terminated(s string) string {
	if strings.HasSuffix(s, "\x00") {
		return s
	}
	return s + "\x00"
}

func (x lenExtractor) value(ev Event) Value {
	v := x.from.value(ev)
	switch v.kind() {
	case null:
		return Value{}
	case list:
		return UintValue(uint64(len(v.items())))
	}
	return UintValue(uint64(len(v.str)))
}

func (x joinExtractor) value(ev Event) Value {
	sep, v := x.sep.value(ev), x.from.value(ev)
	if sep.kind() == null || v.kind() == null {
		return Value{}
	}
	parts := make([]string, len(v.items()))
	for i, item := range v.items() {
		parts[i] = item.String()
	}
	return StringValue(strings.Join(parts, sep.str))
}

func (x listExtractor) value(ev Event) Value {
	items := make([]Value, 0, len(x))
	for _, p := range x {
		v := p.value(ev)
		if v.kind() == null {
			return Value{}
		}
		items = append(items, v)
	}
	return ListValue(items...)
}

func (x getoptExtractor) value(ev Event) Value {
	v, opts := x.from.value(ev), x.opts.value(ev)
	if v.kind() == null || opts.kind() == null {
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
