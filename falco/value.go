package falco

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

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

func (t Type) String() string { return typeNames[t] }

func (t Type) isString() bool { return t == String || t == Path }

func (t Type) isSigned() bool { return Int8 <= t && t <= Int64 }

func (t Type) isUnsigned() bool {
	return Uint8 <= t && t <= Uint64 || t == Port || t == AbsTime || t == RelTime
}

func (t Type) isNumber() bool { return t.isSigned() || t.isUnsigned() || t == Double }

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

// Value is one value of a field. The zero Value is null: the event has none.
// That is not the same as an empty string.
type Value struct {
	kind kind
	num  uint64 // number, bool, float bits
	str  string
	ext  *extended
}

type kind uint8

const (
	null kind = iota
	text
	number // as the field's type says
	address
	list
)

type extended struct {
	ip    netip.Addr
	items []Value
}

// StringValue is a string, a path or a byte buffer.
func StringValue(s string) Value { return Value{kind: text, str: s} }

// BoolValue is a bool.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: number, num: 1}
	}
	return Value{kind: number}
}

// IntValue is a signed integer.
func IntValue(n int64) Value { return Value{kind: number, num: uint64(n)} }

// UintValue is an unsigned integer, a port or a time in nanoseconds.
func UintValue(n uint64) Value { return Value{kind: number, num: n} }

// FloatValue is a double.
func FloatValue(f float64) Value { return Value{kind: number, num: math.Float64bits(f)} }

// AddrValue is an address, for fields of type ip and net.
func AddrValue(a netip.Addr) Value { return Value{kind: address, ext: &extended{ip: a}} }

// ListValue is the value of a field that has a list.
func ListValue(items ...Value) Value { return Value{kind: list, ext: &extended{items: items}} }

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.kind == null }

// items are the elements of a list, or the value itself.
func (v Value) items() []Value {
	if v.kind == list {
		return v.ext.items
	}
	return nil
}

// format prints the value of a field of type t.
func (v Value) format(t Type) string {
	switch v.kind {
	case text:
		return v.str
	case number:
		return formatNumber(v.num, t)
	case address:
		return v.ext.ip.String()
	case list:
		parts := make([]string, len(v.ext.items))
		for i, item := range v.ext.items {
			parts[i] = item.format(t)
		}
		return "(" + strings.Join(parts, ",") + ")"
	}
	return ""
}

func formatNumber(n uint64, t Type) string {
	switch {
	case t == Bool:
		return strconv.FormatBool(n != 0)
	case t == Double:
		return strconv.FormatFloat(math.Float64frombits(n), 'f', -1, 64)
	case t.isSigned():
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(n, 10)
}

// decodeBase64 is the b64 transformer; padding may be missing.
func decodeBase64(s string) (string, bool) {
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		if out, err = base64.RawStdEncoding.DecodeString(s); err != nil {
			return "", false
		}
	}
	return string(out), true
}
