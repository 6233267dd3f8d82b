package falco

// Type is the type of a field, as Falco's documentation of fields names it.
type Type uint8

// The types. Path is a string that names a file; IPNet holds an address that
// is asked whether it lies in a network.
const (
	String Type = iota
	Path
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Double
	Bytes
	IPAddr
	IPNet
	Port
	AbsTime // nanoseconds since 1970
	RelTime // nanoseconds
)

var typeNames = [...]string{
	"string", "path", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
	"double", "bytebuf", "ip", "net", "port", "abstime", "reltime",
}

func (t Type) String() string {
	if int(t) >= len(typeNames) {
		return "unknown"
	}
	return typeNames[t]
}

func (t Type) isString() bool { return t == String || t == Path }

func (t Type) isSigned() bool { return Int8 <= t && t <= Int64 }

func (t Type) isUnsigned() bool {
	return Uint8 <= t && t <= Uint64 || t == Port || t == AbsTime || t == RelTime
}

func (t Type) isNumber() bool { return t.isSigned() || t.isUnsigned() || t == Double }

// canList reports whether the members of lists of this type can be compared.
func (t Type) canList() bool {
	switch t {
	case String, Uint64, RelTime, AbsTime, Bool, IPAddr, IPNet:
		return true
	}
	return false
}

// bits is the width of an integer type.
func (t Type) bits() int {
	switch t {
	case Int8, Uint8:
		return 8
	case Int16, Uint16, Port:
		return 16
	case Int32, Uint32:
		return 32
	}
	return 64
}

// allows is Falco's table of operators and types.
func (t typed) allows(op string) bool {
	switch {
	case op == "exists":
		return true
	case t.list:
		return (op == "in" || op == "intersects") && t.typ.canList()
	}
	switch op {
	case "=", "!=", "in", "intersects":
		return true
	case "<", "<=", ">", ">=":
		return t.typ.isNumber() || t.typ.isString()
	case "contains", "startswith", "endswith":
		return t.typ.isString() || t.typ == Bytes
	case "bcontains", "bstartswith":
		return t.typ == Bytes
	case "icontains", "glob", "iglob", "pmatch", "regex":
		return t.typ.isString()
	}
	return false
}

func (t typed) String() string {
	if t.list {
		return "a list of type " + t.typ.String()
	}
	return "a field of type " + t.typ.String()
}
