package falco

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// object is one mapping of a rules file.
type object struct {
	r    *reader
	node *yaml.Node
	typ  string
	name string
	in   *object // the object that it is a part of
}

// where leads from the item to o.
func (o *object) where() []Location {
	var all []Location
	for x := o; x != nil; x = x.in {
		all = append(all, o.r.place(x.typ, x.name, x.node))
	}
	slices.Reverse(all)
	return all
}

// at is the place of the value of key.
func (o *object) at(key string) Location {
	if n := o.get(key); n != nil {
		return o.r.place(key, "", n)
	}
	return o.where()[0]
}

// get returns the value of key, or nil. A key that stands twice counts with
// its first value, as in yaml-cpp.
func (o *object) get(key string) *yaml.Node {
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		if k := resolve(o.node.Content[i]); k.Kind == yaml.ScalarNode && k.Value == key {
			return o.node.Content[i+1]
		}
	}
	return nil
}

func (o *object) has(key string) bool { return o.get(key) != nil }

func (o *object) keys() []string {
	var all []string
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		all = append(all, o.node.Content[i].Value)
	}
	return all
}

func (o *object) missing(key string) *Problem {
	return fail(ErrYAMLValidate, o.where(), "Item has no mapping for key '%s'", key)
}

// text is the required text of key.
func (o *object) text(key string) (string, *Problem) {
	n := o.get(key)
	if n == nil {
		return "", o.missing(key)
	}
	s, ok := scalar(n)
	if !ok {
		return "", o.notScalar(key)
	}
	if s == "" {
		return "", fail(ErrYAMLValidate, append(o.where(), o.at(key)), "Mapping for key '%s' is empty", key)
	}
	return s, nil
}

// optional is the text of key, or "" where there is none.
func (o *object) optional(key string) (string, *Problem) {
	n := o.get(key)
	if n == nil {
		return "", nil
	}
	s, ok := scalar(n)
	if !ok {
		return "", o.notScalar(key)
	}
	return s, nil
}

func (o *object) notScalar(key string) *Problem {
	return fail(ErrYAMLValidate, append(o.where(), o.at(key)), "Can't decode YAML scalar value")
}

// scalar is the text of a scalar; null is the empty text.
func scalar(n *yaml.Node) (string, bool) {
	if n = resolve(n); n.Kind != yaml.ScalarNode {
		return "", false
	}
	if isNull(n) {
		return "", true
	}
	return n.Value, true
}

// named reads the name of the item.
func (o *object) named(key string) (p *Problem) {
	o.name, p = o.text(key)
	return p
}

// texts is the required list of texts of key.
func (o *object) texts(key string) ([]string, *Problem) {
	n := o.get(key)
	if n == nil {
		return nil, o.missing(key)
	}
	if n = resolve(n); n.Kind != yaml.SequenceNode {
		if isNull(n) {
			return nil, nil
		}
		return nil, fail(ErrYAMLValidate, append(o.where(), o.at(key)), "Can't decode YAML sequence value")
	}
	all := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		s, ok := scalar(item)
		if !ok {
			return nil, fail(ErrYAMLValidate, append(o.where(), o.at(key)), "Can't decode YAML sequence value")
		}
		all = append(all, s)
	}
	return all, nil
}

// flag is the optional bool of key.
func (o *object) flag(key string, def bool) (bool, *Problem) {
	n := o.get(key)
	if n == nil {
		return def, nil
	}
	s, _ := scalar(n)
	switch strings.ToLower(s) {
	case "true", "yes", "on", "y":
		return true, nil
	case "false", "no", "off", "n":
		return false, nil
	}
	return def, o.notScalar(key)
}

// number is the optional number of key.
func (o *object) number(key string) *Problem {
	n := o.get(key)
	if n == nil {
		return nil
	}
	s, _ := scalar(n)
	if _, err := strconv.ParseUint(s, 10, 32); err != nil {
		return o.notScalar(key)
	}
	return nil
}

// unknownKeys warns of keys that are not among the known ones.
func (o *object) unknownKeys(known ...string) {
	for _, key := range o.keys() {
		if !slices.Contains(known, key) {
			o.r.res.warn(WarnUnknownKey, append(o.where(), o.at(key)), "Unknown key '%s'. The key will be ignored.", key)
		}
	}
}

// overriding says what an item does to the one of the same name before it.
type overriding struct {
	append, replace []string
}

func (ov overriding) any() bool { return len(ov.append)+len(ov.replace) > 0 }

func (ov overriding) appends(key string) bool { return slices.Contains(ov.append, key) }

func (ov overriding) replaces(key string) bool { return slices.Contains(ov.replace, key) }

// overrides reads "override" and the older "append: true", which appends to
// the first of the keys that can be appended to.
func (o *object) overrides(appendable, replaceable []string) (ov overriding, p *Problem) {
	appending, p := o.flag("append", false)
	if p != nil {
		return ov, p
	}
	n := o.get("override")
	if appending {
		o.r.res.warn(WarnDeprecated, append(o.where(), o.at("append")), warnAppend)
		if n != nil {
			return ov, fail(ErrYAMLValidate, o.where(), "Keys 'override' and 'append: true' cannot be used together. "+
				"Add an 'append' entry (e.g. 'condition: append') under 'override' instead.")
		}
		return overriding{append: appendable}, nil
	}
	if n == nil {
		return ov, nil
	}
	if n = resolve(n); n.Kind != yaml.MappingNode {
		return ov, fail(ErrYAMLValidate, append(o.where(), o.at("override")), "Can't decode YAML mapping value")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		how, _ := scalar(n.Content[i+1])
		switch {
		case how == "append" && !slices.Contains(appendable, key) && slices.Contains(replaceable, key):
			return ov, fail(ErrYAMLValidate, o.where(), "Key '%s' cannot be appended to, use 'replace' instead", key)
		case how == "append" && !slices.Contains(appendable, key), how == "replace" && !slices.Contains(replaceable, key):
			return ov, fail(ErrYAMLValidate, o.where(), "Key '%s' cannot be overridden", key)
		case how == "append" && !o.has(key):
			return ov, fail(ErrYAMLValidate, o.where(), "An append override for '%s' was specified but '%s' is not defined", key, key)
		case how == "replace" && !o.has(key):
			return ov, fail(ErrYAMLValidate, o.where(), "An replace override for '%s' was specified but '%s' is not defined", key, key)
		case how == "append":
			ov.append = append(ov.append, key)
		case how == "replace":
			ov.replace = append(ov.replace, key)
		default:
			return ov, fail(ErrYAMLValidate, o.where(), "Invalid override operation for key '%s': '%s', it must be one of: append, replace", key, how)
		}
	}
	return ov, nil
}

var errNotBare = errors.New("not a bare text")

// wholeBare reads the whole input as a bare text.
func (l *lexer) wholeBare() (string, error) {
	s, ok := l.bare()
	if !ok || l.pos != len(l.in) {
		return "", errNotBare
	}
	return s, nil
}
