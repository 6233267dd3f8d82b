package falco

import (
	"cmp"
	"context"
	"fmt"
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

// parseNumber reads a constant: decimal, with a sign or not. Hexadecimal
// numbers and fractions pass the grammar and fail here, as in Falco; so does a
// fraction for a double.
func parseNumber(t Type, text string) (Value, error) {
	digits := strings.TrimPrefix(text, "+")
	switch {
	case t == Port:
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			return UintValue(n), nil
		}
		// The table of services on this machine, as getservbyname asks it.
		if n, err := (&net.Resolver{}).LookupPort(context.Background(), "tcp", text); err == nil && text != "" {
			return UintValue(uint64(n)), nil
		}
		return Value{}, fmt.Errorf("%s is not a valid port or service", text)
	case t == Double:
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return FloatValue(float64(n)), nil
		}
	case t.isSigned():
		if n, err := strconv.ParseInt(digits, 10, t.bits()); err == nil {
			return IntValue(n), nil
		}
	default:
		if n, err := strconv.ParseUint(digits, 10, t.bits()); err == nil {
			return UintValue(n), nil
		}
	}
	return Value{}, fmt.Errorf("%s is not a valid number", text)
}

func boolTest(op, text string) (func(Value) bool, error) {
	if text != "true" && text != "false" {
		return nil, fmt.Errorf("filter error: unrecognized boolean value '%s', want true or false", text)
	}
	want := (text == "true") == (op != "!=")
	return func(v Value) bool { return (v.num != 0) == want }, nil
}

func addrTest(op, text string) (func(Value) bool, error) {
	want, err := netip.ParseAddr(text)
	if err != nil {
		return nil, fmt.Errorf("unrecognized IP address %s", text)
	}
	want = want.Unmap()
	return func(v Value) bool { return (v.addr() == want) == (op != "!=") }, nil
}

func netTest(op, text string) (func(Value) bool, error) {
	want, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("invalid network %s, want an address with a prefix length such as 10.0.0.0/8", text)
	}
	return func(v Value) bool { return want.Contains(v.addr()) == (op != "!=") }, nil
}
