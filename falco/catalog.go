package falco

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ArgKind says what stands in brackets behind a field.
type ArgKind uint8

// The kinds of arguments.
const (
	NoArg    ArgKind = iota // none is allowed
	OptArg                  // one is allowed
	NeedArg                 // one is required
	OptIndex                // a number is allowed
	NeedIdx                 // a number is required
)

// Availability says which events can carry a field.
type Availability uint8

// The availabilities.
const (
	// OnStart fields can have a value on a container start.
	OnStart Availability = iota
	// Constant fields have the same value on all container starts, which is
	// [Field].Start.
	Constant
	// OnSyscall fields belong to a system call or to its process.
	OnSyscall
	// Never is said of fields that Falco keeps for old rules.
	Never
)

// Field is one field of a [Catalog].
type Field struct {
	Name string
	Type Type
	// List is set when the field has a list of values of its type.
	List bool
	Arg  ArgKind
	// Dotted is set when a name as argument follows a dot instead of standing
	// in brackets: evt.arg.flags.
	Dotted bool
	// Plain is set when the field takes no transformer and is compared with
	// constants alone.
	Plain bool
	// FilterOnly is set when the field cannot stand in an output.
	FilterOnly bool
	Avail      Availability
	// Start is the value on every container start, if Avail is Constant.
	Start Value
	Desc  string
	// Slot is the number that [Catalog.Bind] gave the field, or 0.
	Slot int
}

// Class is the part of the name before the first dot: evt, container, k8s.
func (f *Field) Class() string {
	class, _, _ := strings.Cut(f.Name, ".")
	return class
}

// Available reports whether a container start can carry the field.
func (f *Field) Available() bool { return f.Avail == OnStart || f.Avail == Constant }

// FieldRef is a field as a condition or an output asks for it. Two references
// with the same text are one within a [Condition] or a [Ruleset].
type FieldRef struct {
	*Field
	// Argument is what stood in brackets or behind the dot, or "".
	Argument string
	text     string
}

// String is the reference as a condition has it: container.label[app].
func (r *FieldRef) String() string { return r.text }

// Catalog is the set of fields that conditions may use. It does not change
// once made, and may be used by several goroutines.
type Catalog struct {
	fields map[string]*Field
}

//go:embed fields.tsv
var fieldsTSV string

// DefaultCatalog has the fields of Falco for system calls, containers and
// Kubernetes.
func DefaultCatalog() *Catalog { return defaultCatalog() }

var defaultCatalog = sync.OnceValue(func() *Catalog {
	c := &Catalog{fields: map[string]*Field{}}
	for line := range strings.Lines(fieldsTSV) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f, err := parseField(line)
		if err != nil {
			panic(err) // The file is a part of the program, and a test reads it.
		}
		c.fields[f.Name] = f
	}
	return c
})

func parseField(line string) (*Field, error) {
	cols := strings.Split(line, "\t")
	if len(cols) != 4 {
		return nil, fmt.Errorf("field %q: %d columns instead of 4", line, len(cols))
	}
	f := &Field{Name: cols[0], Desc: cols[3]}
	t := slices.Index(typeNames[:], cols[1])
	if t < 0 {
		return nil, fmt.Errorf("field %s: unknown type %q", f.Name, cols[1])
	}
	f.Type = Type(t)
	index := false
	for flag := range strings.SplitSeq(cols[2], ",") {
		switch flag {
		case "-":
		case "list":
			f.List = true
		case "arg":
			f.Arg = NeedArg
		case "optarg":
			f.Arg = OptArg
		case "index":
			index = true
		case "dot":
			f.Dotted = true
		case "plain":
			f.Plain = true
		case "filter":
			f.FilterOnly = true
		case "sys":
			f.Avail = OnSyscall
		case "never":
			f.Avail = Never
		default:
			text, found := strings.CutPrefix(flag, "start=")
			if !found {
				return nil, fmt.Errorf("field %s: unknown flag %q", f.Name, flag)
			}
			f.Avail, f.Start = Constant, startValue(f.Type, text)
		}
	}
	if index {
		f.Arg += OptIndex - OptArg
	}
	return f, nil
}

func startValue(t Type, text string) Value {
	switch {
	case t == Bool:
		return BoolValue(text == "true")
	case t.isUnsigned():
		n, _ := strconv.ParseUint(text, 10, 64) // A test reads the values.
		return UintValue(n)
	}
	return StringValue(text)
}

// NewCatalog returns a catalogue of the given fields alone.
func NewCatalog(fields ...Field) *Catalog { return (&Catalog{}).With(fields...) }

// With returns a catalogue that has the given fields, too. A field of a name
// that is there already takes its place.
func (c *Catalog) With(fields ...Field) *Catalog {
	more := &Catalog{fields: make(map[string]*Field, len(c.fields)+len(fields))}
	maps.Copy(more.fields, c.fields)
	for _, f := range fields {
		more.fields[f.Name] = &f
	}
	return more
}

// Bind returns a catalogue whose fields carry the slots that the map gives
// them by name, for an [Event] to switch on. Slots begin at 1; an unknown name
// is an error.
func (c *Catalog) Bind(slots map[string]int) (*Catalog, error) {
	bound := &Catalog{fields: maps.Clone(c.fields)}
	for name, slot := range slots {
		f, ok := c.fields[name]
		if !ok {
			return nil, fmt.Errorf("bind field %s: not in the catalogue", name)
		}
		with := *f
		with.Slot = slot
		bound.fields[name] = &with
	}
	return bound, nil
}

// Lookup returns a copy of the field of that name, or nil. A name such as
// evt.arg.flags finds evt.arg.
func (c *Catalog) Lookup(name string) *Field {
	f, _, _ := c.find(name)
	if f == nil {
		return nil
	}
	copied := *f
	return &copied
}

// find returns the field of that name, and what follows a field that takes its
// argument behind a dot.
func (c *Catalog) find(name string) (f *Field, arg string, dotted bool) {
	if f, ok := c.fields[name]; ok {
		return f, "", false
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '.' {
			continue
		}
		if f, ok := c.fields[name[:i]]; ok && f.Dotted {
			return f, name[i+1:], true
		}
	}
	return nil, "", false
}

// All returns copies of the fields, sorted by name.
func (c *Catalog) All() []Field {
	all := make([]Field, 0, len(c.fields))
	for _, name := range slices.Sorted(maps.Keys(c.fields)) {
		all = append(all, *c.fields[name])
	}
	return all
}

// rawTypes are the types of the arguments that evt.rawarg gives; the others
// are strings.
var rawTypes = map[string]Type{
	"res": Int64, "fd": Int64, "dirfd": Int64, "pid": Int64, "tid": Int64, "olddirfd": Int64, "newdirfd": Int64,
	"flags": Uint32, "mode": Uint32, "uid": Uint32, "gid": Uint32, "domain": Uint32, "type": Uint32, "proto": Uint32,
	"size": Uint32, "len": Uint64, "addr": Uint64, "offset": Uint64, "data": Bytes,
}

// ref finds a field and checks its argument.
func (c *Catalog) ref(n *FieldName) (*FieldRef, error) {
	f, arg, dotted := c.find(n.Name)
	if f == nil {
		return nil, fmt.Errorf("filter_check called with nonexistent field %s", n.Name)
	}
	has := n.HasArg || dotted
	if !dotted {
		arg = n.Arg
	}
	switch {
	case dotted && n.HasArg, f.Arg == NoArg && has:
		return nil, fmt.Errorf("filter_check called with nonexistent field %s: it takes no argument [%s]", n, n.Arg)
	case f.Dotted && f.Arg < OptIndex && n.HasArg, f.Dotted && !knownArgument(f.Name, arg, has):
		return nil, fmt.Errorf("filter_check called with nonexistent field %s", n)
	case (f.Arg == NeedArg || f.Arg == NeedIdx) && !has:
		return nil, fmt.Errorf("field %s needs an argument, write %s[…]", n.Name, n.Name)
	case f.Arg >= OptIndex && n.HasArg: // Behind a dot stands a name.
		if _, ok := scanNumber(arg, false); !ok {
			return nil, fmt.Errorf("field %s needs a number as argument: %s is not a valid number", n.Name, arg)
		}
	}
	if f.Name == "evt.rawarg" {
		typed := *f
		typed.Type = rawTypes[arg]
		f = &typed
	}
	return &FieldRef{Field: f, Argument: arg, text: n.String()}, nil
}

// knownArgument reports whether a field may have this argument behind a dot.
func knownArgument(name, arg string, has bool) bool {
	switch name {
	case "evt.type.is":
		_, number := scanNumber(arg, true)
		return !has || number || typeBit(arg) != otherType
	case "evt.abspath":
		return !has || arg == "src" || arg == "dst"
	}
	return true
}
