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
		if t == Double {
			return func(v Value) bool { return compare(v.num, n) == 0 }, nil
		}
		return func(v Value) bool { return v.num == n }, nil
	case "!=":
		return func(v Value) bool { return compare(v.num, n) != 0 }, nil
	case "<":
		return func(v Value) bool { return compare(v.num, n) < 0 }, nil
	case "<=":
		return func(v Value) bool { return compare(v.num, n) <= 0 }, nil
	case ">":
		return func(v Value) bool { return compare(v.num, n) > 0 }, nil
	case ">=":
		return func(v Value) bool { return compare(v.num, n) >= 0 }, nil
	}
	return nil, fmt.Errorf("the operator '%s' does not work on numbers", op)
}

// compareAs compares two numbers as [Value] keeps them.
func compareAs(t Type) func(a, b uint64) int {
	switch {
	case t == Double:
		return func(a, b uint64) int { return cmp.Compare(math.Float64frombits(a), math.Float64frombits(b)) }
	case t.isSigned():
		return func(a, b uint64) int { return cmp.Compare(int64(a), int64(b)) }
	}
	return cmp.Compare[uint64]
}

// parseNumber reads a constant: decimal, with a sign or not. Hexadecimal
// numbers and fractions pass the grammar and fail here, as in Falco; so does a
// fraction for a double.
func parseNumber(t Type, text string) (uint64, error) {
	digits := strings.TrimPrefix(text, "+")
	switch {
	case t == Port:
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			return n, nil
		}
		// The table of services on this machine, as getservbyname asks it.
		if n, err := (&net.Resolver{}).LookupPort(context.Background(), "tcp", text); err == nil && text != "" {
			return uint64(n), nil
		}
		return 0, fmt.Errorf("%s is not a valid port or service", text)
	case t == Double:
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return math.Float64bits(float64(n)), nil
		}
	case t.isSigned():
		if n, err := strconv.ParseInt(digits, 10, t.bits()); err == nil {
			return uint64(n), nil
		}
	default:
		if n, err := strconv.ParseUint(digits, 10, t.bits()); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s is not a valid number", text)
}

func boolTest(op, text string) (func(Value) bool, error) {
	var want uint64
	switch text {
	case "true":
		want = 1
	case "false":
	default:
		return nil, fmt.Errorf("filter error: unrecognized boolean value '%s', want true or false", text)
	}
	if op == "!=" {
		return func(v Value) bool { return v.num != want }, nil
	}
	return func(v Value) bool { return v.num == want }, nil
}

func addrTest(op, text string) (func(Value) bool, error) {
	want, err := netip.ParseAddr(text)
	if err != nil {
		return nil, fmt.Errorf("unrecognized IP address %s", text)
	}
	equal := func(v Value) bool { return v.kind == address && v.ext.ip == want }
	if op == "!=" {
		return func(v Value) bool { return !equal(v) }, nil
	}
	return equal, nil
}

func netTest(op, text string) (func(Value) bool, error) {
	want, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("invalid network %s, want an address with a prefix length such as 10.0.0.0/8", text)
	}
	inside := func(v Value) bool { return v.kind == address && want.Contains(v.ext.ip) }
	if op == "!=" {
		return func(v Value) bool { return !inside(v) }, nil
	}
	return inside, nil
}
