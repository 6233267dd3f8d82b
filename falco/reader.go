package falco

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxDocuments bounds the documents of one file.
const maxDocuments = 10_000

// reader takes one rules file into the collector.
type reader struct {
	file string
	doc  int // counts over all files
	col  *collector
	res  *Result
	opt  *Options
}

func (r *reader) read(data []byte) *Problem {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for range maxDocuments {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &Problem{Code: ErrYAMLParse, Message: strings.ReplaceAll(err.Error(), "\n", " "),
				Where: []Location{{Type: "rules content", File: r.file, At: Position{Line: 1, Column: 1}}}}
		}
		r.doc = r.col.tick()
		if p := r.document(&doc); p != nil {
			return p
		}
	}
	return nil
}

func (r *reader) document(doc *yaml.Node) *Problem {
	if len(doc.Content) == 0 {
		return nil
	}
	top := resolve(doc.Content[0])
	where := []Location{r.place("rules content", "", top)}
	switch {
	case isNull(top):
		return nil
	case top.Kind == yaml.ScalarNode:
		return fail(ErrYAMLValidate, where, "Rules content is not yaml")
	case top.Kind != yaml.SequenceNode:
		return fail(ErrYAMLValidate, where, "Rules content is not yaml array of objects")
	}
	for _, item := range top.Content {
		if item = resolve(item); isNull(item) {
			continue
		}
		if item.Kind != yaml.MappingNode {
			return fail(ErrYAMLValidate, []Location{r.place("rules content item", "", item)},
				"Unexpected element type. Each element should be a yaml associative array.")
		}
		if p := r.item(&object{r: r, node: item}); p != nil {
			return p
		}
	}
	return nil
}

func (r *reader) place(typ, name string, n *yaml.Node) Location {
	return Location{Type: typ, Name: name, File: r.file, At: Position{Line: n.Line, Column: n.Column}}
}

func fail(code Code, where []Location, format string, args ...any) *Problem {
	return &Problem{Code: code, Message: fmt.Sprintf(format, args...), Where: slices.Clone(where)}
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// item takes one item of the file; the order of the tests is Falco's.
func (r *reader) item(o *object) *Problem {
	for _, kind := range []struct {
		key  string
		read func(*object) *Problem
	}{
		{"required_engine_version", r.engineVersion},
		{"required_plugin_versions", r.pluginVersions},
		{"list", r.list},
		{"macro", r.macro},
		{"rule", r.rule},
	} {
		if o.get(kind.key) != nil {
			o.typ = kind.key
			return kind.read(o)
		}
	}
	o.typ = "unknown item"
	r.res.warn(WarnUnknownItem, o.where(), "Unknown top level item")
	return nil
}

func (r *reader) engineVersion(o *object) *Problem {
	text, p := o.text("required_engine_version")
	if p != nil {
		return p
	}
	want, ok := parseVersion(text)
	if !ok {
		return fail(ErrYAMLValidate, o.where(), "Unable to parse engine version '%s' as a semver string. Expected \"x.y.z\" semver format.", text)
	}
	have, _ := parseVersion(EngineVersion)
	if want[0] != have[0] || slices.Compare(have[:], want[:]) < 0 {
		return fail(ErrValidate, o.where(), "Rules require engine version %d.%d.%d, but engine version is %s", want[0], want[1], want[2], EngineVersion)
	}
	return nil
}

// parseVersion reads x.y.z, or a number N that stands for 0.N.0.
func parseVersion(s string) (v [3]int, ok bool) {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return [3]int{0, n, 0}, true
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// pluginVersions checks the form alone: there are no plugins here.
func (r *reader) pluginVersions(o *object) *Problem {
	n := resolve(o.get("required_plugin_versions"))
	if n.Kind != yaml.SequenceNode {
		return fail(ErrYAMLValidate, o.where(), "Value of required_plugin_versions must be a sequence")
	}
	for _, item := range n.Content {
		for plugins := []*yaml.Node{resolve(item)}; len(plugins) > 0; plugins = plugins[1:] {
			plugin := &object{r: r, node: plugins[0], typ: "required_plugin_versions entry"}
			if plugin.node.Kind != yaml.MappingNode {
				return fail(ErrYAMLValidate, plugin.where(), "Plugin version must be a yaml associative array")
			}
			var p *Problem
			if plugin.name, p = plugin.text("name"); p != nil {
				return p
			}
			version, p := plugin.text("version")
			if p != nil {
				return p
			}
			if _, ok := parseVersion(version); !ok || !strings.Contains(version, ".") {
				return fail(ErrYAMLValidate, plugin.where(), "Unable to parse plugin version '%s' as a semver string. Expected \"x.y.z\" semver format.", version)
			}
			if alternatives := plugin.get("alternatives"); alternatives != nil {
				for _, a := range resolve(alternatives).Content {
					plugins = append(plugins, resolve(a))
				}
			}
		}
	}
	return nil
}

const (
	warnAppend  = "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead."
	warnEnabled = "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace')."
)

func (r *reader) list(o *object) *Problem {
	if p := o.named("list"); p != nil {
		return p
	}
	if _, err := (&lexer{in: o.name}).wholeBare(); err != nil {
		r.res.warn(WarnListName, o.where(), "List has an invalid name. List names should match a regular expression: %s", `([^()"'[:space:]=,]+)`)
	}
	items, p := o.texts("items")
	if p != nil {
		return p
	}
	ov, p := o.overrides([]string{"items"}, []string{"items"})
	if p != nil {
		return p
	}
	o.unknownKeys("list", "items", "append", "override")
	old := r.col.list(o.name)
	switch {
	case ov.appends("items"):
		if old == nil {
			return fail(ErrValidate, o.where(), "List uses 'append' or 'override.items: append' but no list by that name already exists")
		}
		old.items = append(old.items, items...)
		old.visible = r.col.tick()
	case old != nil:
		old.items, old.visible, old.where, old.doc = items, r.col.tick(), o.where()[0], r.doc
	default:
		at := r.col.tick()
		r.col.lists = append(r.col.lists, &listItem{name: o.name, items: items, index: at, visible: at, where: o.where()[0], doc: r.doc})
	}
	return nil
}

func (r *reader) macro(o *object) *Problem {
	if p := o.named("macro"); p != nil {
		return p
	}
	if l := (&lexer{in: o.name}); l.wordEnd(0) != len(o.name) {
		r.res.warn(WarnMacroName, o.where(), "Macro has an invalid name. Macro names should match a regular expression: %s", "([a-zA-Z]+[a-zA-Z0-9_]*)")
	}
	cond, p := o.text("condition")
	if p != nil {
		return p
	}
	ov, p := o.overrides([]string{"condition"}, []string{"condition"})
	if p != nil {
		return p
	}
	o.unknownKeys("macro", "condition", "append", "override")
	old := r.col.macro(o.name)
	switch {
	case ov.appends("condition"):
		if old == nil {
			return fail(ErrValidate, o.where(), "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists")
		}
		old.cond += " " + cond
		old.visible = r.col.tick()
	case old != nil:
		old.cond, old.visible, old.where, old.condAt, old.doc = cond, r.col.tick(), o.where()[0], o.at("condition"), r.doc
	default:
		at := r.col.tick()
		r.col.macros = append(r.col.macros, &macroItem{
			name: o.name, cond: cond, index: at, visible: at, where: o.where()[0], condAt: o.at("condition"), doc: r.doc,
		})
	}
	return nil
}
