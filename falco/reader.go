package falco

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxDocuments bounds the documents of one file.
const maxDocuments = 10_000

// rootType is the step that every way to a problem begins with.
const rootType = "rules content"

// reader takes one rules file into the collector. It stops at the first
// problem.
type reader struct {
	file    string
	col     *collector
	res     *Result
	opt     *Options
	problem *Problem
	lines   []int // where the lines of the file begin, in bytes
	last    Position
}

// fail keeps a problem, if it is the first.
func (r *reader) fail(code Code, where []Location, format string, args ...any) {
	if r.problem == nil {
		r.problem = fail(code, where, format, args...)
	}
}

// warn adds a warning, unless there was a problem before.
func (r *reader) warn(code Code, where []Location, format string, args ...any) {
	if r.problem == nil {
		r.res.warn(code, where, format, args...)
	}
}

// read takes the file, and returns what is wrong with it.
func (r *reader) read(data []byte) *Problem {
	r.lines = []int{0}
	for i, c := range data {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	docs, err := documents(data)
	if err != nil {
		r.failYAML(err)
	}
	for _, doc := range docs {
		r.col.doc++
		r.document(doc)
	}
	return r.problem
}

// documents parses all of the file before the first item is read, as Falco
// does.
func documents(data []byte) ([]*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var all []*yaml.Node
	for len(all) < maxDocuments {
		doc := &yaml.Node{}
		err := dec.Decode(doc)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, doc)
	}
	return nil, errors.New("too many documents")
}

// failYAML fails for what is no YAML. An error at the end of the file is told at
// the place of what does not end.
func (r *reader) failYAML(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) || at.Mark.Line == 0 {
		r.fail(ErrYAMLParse, r.root(), "%s", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	mark, message := at.Mark, at.Message
	if at.ContextMsg != "" {
		message += " " + at.ContextMsg
	}
	if r.offset(mark.Line, mark.Column) == len(r.res.content) && 0 < at.ContextMark.Line && at.ContextMark.Line < mark.Line {
		mark = at.ContextMark
	}
	if mark.Line > len(r.lines) {
		mark.Line = len(r.lines)
		mark.Column = utf8.RuneCountInString(r.res.content[r.lines[mark.Line-1]:]) + 1
	}
	where := r.step(r.root(), valueType, "", &yaml.Node{Line: mark.Line, Column: mark.Column})
	r.fail(ErrYAMLParse, where, "%s", strings.ReplaceAll(message, "\n", " "))
}

// root is the whole file.
func (r *reader) root() []Location {
	return []Location{{Type: rootType, File: r.file, At: Position{Line: 1, Column: 1}}}
}

// step adds a node to the way to it.
func (r *reader) step(where []Location, typ, name string, n *yaml.Node) []Location {
	at := Position{Line: max(n.Line, 1), Column: max(n.Column, 1)}
	at.Offset = r.offset(at.Line, at.Column)
	if len(where) == 1 && where[0].Type == rootType {
		where = nil
	}
	return append(slices.Clip(where), Location{Type: typ, Name: name, File: r.file, At: at})
}

// offset is where a character stands in the file, in bytes. It goes on from
// the last one that was asked for, as long as that is in the same line.
func (r *reader) offset(line, column int) int {
	if line > len(r.lines) {
		return len(r.res.content)
	}
	if r.last.Line != line || r.last.Column > column {
		r.last = Position{Offset: r.lines[line-1], Line: line, Column: 1}
	}
	for i := range r.res.content[r.last.Offset:] {
		if r.last.Column == column {
			r.last.Offset += i
			return r.last.Offset
		}
		r.last.Column++
	}
	r.last = Position{}
	return len(r.res.content)
}

func (r *reader) document(doc *yaml.Node) {
	if len(doc.Content) == 0 {
		return
	}
	top := resolve(doc.Content[0])
	switch {
	case isNull(top):
		return
	case top.Kind != yaml.SequenceNode && top.Kind != yaml.MappingNode:
		r.fail(ErrYAMLValidate, r.root(), "Rules content is not yaml")
	case top.Kind != yaml.SequenceNode:
		r.fail(ErrYAMLValidate, r.root(), "Rules content is not yaml array of objects")
	}
	for _, item := range top.Content {
		if item = resolve(item); r.problem == nil && !isNull(item) {
			r.item(item)
		}
	}
}

// item takes one item of the file; the order of the tests is Falco's.
func (r *reader) item(n *yaml.Node) {
	o := r.object(n, r.step(nil, "rules content item", "", n), "Unexpected element type. Each element should be a yaml associative array.")
	as := func(typ string) *object {
		o.where[0].Type = typ
		return o
	}
	switch {
	case r.problem != nil:
	case o.has("required_engine_version"):
		r.engineVersion(as("required_engine_version"))
	case o.has("required_plugin_versions"):
		r.pluginVersions(o)
	case o.has("list"):
		r.list(as("list"))
	case o.has("macro"):
		r.macro(as("macro"))
	case o.has("rule"):
		r.rule(as("rule"))
	default:
		r.warn(WarnUnknownItem, o.where, "Unknown top level item")
	}
}

func (r *reader) engineVersion(o *object) {
	text := o.text("required_engine_version")
	want, ok := parseVersion(text)
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		want, ok = [3]uint64{0, n, 0}, true
	}
	if !ok {
		o.fail(ErrYAMLValidate, "Unable to parse engine version '%s' as a semver string. Expected \"x.y.z\" semver format.", text)
		return
	}
	have, _ := parseVersion(EngineVersion)
	if want[0] != have[0] || slices.Compare(have[:], want[:]) < 0 {
		o.fail(ErrValidate, "Rules require engine version %d.%d.%d, but engine version is %s", want[0], want[1], want[2], EngineVersion)
	}
}

// parseVersion reads x.y.z, with or without a pre-release.
func parseVersion(s string) (v [3]uint64, ok bool) {
	s, _, _ = strings.Cut(s, "+")
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// pluginVersions checks the form alone: there are no plugins here.
func (r *reader) pluginVersions(o *object) {
	all := o.get("required_plugin_versions")
	where := r.step(nil, "required plugin versions", "", all)
	if all.Kind != yaml.SequenceNode {
		r.fail(ErrYAMLValidate, where, "Value of required_plugin_versions must be a sequence")
		return
	}
	for _, n := range all.Content {
		n = resolve(n)
		plugin := r.object(n, r.step(where, "required plugin versions entry", "", n), "Plugin version must be a mapping")
		names := map[string]bool{}
		r.pluginVersion(plugin, names)
		alternatives := plugin.get("alternatives")
		switch {
		case r.problem != nil:
			return
		case alternatives == nil:
			continue
		case alternatives.Kind != yaml.SequenceNode:
			plugin.fail(ErrYAMLValidate, "Value of plugin version alternatives must be a sequence")
		}
		for _, n := range alternatives.Content {
			n = resolve(n)
			r.pluginVersion(r.object(n, r.step(plugin.where, "required plugin versions alternative", "", n),
				"Plugin version alternative must be a mapping"), names)
		}
	}
}

func (r *reader) pluginVersion(o *object, names map[string]bool) {
	name, version := o.named("name"), o.text("version")
	if _, ok := parseVersion(version); !ok {
		o.fail(ErrValidate, "Invalid required version '%s' for plugin '%s'", version, name)
	}
	if names[name] {
		o.fail(ErrValidate, "Defined multiple alternative version requirements for plugin '%s'", name)
	}
	names[name] = true
}

func (r *reader) list(o *object) {
	name := o.named("list")
	if !isBare(name) {
		r.warn(WarnListName, o.where, "List has an invalid name. List names should match a regular expression: %s", `([^()"'[:space:]=,]+)`)
	}
	items := o.texts("items")
	ov, appending := o.overrides([]string{"items"}, []string{"items"})
	o.unknownKeys("list", "items", "append", "override")
	old := r.col.lists.get(name)
	appending = appending || ov.appends("items")
	if appending && old == nil {
		o.fail(ErrValidate, "List uses 'append' or 'override.items: append' but no list by that name already exists")
	}
	if r.problem != nil {
		return
	}
	now := r.col.tick()
	switch {
	case appending:
		old.items, old.visible = append(old.items, items...), now
	case old != nil:
		old.items, old.visible, old.where, old.docs = items, now, o.where, append(old.docs, r.col.doc)
	default:
		r.col.lists.add(name, &listItem{name: name, items: items, index: now, visible: now, where: o.where, docs: []int{r.col.doc}})
	}
}

func (r *reader) macro(o *object) {
	name := o.named("macro")
	if l := (&lexer{in: name}); l.wordEnd(0) != len(name) {
		r.warn(WarnMacroName, o.where, "Macro has an invalid name. Macro names should match a regular expression: %s", "([a-zA-Z]+[a-zA-Z0-9_]*)")
	}
	m := macroItem{name: name, cond: o.text("condition"), where: o.where, condAt: o.textAt("macro condition", "condition"), docs: []int{r.col.doc}}
	ov, appending := o.overrides([]string{"condition"}, []string{"condition"})
	o.unknownKeys("macro", "condition", "append", "override")
	old := r.col.macros.get(name)
	appending = appending || ov.appends("condition")
	if appending && old == nil {
		o.fail(ErrValidate, "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists")
	}
	if r.problem != nil {
		return
	}
	now := r.col.tick()
	m.index, m.visible = now, now
	switch {
	case appending:
		old.cond, old.visible = old.cond+" "+m.cond, now
	case old != nil:
		m.index, m.docs = old.index, append(old.docs, m.docs...)
		*old = m
	default:
		r.col.macros.add(name, &m)
	}
}
