package falco

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

var (
	ruleAppendable  = []string{"condition", "output", "desc", "tags", "exceptions"}
	ruleReplaceable = []string{
		"condition", "output", "desc", "priority", "tags", "exceptions", "enabled",
		"warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration",
	}
	ruleKeys = append([]string{"source", "append", "override"}, ruleReplaceable...)
)

func (r *reader) rule(o *object) *Problem {
	if p := o.named("rule"); p != nil {
		return p
	}
	o.unknownKeys(append([]string{"rule"}, ruleKeys...)...)
	ov, p := o.overrides(ruleAppendable, ruleReplaceable)
	if p != nil {
		return p
	}
	old := r.col.rule(o.name)
	switch {
	case o.has("override") && ov.any():
		return r.overrideRule(o, ov, old)
	case ov.any():
		return r.appendRule(o, old)
	case !o.has("condition") && !o.has("output") && !o.has("desc") && !o.has("priority"):
		return r.enableRule(o, old)
	}
	return r.defineRule(o, old)
}

// enableRule is the old form {rule, enabled}.
func (r *reader) enableRule(o *object, old *ruleItem) *Problem {
	if !o.has("enabled") {
		return o.missing("condition")
	}
	enabled, p := o.flag("enabled", true)
	if p != nil {
		return p
	}
	r.res.warn(WarnDeprecated, o.where(), warnEnabled)
	if old == nil {
		return fail(ErrValidate, o.where(), "Rule has 'enabled' key but no rule by that name already exists")
	}
	old.enabled = enabled
	return nil
}

// appendRule is the old form with append: true.
func (r *reader) appendRule(o *object, old *ruleItem) *Problem {
	if old == nil {
		return fail(ErrValidate, o.where(), "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists")
	}
	if !o.has("condition") && !o.has("exceptions") {
		return fail(ErrValidate, o.where(), "Appended rule must have exceptions or condition property")
	}
	return r.change(o, old, overriding{append: present(o, "condition", "exceptions")})
}

func present(o *object, keys ...string) []string {
	return slices.DeleteFunc(keys, func(k string) bool { return !o.has(k) })
}

func (r *reader) overrideRule(o *object, ov overriding, old *ruleItem) *Problem {
	for _, key := range o.keys() {
		if slices.Contains(ruleReplaceable, key) && !ov.appends(key) && !ov.replaces(key) {
			return fail(ErrYAMLValidate, o.where(), "Unexpected key '%s': no corresponding entry under 'override' is defined.", key)
		}
	}
	switch {
	case old == nil && len(ov.append) > 0:
		return fail(ErrValidate, o.where(), "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists")
	case old == nil:
		return fail(ErrValidate, o.where(), "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists")
	}
	return r.change(o, old, ov)
}

// change appends to and replaces keys of a rule.
func (r *reader) change(o *object, old *ruleItem, ov overriding) *Problem {
	source, p := o.optional("source")
	switch {
	case p != nil:
		return p
	case source != "" && source != old.source:
		return fail(ErrValidate, o.where(), "Rule has been re-defined with a different source")
	}
	into := func(dst *string, key string, at *Location) *Problem {
		if !ov.appends(key) && !ov.replaces(key) {
			return nil
		}
		s, p := o.text(key)
		if p != nil {
			return p
		}
		if ov.replaces(key) {
			*dst = strings.TrimSpace(s)
			if at != nil {
				*at = o.at(key)
			}
			return nil
		}
		*dst += " " + s
		return nil
	}
	for _, part := range []struct {
		dst *string
		key string
		at  *Location
	}{{&old.cond, "condition", &old.condAt}, {&old.output, "output", &old.outputAt}, {&old.desc, "desc", nil}} {
		if p := into(part.dst, part.key, part.at); p != nil {
			return p
		}
	}
	if ov.appends("tags") || ov.replaces("tags") {
		tags, p := o.texts("tags")
		if p != nil {
			return p
		}
		if ov.replaces("tags") {
			old.tags = nil
		}
		old.tags = append(old.tags, tags...)
	}
	if ov.appends("exceptions") || ov.replaces("exceptions") {
		exceptions, p := r.exceptions(o, old, ov.appends("exceptions"))
		if p != nil {
			return p
		}
		if ov.replaces("exceptions") {
			old.exceptions = nil
		}
		for _, ex := range exceptions {
			old.addException(ex)
		}
	}
	if ov.replaces("priority") {
		if p := r.priority(o, old); p != nil {
			return p
		}
	}
	return r.switches(o, old, ov.replaces)
}

// addException takes an exception of a name that the rule has already as more
// values for it.
func (r *ruleItem) addException(ex *exceptionItem) {
	for _, old := range r.exceptions {
		if old.name == ex.name {
			old.values = append(old.values, ex.values...)
			return
		}
	}
	r.exceptions = append(r.exceptions, ex)
}

func (r *reader) priority(o *object, rule *ruleItem) *Problem {
	text, p := o.text("priority")
	if p != nil {
		return p
	}
	priority, err := ParsePriority(text)
	if err != nil {
		return fail(ErrYAMLValidate, append(o.where(), o.at("priority")), "Invalid priority")
	}
	rule.priority = priority
	return nil
}

// switches reads the keys that are true or false.
func (r *reader) switches(o *object, rule *ruleItem, wanted func(string) bool) *Problem {
	for _, s := range []struct {
		key string
		dst *bool
	}{
		{"enabled", &rule.enabled}, {"warn_evttypes", &rule.warnTypes},
		{"skip-if-unknown-filter", &rule.skipUnknown}, {"capture", &rule.capture},
	} {
		if wanted(s.key) {
			var p *Problem
			if *s.dst, p = o.flag(s.key, *s.dst); p != nil {
				return p
			}
		}
	}
	if wanted("capture_duration") {
		return o.number("capture_duration")
	}
	return nil
}

func (r *reader) defineRule(o *object, old *ruleItem) *Problem {
	rule := &ruleItem{name: o.name, source: "syscall", enabled: true, warnTypes: true, where: o.where()[0], doc: r.doc}
	var p *Problem
	for _, part := range []struct {
		dst *string
		key string
	}{{&rule.cond, "condition"}, {&rule.output, "output"}, {&rule.desc, "desc"}} {
		if *part.dst, p = o.text(part.key); p != nil {
			return p
		}
		*part.dst = strings.TrimSpace(*part.dst)
	}
	rule.condAt, rule.outputAt = o.at("condition"), o.at("output")
	if p := r.priority(o, rule); p != nil {
		return p
	}
	if source, p := o.optional("source"); p != nil {
		return p
	} else if source != "" {
		rule.source = source
	}
	if o.has("tags") {
		if rule.tags, p = o.texts("tags"); p != nil {
			return p
		}
	}
	rule.unknownSource = !slices.Contains(r.opt.Sources, rule.source)
	if rule.exceptions, p = r.exceptions(o, rule, false); p != nil {
		return p
	}
	if p := r.switches(o, rule, func(string) bool { return true }); p != nil {
		return p
	}
	if rule.unknownSource {
		r.res.warn(WarnUnknownSource, o.where(), "Unknown source %s, skipping", rule.source)
	}
	if old == nil {
		r.col.rules = append(r.col.rules, rule)
		return nil
	}
	if old.source != rule.source {
		return fail(ErrValidate, o.where(), "Rule has been re-defined with a different source")
	}
	*old = *rule
	return nil
}

// comparison operators of exceptions.
var (
	exceptionOps = []string{
		"=", "==", "!=", "<", "<=", ">", ">=", "contains", "icontains", "bcontains", "startswith", "bstartswith",
		"endswith", "glob", "iglob", "regex", "in", "intersects", "pmatch", "exists",
	}
	listOps     = []string{"in", "pmatch", "intersects"}
	modifierOps = []string{
		"=", "==", "!=", "glob", "iglob", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "regex",
	}
)

// isModified reports whether op is an operator with oneof, anyof or allof.
func isModified(op string) bool {
	name, modifier, found := strings.Cut(op, " ")
	return found && slices.Contains([]string{"oneof", "anyof", "allof"}, strings.TrimSpace(modifier)) && slices.Contains(modifierOps, name)
}

func isListOp(op string) bool { return slices.Contains(listOps, op) || isModified(op) }

// exceptions reads the exceptions of a rule; those of an appended rule may
// leave out the fields that the first definition has. Falco does not check the
// exceptions of a rule of an unknown source.
func (r *reader) exceptions(o *object, rule *ruleItem, appending bool) ([]*exceptionItem, *Problem) {
	n := o.get("exceptions")
	if n == nil || isNull(resolve(n)) {
		return nil, nil
	}
	if n = resolve(n); n.Kind != yaml.SequenceNode {
		return nil, fail(ErrYAMLValidate, append(o.where(), o.at("exceptions")), "Rule exceptions must be a sequence")
	}
	var all []*exceptionItem
	for _, item := range n.Content {
		eo := &object{r: r, node: resolve(item), typ: "exception", in: o}
		if eo.node.Kind != yaml.MappingNode {
			return nil, fail(ErrYAMLValidate, eo.where(), "Rule exception must be a mapping")
		}
		ex, p := r.exception(eo, rule, appending)
		if p != nil {
			return nil, p
		}
		if slices.ContainsFunc(all, func(x *exceptionItem) bool { return x.name == ex.name }) {
			r.res.warn(WarnExceptionName, eo.where(), "Multiple definitions of exception '%s' in the same rule", ex.name)
		}
		all = append(all, ex)
	}
	return all, nil
}

func (r *reader) exception(o *object, rule *ruleItem, appending bool) (*exceptionItem, *Problem) {
	if p := o.named("name"); p != nil {
		return nil, p
	}
	ex := &exceptionItem{name: o.name, where: o.where()[len(o.where())-1]}
	var known *exceptionItem
	for _, x := range rule.exceptions {
		if x.name == ex.name {
			known = x
		}
	}
	var p *Problem
	switch {
	case o.has("fields"):
		if ex.fields, ex.single, p = o.oneOrMore("fields"); p != nil {
			return nil, p
		}
		if len(ex.fields) == 0 {
			return nil, fail(ErrValidate, o.where(), "Rule exception must have fields property with a list of fields")
		}
	case appending && known != nil:
		ex.fields, ex.comps, ex.single = known.fields, known.comps, known.single
	case appending:
		return nil, fail(ErrValidate, o.where(), "Rule exception must have fields property with a list of fields")
	default:
		return nil, o.missing("fields")
	}
	if o.has("comps") {
		if ex.comps, _, p = o.oneOrMore("comps"); p != nil {
			return nil, p
		}
	}
	if p := r.checkException(o, ex); p != nil && !rule.unknownSource {
		return nil, p
	}
	if ex.values, p = o.tuples(ex.single); p != nil {
		return nil, p
	}
	if appending && len(ex.values) == 0 {
		r.res.warn(WarnAppendNoValues, o.where(), "Overriding/appending exception with no values")
	}
	for _, tuple := range ex.values {
		if !ex.single && len(tuple) != len(ex.fields) && !rule.unknownSource {
			return nil, fail(ErrValidate, o.where(), "Fields and values lists must have equal length")
		}
	}
	return ex, nil
}

// checkException checks fields and operators, and fills in the default ones.
func (r *reader) checkException(o *object, ex *exceptionItem) *Problem {
	if len(ex.comps) == 0 {
		def := "="
		if ex.single {
			def = "in"
		}
		for range ex.fields {
			ex.comps = append(ex.comps, def)
		}
	}
	if len(ex.fields) != len(ex.comps) {
		return fail(ErrValidate, o.where(), "Fields and comps lists must have equal length")
	}
	for i, comp := range ex.comps {
		comp = strings.Join(strings.Fields(comp), " ")
		ex.comps[i] = comp
		if ex.single && !isListOp(comp) {
			return fail(ErrValidate, o.where(), "When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator (e.g. startswith oneof)")
		}
		if !slices.Contains(exceptionOps, comp) && !isModified(comp) {
			return fail(ErrValidate, o.where(), "'%s' is not a supported comparison operator", comp)
		}
	}
	for _, field := range ex.fields {
		if !r.knownField(field) {
			return fail(ErrValidate, o.where(), "'%s' is not a supported filter field", field)
		}
	}
	return nil
}

// knownField reports whether text is a field or a transformer over fields.
func (r *reader) knownField(text string) bool {
	cond, err := Parse(text + " exists")
	if err != nil {
		return false
	}
	_, err = compile(cond, text, r.opt.Catalog)
	return err == nil
}

// oneOrMore reads one text or a list of them.
func (o *object) oneOrMore(key string) (all []string, single bool, p *Problem) {
	if resolve(o.get(key)).Kind == yaml.ScalarNode {
		s, p := o.text(key)
		return []string{s}, true, p
	}
	all, p = o.texts(key)
	return all, false, p
}

// tuples reads the values of an exception: for one field texts, or lists of
// texts, and for several fields a list for each exception, whose elements are
// texts or lists.
func (o *object) tuples(single bool) ([][]exceptionValue, *Problem) {
	n := o.get("values")
	if n == nil || isNull(resolve(n)) {
		return nil, nil
	}
	bad := func() *Problem {
		return fail(ErrYAMLValidate, append(o.where(), o.at("values")), "Can't decode YAML sequence value")
	}
	if n = resolve(n); n.Kind != yaml.SequenceNode {
		return nil, bad()
	}
	var all [][]exceptionValue
	for _, item := range n.Content {
		item = resolve(item)
		if single {
			v, ok := valueOf(item)
			if !ok {
				return nil, bad()
			}
			all = append(all, []exceptionValue{v})
			continue
		}
		if item.Kind != yaml.SequenceNode {
			return nil, bad()
		}
		tuple := make([]exceptionValue, 0, len(item.Content))
		for _, n := range item.Content {
			v, ok := valueOf(resolve(n))
			if !ok {
				return nil, bad()
			}
			tuple = append(tuple, v)
		}
		all = append(all, tuple)
	}
	return all, nil
}

// exceptionValue is a text or a list of texts.
type exceptionValue struct {
	texts []string
	list  bool // it stays one with a single element
}

func valueOf(n *yaml.Node) (v exceptionValue, ok bool) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items, v.list = n.Content, true
	}
	for _, item := range items {
		s, ok := scalar(item)
		if !ok {
			return v, false
		}
		v.texts = append(v.texts, s)
	}
	return v, true
}

// withExceptions is the condition of a rule with its exceptions as text, as
// Falco builds it: (cond) and not (…) and not (…).
func (r *ruleItem) withExceptions() string {
	if len(r.exceptions) == 0 {
		return r.cond
	}
	var b strings.Builder
	fmt.Fprintf(&b, "(%s)", r.cond)
	for _, ex := range r.exceptions {
		if text := ex.condition(); text != "" {
			b.WriteString(" and not " + text)
		}
	}
	return b.String()
}

func (ex *exceptionItem) condition() string {
	if len(ex.values) == 0 {
		return ""
	}
	if ex.single {
		var items []string
		for _, tuple := range ex.values {
			for _, v := range tuple[0].texts {
				items = append(items, quoteItem(v))
			}
		}
		return fmt.Sprintf("(%s %s (%s))", ex.fields[0], ex.comps[0], strings.Join(items, ", "))
	}
	var tuples []string
	for _, tuple := range ex.values {
		var checks []string
		for i, v := range tuple {
			checks = append(checks, ex.fields[i]+" "+ex.comps[i]+" "+v.condition(isListOp(ex.comps[i])))
		}
		tuples = append(tuples, "("+strings.Join(checks, " and ")+")")
	}
	return "(" + strings.Join(tuples, " or ") + ")"
}

func (v exceptionValue) condition(parenthesised bool) string {
	items := make([]string, len(v.texts))
	for i, s := range v.texts {
		items[i] = quoteItem(s)
	}
	text := strings.Join(items, ", ")
	if (parenthesised || v.list) && !strings.HasPrefix(text, "(") {
		return "(" + text + ")"
	}
	return text
}
