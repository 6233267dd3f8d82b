// Package jsonevent reads events for rules from JSON: one object with the
// values of fields, and their types where JSON does not tell them. It is what
// "tagwarden rules match" and "rules eval" take.
package jsonevent

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/falco"
)

// types are the names of types, as Falco has them in its tables of fields.
var types = map[string]falco.Type{
	"charbuf": falco.String, "fspath": falco.Path,
	"int8": falco.Int8, "int16": falco.Int16, "int32": falco.Int32, "int64": falco.Int64,
	"uint8": falco.Uint8, "uint16": falco.Uint16, "uint32": falco.Uint32, "uint64": falco.Uint64,
	"double": falco.Double, "bool": falco.Bool, "bytebuf": falco.Bytes,
	"ipaddr": falco.IPAddr, "ipnet": falco.IPNet, "port": falco.Port,
	"abstime": falco.AbsTime, "reltime": falco.RelTime,
}

// bits are the sizes of the whole numbers, negative for signed ones.
var bits = map[falco.Type]int{
	falco.Int8: -8, falco.Int16: -16, falco.Int32: -32, falco.Int64: -64,
	falco.Uint8: 8, falco.Uint16: 16, falco.Uint32: 32, falco.Uint64: 64,
	falco.Port: 16, falco.AbsTime: 64, falco.RelTime: 64,
}

// An Event is one event with the values of its fields.
type Event struct {
	// Condition is the one that the event came with, if it has one.
	Condition    string
	HasCondition bool
	// Time is when it happened; zero where it does not say.
	Time time.Time

	values map[string]falco.Value
	fields []falco.Field
	// shape is the same for events whose catalogue is the same.
	shape string
}

// Parse reads an event:
//
//	{"condition": "…", "time": "…", "fields": {"proc.pid": 1}, "types": {"proc.pid": "uint64"}}
//
// Only fields is required. A key of it is the name of a field, with its
// argument in brackets where it has one. A value is a string, a number, a bool,
// {"hex": "00ff"} for raw bytes, null for a field that has no value, or an
// array for a field with a list of them. Without a type, strings are charbuf,
// whole numbers int64 (uint64 where they are larger), other numbers double; with
// a catalogue, a field that it has is of the type that it says.
func Parse(line []byte, typed *falco.Catalog) (*Event, error) {
	var in struct {
		Condition *string                    `json:"condition"`
		Time      time.Time                  `json:"time"`
		Fields    map[string]json.RawMessage `json:"fields"`
		Types     map[string]string          `json:"types"`
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not an event: text after the object")
	}
	if in.Fields == nil {
		return nil, errors.New(`not an event: "fields" is missing`)
	}
	e := &Event{Time: in.Time, values: make(map[string]falco.Value, len(in.Fields))}
	if in.Condition != nil {
		e.Condition, e.HasCondition = *in.Condition, true
	}
	for name := range in.Types {
		if _, ok := in.Fields[name]; !ok {
			return nil, fmt.Errorf("not an event: a type is given for %q, which is not among the fields", name)
		}
	}
	var shape strings.Builder
	for _, name := range slices.Sorted(maps.Keys(in.Fields)) {
		f, v, err := field(name, in.Types[name], in.Fields[name], typed)
		if err != nil {
			return nil, fmt.Errorf("not an event: field %q: %w", name, err)
		}
		e.fields = append(e.fields, f)
		e.values[name] = v
		fmt.Fprintf(&shape, "%q %d %t\n", name, f.Type, f.List)
	}
	e.shape = shape.String()
	return e, nil
}

// field reads one value and says which field has it.
func field(name, typeName string, raw json.RawMessage, typed *falco.Catalog) (falco.Field, falco.Value, error) {
	bare, rest, bracket := strings.Cut(name, "[")
	if bare == "" || bracket && !strings.HasSuffix(rest, "]") {
		return falco.Field{}, falco.Value{}, errors.New("not the name of a field")
	}
	f := falco.Field{Name: bare, Arg: falco.OptArg}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return f, falco.Value{}, err
	}
	items, isList := v.([]any)
	f.List = isList
	f.Type = guess(v)
	if isList && len(items) > 0 {
		f.Type = guess(items[0])
	}
	if typed != nil && typeName == "" {
		if known := typed.Lookup(bare); known != nil {
			f.Type = known.Type
			if known.List && !isList && v != nil {
				// A list with one member may be written without brackets.
				items, isList, f.List = []any{v}, true, true
			}
		}
	}
	if typeName != "" {
		t, ok := types[typeName]
		if !ok {
			return f, falco.Value{}, fmt.Errorf("unknown type %q; there are %s", typeName, strings.Join(slices.Sorted(maps.Keys(types)), ", "))
		}
		f.Type = t
	}
	if !isList {
		val, err := value(f.Type, v)
		return f, val, err
	}
	vals := make([]falco.Value, len(items))
	for i, item := range items {
		var err error
		if vals[i], err = value(f.Type, item); err != nil {
			return f, falco.Value{}, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return f, falco.ListValue(vals...), nil
}

// guess is the type that a JSON value has by itself.
func guess(v any) falco.Type {
	switch v := v.(type) {
	case bool:
		return falco.Bool
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return falco.Int64
		}
		if _, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return falco.Uint64
		}
		return falco.Double
	}
	return falco.String
}

// value makes a value of type t.
func value(t falco.Type, v any) (falco.Value, error) {
	switch v := v.(type) {
	case nil:
		return falco.Value{}, nil
	case bool:
		if t == falco.Bool {
			return falco.BoolValue(v), nil
		}
	case json.Number:
		return number(t, v.String())
	case string:
		return text(t, v)
	case map[string]any:
		digits, ok := v["hex"].(string)
		if !ok || len(v) != 1 {
			return falco.Value{}, errors.New(`want {"hex": "…"}`)
		}
		b, err := hex.DecodeString(digits)
		switch {
		case err != nil:
			return falco.Value{}, err
		case t == falco.Bytes:
			return falco.BytesValue(b), nil
		case t == falco.String || t == falco.Path:
			return falco.StringValue(string(b)), nil
		}
	}
	return falco.Value{}, fmt.Errorf("a %s cannot be written like this", t)
}

func text(t falco.Type, s string) (falco.Value, error) {
	switch t {
	case falco.String, falco.Path:
		return falco.StringValue(s), nil
	case falco.Bytes:
		return falco.BytesValue([]byte(s)), nil
	case falco.IPAddr, falco.IPNet:
		a, err := netip.ParseAddr(s)
		return falco.IPValue(a), err
	case falco.Bool:
		return falco.Value{}, errors.New("want true or false, without quotes")
	}
	return number(t, s)
}

func number(t falco.Type, digits string) (falco.Value, error) {
	if t == falco.Double {
		n, err := strconv.ParseFloat(digits, 64)
		if err == nil && (math.IsInf(n, 0) || math.IsNaN(n)) {
			err = errors.New("not a number that can be compared")
		}
		return falco.FloatValue(n), err
	}
	switch size := bits[t]; {
	case size < 0:
		n, err := strconv.ParseInt(digits, 10, -size)
		return falco.IntValue(n), err
	case size > 0:
		n, err := strconv.ParseUint(digits, 10, size)
		return falco.UintValue(n), err
	}
	return falco.Value{}, fmt.Errorf("a %s cannot be a number", t)
}

// Shape is a key that two events share whose catalogues are the same.
func (e *Event) Shape() string { return e.shape }

// Catalog has the fields that conditions about the event may use: those that it
// has, and of base those under container and k8s, which every event may have.
func (e *Event) Catalog(base *falco.Catalog) *falco.Catalog {
	byName := map[string]falco.Field{}
	for _, f := range base.All() {
		if strings.HasPrefix(f.Name, "container.") || strings.HasPrefix(f.Name, "k8s.") {
			byName[f.Name] = f
		}
	}
	hasArg := map[string]bool{}
	for name := range e.values {
		bare, _, ok := strings.Cut(name, "[")
		hasArg[bare] = hasArg[bare] || ok
	}
	for _, f := range e.fields {
		if old, ok := byName[f.Name]; ok {
			if !hasArg[f.Name] {
				f.Arg = old.Arg
			}
			f.Dotted = old.Dotted
		}
		byName[f.Name] = f
	}
	all := make([]falco.Field, 0, len(byName))
	for _, f := range byName {
		all = append(all, f)
	}
	return falco.NewCatalog(all...)
}

// Type is the value of the field evt.type; see [falco.Event].
func (e *Event) Type() string {
	if v := e.values["evt.type"]; !v.IsNull() {
		return v.String()
	}
	return ""
}

// Field returns the value of a field, or of the field without its argument
// where the event has only that.
func (e *Event) Field(f *falco.FieldRef) falco.Value {
	if v, ok := e.values[f.String()]; ok {
		return v
	}
	v, ok := e.values[f.Name]
	if !ok && f.Avail == falco.Constant && e.Type() == "container" {
		return f.Start
	}
	return v
}
