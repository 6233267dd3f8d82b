package falco

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// object is one mapping of a rules file. The first thing that is wrong with it
// is kept by its reader; from then on it gives zero values.
type object struct {
	r    *reader
	node *yaml.Node
	// where leads to the object.
	where []Location
}

// object makes one of a node, or fails with the given message.
func (r *reader) object(n *yaml.Node, where []Location, message string) *object {
	if n.Kind != yaml.MappingNode {
		r.fail(ErrYAMLValidate, where, "%s", message)
	}
	return &object{r: r, node: n, where: where}
}

// named reads the name of the object and puts it into the way to it.
func (o *object) named(key string) string {
	name := o.text(key)
	o.where = slices.Clone(o.where)
	o.where[len(o.where)-1].Name = name
	return name
}

// at leads to the value of key.
func (o *object) at(typ, key string) []Location {
	n := o.get(key)
	if n == nil {
		return o.where
	}
	name := key
	if typ != valueType {
		name = ""
	}
	return o.r.step(o.where, typ, name, n)
}

// valueType is how Falco calls the step to the value of a key.
const valueType = "value for"

func (o *object) fail(code Code, format string, args ...any) {
	o.r.fail(code, o.where, format, args...)
}

func (o *object) failAt(key, format string, args ...any) {
	o.r.fail(ErrYAMLValidate, o.at(valueType, key), format, args...)
}

// get returns the value of key, or nil. A key that stands twice counts with
// its first value, as in yaml-cpp.
func (o *object) get(key string) *yaml.Node {
	if o.node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		if k := resolve(o.node.Content[i]); k.Kind == yaml.ScalarNode && k.Value == key {
			return resolve(o.node.Content[i+1])
		}
	}
	return nil
}

func (o *object) has(key string) bool { return o.get(key) != nil }

// value returns the value of a key that must be there.
func (o *object) value(key string) *yaml.Node {
	n := o.get(key)
	if n == nil {
		o.fail(ErrYAMLValidate, "Item has no mapping for key '%s'", key)
		return &yaml.Node{Kind: yaml.ScalarNode}
	}
	return n
}

// text is the required text of key.
func (o *object) text(key string) string {
	n := o.value(key)
	switch {
	case isNull(n):
		o.fail(ErrYAMLValidate, "Mapping for key '%s' is empty", key)
	case n.Kind != yaml.ScalarNode:
		o.failAt(key, "Value is not a scalar value")
	case n.Value == "":
		o.failAt(key, "Value must be non-empty")
	}
	return n.Value
}

// optional is the text of key, or def where there is none.
func (o *object) optional(key, def string) string {
	if !o.has(key) {
		return def
	}
	return o.text(key)
}

// flag is the optional bool of key.
func (o *object) flag(key string, def bool) bool {
	if !o.has(key) {
		return def
	}
	s := o.text(key)
	lower := strings.ToLower(s)
	// The words are written small, large or as at the beginning of a sentence.
	if s == lower || s == strings.ToUpper(s) || s[1:] == lower[1:] {
		switch lower {
		case "true", "yes", "on", "y":
			return true
		case "false", "no", "off", "n":
			return false
		}
	}
	o.failAt(key, "Can't decode YAML scalar value")
	return def
}

// number checks the optional number of key.
func (o *object) number(key string) {
	if !o.has(key) {
		return
	}
	if _, err := strconv.ParseUint(o.text(key), 10, 32); err != nil {
		o.failAt(key, "Can't decode YAML scalar value")
	}
}

// texts is the required list of texts of key.
func (o *object) texts(key string) []string {
	n := o.value(key)
	if n.Kind != yaml.SequenceNode {
		o.failAt(key, "Value is not a sequence")
		return nil
	}
	all := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			o.r.fail(ErrYAMLValidate, o.r.step(o.at(valueType, key), "list item", "", item), "sequence value is not scalar")
			return nil
		}
		all = append(all, item.Value)
	}
	return all
}

// unknownKeys warns of keys that are not among the known ones.
func (o *object) unknownKeys(known ...string) {
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		if key := resolve(o.node.Content[i]).Value; !slices.Contains(known, key) {
			o.r.warn(WarnUnknownKey, o.r.step(o.where, valueType, key, o.node.Content[i+1]), "Unknown key '%s'. The key will be ignored.", key)
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

const (
	warnAppend = "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
	errBoth    = "Keys 'override' and 'append: true' cannot be used together. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
)

// overrides reads "override" and the older "append: true".
func (o *object) overrides(appendable, replaceable []string) (ov overriding, appending bool) {
	appending = o.flag("append", false)
	if appending {
		o.r.warn(WarnDeprecated, o.where, warnAppend)
	}
	n := o.get("override")
	if n == nil || n.Kind != yaml.MappingNode {
		return ov, appending
	}
	where := o.r.step(o.where, "overrides", "", o.node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
		key, how := k.Value, v.Value
		at := o.r.step(where, "overrides", key, k)
		switch {
		case how == "append" && !slices.Contains(appendable, key):
			o.r.fail(ErrYAMLValidate, at, "Key '%s' cannot be appended to, use 'replace' instead", key)
		case how == "append":
			ov.append = append(ov.append, key)
		case how == "replace" && !slices.Contains(replaceable, key):
			o.r.fail(ErrYAMLValidate, at, "Key '%s' cannot be replaced", key)
		case how == "replace":
			ov.replace = append(ov.replace, key)
		default:
			allowed := ""
			if slices.Contains(appendable, key) {
				allowed += "append "
			}
			if slices.Contains(replaceable, key) {
				allowed += "replace "
			}
			o.r.fail(ErrYAMLValidate, o.r.step(where, valueType, key, v),
				"Invalid override operation for key '%s': '%s'. Allowed values are: %s", key, how, allowed)
		}
	}
	if appending && ov.any() {
		o.fail(ErrYAMLValidate, errBoth)
	}
	return ov, appending
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// isBare reports whether the whole text can stand without quotes.
func isBare(s string) bool {
	l := &lexer{in: s}
	_, ok := l.bare()
	return ok && l.pos == len(s)
}
