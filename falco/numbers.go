package falco

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// numberTest makes the question that op asks of a number of type t.
func numberTest(t Type, op, text string) (func(Value) bool, error) {
	n, err := parseNumber(t, text)
	if err != nil {
		return nil, err
	}
	compare := compareAs(t)
	switch op {
	case "=", "in", "intersects":
		return func(v Value) bool { return compare(v, n) == 0 }, nil
	case "!=", "<", "<=", ">", ">=":
		return func(v Value) bool { return holds(op, compare(v, n)) }, nil
	}
	return nil, fmt.Errorf("the operator '%s' does not work on numbers", op)
}

// compareAs compares two numbers of type t.
func compareAs(t Type) func(a, b Value) int {
	switch {
	case t == Double:
		return func(a, b Value) int { return cmp.Compare(a.float64(), b.float64()) }
	case t.isSigned():
		return func(a, b Value) int { return cmp.Compare(int64(a.num), int64(b.num)) }
	}
	return func(a, b Value) int { return cmp.Compare(a.num, b.num) }
}

// parseNumber reads a constant of type t as C's sscanf does, which Falco takes:
// decimal, with blanks and a sign before it or not. What is too large for the
// type is cut to its width, and a minus counts down from the end of an unsigned
// one. Hexadecimal numbers and fractions pass the grammar and fail here; so does
// a fraction for a double.
func parseNumber(t Type, text string) (Value, error) {
	if t == Port {
		return parsePort(text)
	}
	n, ok := scanNumber(text, t.isUnsigned())
	if !ok {
		return Value{}, fmt.Errorf("%s is not a valid number", text)
	}
	unused := 64 - t.bits()
	switch {
	case t == Double:
		return FloatValue(float64(int64(n))), nil
	case t.isSigned():
		return IntValue(int64(n<<unused) >> unused), nil
	}
	return UintValue(n << unused >> unused), nil
}

// scanNumber reads a decimal number of 64 bits; one that does not fit becomes
// the nearest that does.
func scanNumber(text string, unsigned bool) (n uint64, ok bool) {
	digits := strings.TrimLeft(text, " \t\n\v\f\r")
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case unsigned && err != nil:
		return math.MaxUint64, true
	case !unsigned && negative && (err != nil || n > 1<<63):
		return 1 << 63, true
	case !unsigned && !negative && (err != nil || n > math.MaxInt64):
		return math.MaxInt64, true
	case negative:
		return -n, true
	}
	return n, true
}

// parsePort reads a port or the name of a service. An empty text is port 0.
func parsePort(text string) (Value, error) {
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt("0"+text, 10, 32)
		if err != nil {
			return Value{}, fmt.Errorf("%s is not a valid port", text)
		}
		return UintValue(uint64(n) & math.MaxUint16), nil
	}
	if !strings.HasPrefix(text, "+") && !strings.HasPrefix(text, "-") { // These would be read as numbers.
		for _, network := range []string{"tcp", "udp"} {
			// The table of services on this machine, as getservbyname asks it.
			if n, err := (&net.Resolver{}).LookupPort(context.Background(), network, text); err == nil {
				return UintValue(uint64(n)), nil
			}
		}
	}
	return Value{}, fmt.Errorf("unrecognized protocol %s: want a port or the name of a service", text)
}

func boolTest(op, text string) (func(Value) bool, error) {
	if text != "true" && text != "false" {
		return nil, fmt.Errorf("filter error: unrecognized boolean value '%s', want true or false", text)
	}
	want := (text == "true") == (op != "!=")
	return func(v Value) bool { return (v.num != 0) == want }, nil
}

func addrTest(op, text string) (func(Value) bool, error) {
	want, err := parseAddr(text)
	if err != nil {
		return nil, err
	}
	return func(v Value) bool { return (v.addr() == want) == (op != "!=") }, nil
}

// parseAddr reads an address as inet_pton does: one with a dot in it is IPv4,
// and any other IPv6.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	dotted := strings.Contains(text, ".")
	switch {
	case dotted && (err != nil || !a.Is4()):
		return a, fmt.Errorf("unrecognized IPv4 address %s", text)
	case !dotted && (err != nil || a.Zone() != ""):
		return a, fmt.Errorf("unrecognized IPv6 address %s", text)
	}
	return a.Unmap(), nil
}

func netTest(op, text string) (func(Value) bool, error) {
	addr, mask, found := strings.Cut(text, "/")
	if !found {
		return nil, fmt.Errorf("unrecognized IP network %s: want an address with the length of its prefix such as 10.0.0.0/8", text)
	}
	dotted := strings.Contains(text, ".")
	a, err := parseAddr(addr)
	if err == nil && dotted && !a.Is4() {
		err = fmt.Errorf("unrecognized IP address %s", text)
	}
	if err != nil {
		return nil, err
	}
	size, ok := scanNumber(mask, true)
	size &= math.MaxUint8
	if !ok || size > uint64(a.BitLen()) || size == 0 && !dotted {
		return nil, fmt.Errorf("invalid netmask %s", mask)
	}
	want := netip.PrefixFrom(a, int(size))
	return func(v Value) bool { return want.Contains(v.addr()) == (op != "!=") }, nil
}
