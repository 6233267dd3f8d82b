package falco

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Value is one value of a field. The zero Value is null: the event has none.
// That is not the same as an empty string.
type Value struct {
	// of is what the value is, nil for null. Four words are as much as the
	// compiler keeps in registers.
	of  *sort
	num uint64 // the number, 1 for true, the bits of a float
	str string
}

// sort is what a value is. Addresses and lists have one of their own, all
// others share one.
type sort struct {
	kind  kind
	ip    netip.Addr
	items []Value
}

type kind uint8

const (
	null kind = iota
	text
	boolean
	signed
	unsigned
	float
	address
	list
)

// The sorts that values share; they never change.
var (
	ofText     = &sort{kind: text}
	ofBool     = &sort{kind: boolean}
	ofSigned   = &sort{kind: signed}
	ofUnsigned = &sort{kind: unsigned}
	ofFloat    = &sort{kind: float}
)

// StringValue is a string or a path.
func StringValue(s string) Value { return Value{of: ofText, str: s} }

// BytesValue is a byte buffer. The bytes are copied.
func BytesValue(b []byte) Value { return Value{of: ofText, str: string(b)} }

// BoolValue is a bool.
func BoolValue(b bool) Value {
	if b {
		return Value{of: ofBool, num: 1}
	}
	return Value{of: ofBool}
}

// IntValue is a signed integer.
func IntValue(n int64) Value { return Value{of: ofSigned, num: uint64(n)} }

// UintValue is an unsigned integer, a port or a time in nanoseconds.
func UintValue(n uint64) Value { return Value{of: ofUnsigned, num: n} }

// FloatValue is a double.
func FloatValue(f float64) Value { return Value{of: ofFloat, num: math.Float64bits(f)} }

// IPValue is an address, for fields of type ip and net.
func IPValue(a netip.Addr) Value { return Value{of: &sort{kind: address, ip: a.Unmap()}} }

// ListValue is the value of a field that has a list.
func ListValue(items ...Value) Value { return Value{of: &sort{kind: list, items: items}} }

func (v Value) kind() kind {
	if v.of == nil {
		return null
	}
	return v.of.kind
}

// IsNull reports whether there is no value.
func (v Value) IsNull() bool { return v.of == nil }

// String prints the value as the output of a rule does; null is <NA>.
func (v Value) String() string {
	switch v.kind() {
	case text:
		return v.str
	case boolean:
		return strconv.FormatBool(v.num != 0)
	case signed:
		return strconv.FormatInt(int64(v.num), 10)
	case unsigned:
		return strconv.FormatUint(v.num, 10)
	case float:
		return strconv.FormatFloat(v.float64(), 'f', 1, 64)
	case address:
		return v.of.ip.String()
	case list:
		parts := make([]string, len(v.of.items))
		for i, item := range v.of.items {
			parts[i] = item.String()
		}
		return "(" + strings.Join(parts, ",") + ")"
	}
	return "<NA>"
}

// Any is the value as encoding/json takes it: nil, string, bool, int64,
// uint64, float64, or []any for a list.
func (v Value) Any() any {
	switch v.kind() {
	case null:
		return nil
	case boolean:
		return v.num != 0
	case signed:
		return int64(v.num)
	case unsigned:
		return v.num
	case float:
		if f := v.float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return nil // JSON has no word for it.
	case list:
		items := make([]any, len(v.of.items))
		for i, item := range v.of.items {
			items[i] = item.Any()
		}
		return items
	}
	return v.String()
}

// items are the elements of a list.
func (v Value) items() []Value {
	if v.kind() == list {
		return v.of.items
	}
	return nil
}

// addr is the address, invalid for other values.
func (v Value) addr() netip.Addr {
	if v.kind() == address {
		return v.of.ip
	}
	return netip.Addr{}
}

// float64 is a number as a double.
func (v Value) float64() float64 {
	switch v.kind() {
	case float:
		return math.Float64frombits(v.num)
	case signed:
		return float64(int64(v.num))
	}
	return float64(v.num)
}

// decodeBase64 is the b64 transformer. Padding may be missing, or be more than
// is needed; line ends are no part of the alphabet.
func decodeBase64(s string) (string, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return "", false
	}
	for range 2 {
		s = strings.TrimSuffix(s, "=")
	}
	out, err := base64.RawStdEncoding.Strict().DecodeString(s)
	return string(out), err == nil
}
