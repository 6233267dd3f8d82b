package falco

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// exception says for which values of fields a rule does not match.
type exception struct {
	name   string
	fields tuple
	comps  tuple
	values []tuple
	where  []Location
}

// tuple is a text or a list of entries.
type tuple struct {
	text  string
	list  bool
	items []tuple
}

// isSet reports whether there is anything in it.
func (t *tuple) isSet() bool { return t.text != "" || len(t.items) > 0 }

// maxNested is how deep the lists of an exception may be nested; Falco looks
// at two levels.
const maxNested = 4

// entry reads a text or a list.
func (r *reader) entry(n *yaml.Node, where []Location, depth int) tuple {
	n = resolve(n)
	switch {
	case isNull(n):
		return tuple{}
	case n.Kind == yaml.ScalarNode && n.Value == "":
		r.fail(ErrYAMLValidate, where, "Value must be non-empty")
	case n.Kind == yaml.ScalarNode:
		return tuple{text: n.Value}
	case n.Kind != yaml.SequenceNode:
		return tuple{} // Falco reads no mappings here, and does not say so.
	case depth == maxNested:
		r.fail(ErrYAMLValidate, where, "Could not decode scalar value")
	}
	e := tuple{list: true}
	for _, item := range n.Content {
		if r.problem != nil {
			break
		}
		e.items = append(e.items, r.entry(item, where, depth+1))
	}
	return e
}

// exceptions reads the exceptions of a rule. Those that are appended may leave
// out the fields, which the rule has already.
func (r *reader) exceptions(o *object, appending bool) []*exception {
	n := o.get("exceptions")
	if n == nil || isNull(n) || r.problem != nil {
		return nil
	}
	where := o.at("exceptions", "exceptions")
	if n.Kind != yaml.SequenceNode {
		r.fail(ErrYAMLValidate, where, "Rule exceptions must be a sequence")
		return nil
	}
	var all []*exception
	names := map[string]bool{}
	for _, item := range n.Content {
		item = resolve(item)
		ex := r.exception(r.object(item, r.step(where, "exception", "", item), "Rule exception must be a mapping"), appending)
		if r.problem != nil {
			return nil
		}
		if names[ex.name] {
			r.warn(WarnExceptionName, ex.where, "Multiple definitions of exception '%s' in the same rule", ex.name)
		}
		names[ex.name] = true
		all = append(all, ex)
	}
	return all
}

func (r *reader) exception(o *object, appending bool) *exception {
	ex := &exception{name: o.named("name"), where: o.where}
	if o.has("fields") || !appending {
		ex.fields = r.entry(o.value("fields"), o.at(valueType, "fields"), 0)
	}
	if o.has("comps") {
		ex.comps = r.entry(o.value("comps"), o.at(valueType, "comps"), 0)
		ex.comps.text = normal(ex.comps.text)
		for i := range ex.comps.items {
			ex.comps.items[i].text = normal(ex.comps.items[i].text)
		}
	}
	values := o.get("values")
	switch {
	case values == nil && appending:
		r.warn(WarnAppendNoValues, o.where, "Overriding/appending exception with no values")
	case values == nil:
	case values.Kind != yaml.SequenceNode:
		r.fail(ErrYAMLValidate, o.at("exception values", "values"), "Rule exception values must be a sequence")
	default:
		for _, v := range values.Content {
			ex.values = append(ex.values, r.entry(v, r.step(o.at("exception values", "values"), "exception value", "", resolve(v)), 0))
		}
	}
	return ex
}

// normal leaves single blanks in an operator.
func normal(op string) string { return strings.Join(strings.Fields(op), " ") }

// appendException adds values to an exception of the rule, or an exception.
func (r *reader) appendException(rule *ruleItem, ex *exception) {
	i := slices.IndexFunc(rule.exceptions, func(x *exception) bool { return x.name == ex.name })
	switch {
	case i >= 0 && ex.fields.isSet():
		r.fail(ErrValidate, ex.where, "Can not append exception fields to existing exception, only values")
	case i >= 0 && ex.comps.isSet():
		r.fail(ErrValidate, ex.where, "Can not append exception comps to existing exception, only values")
	case i >= 0:
		known := *rule.exceptions[i]
		known.values = append(slices.Clip(known.values), ex.values...)
		rule.exceptions[i] = &known
	case !ex.fields.isSet():
		r.fail(ErrValidate, ex.where, "Rule exception must have fields property with a list of fields")
	case len(ex.values) == 0:
		r.fail(ErrValidate, ex.where, "Rule exception must have values property with a list of values")
	default:
		r.checkException(ex, rule.unknownSource)
		rule.exceptions = append(rule.exceptions, ex)
	}
}

// checkException checks operators and fields, and fills in the default
// operators. The fields of an unknown source are not known.
func (r *reader) checkException(ex *exception, unknownSource bool) {
	invalid := func(format string, args ...any) { r.fail(ErrValidate, ex.where, format, args...) }
	fields := []tuple{ex.fields}
	if !ex.fields.isSet() {
		invalid("Rule exception item must have fields property with a list of fields")
	} else if ex.fields.list {
		fields = ex.fields.items
		if !ex.comps.isSet() {
			ex.comps = tuple{list: true, items: slices.Repeat([]tuple{{text: "="}}, len(fields))}
		}
		if len(fields) != len(ex.comps.items) {
			invalid("Fields and comps lists must have equal length")
		}
		for _, comp := range ex.comps.items {
			if !isOperator(comp.text) {
				invalid("'%s' is not a supported comparison operator", comp.text)
			}
		}
	} else {
		if !ex.comps.isSet() {
			ex.comps = tuple{text: "in"}
		}
		if ex.comps.list {
			invalid("Fields and comps must both be strings")
		} else if !isListOperator(ex.comps.text) {
			invalid("When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator (e.g. startswith oneof)")
		}
	}
	for _, f := range fields {
		if !unknownSource && !r.knownField(f.text) {
			invalid("'%s' is not a supported filter field", f.text)
		}
	}
}

// operators of exceptions, those that compare with a list first.
var (
	listOperators   = []string{"in", "intersects", "pmatch"}
	textOperators   = []string{"=", "==", "!=", "glob", "iglob", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "regex"}
	numberOperators = []string{"<", "<=", ">", ">=", "exists"}
)

func isOperator(op string) bool {
	return isListOperator(op) || slices.Contains(textOperators, op) || slices.Contains(numberOperators, op)
}

// isListOperator reports whether op compares with a list, by itself or with
// oneof, anyof or allof.
func isListOperator(op string) bool {
	if slices.Contains(listOperators, op) {
		return true
	}
	name, modifier, found := strings.Cut(op, " ")
	return found && slices.Contains([]string{"oneof", "anyof", "allof"}, modifier) && slices.Contains(textOperators, name)
}

// knownField reports whether text is a field or a transformer over fields.
func (r *reader) knownField(text string) bool {
	e, err := Parse(text + " exists")
	if err != nil {
		return false
	}
	_, err = compile(e, text, r.opt.Catalog)
	return err == nil
}

// withExceptions is the condition of a rule with its exceptions as text, as
// Falco builds it: (cond) and not (…) and not (…).
func (rule *ruleItem) withExceptions() (string, *Problem) {
	if len(rule.exceptions) == 0 {
		return rule.cond, nil
	}
	var b strings.Builder
	b.WriteString("(" + rule.cond + ")")
	for _, ex := range rule.exceptions {
		text, p := ex.condition()
		if p != nil {
			return "", p
		}
		if text != "" {
			b.WriteString(" and not " + text)
		}
	}
	return b.String(), nil
}

// condition is the exception as text, or "" for one without values.
func (ex *exception) condition() (string, *Problem) {
	if len(ex.values) == 0 {
		return "", nil
	}
	var parts []string
	if !ex.fields.list {
		for _, v := range ex.values {
			if v.list {
				return "", fail(ErrValidate, ex.where, "Expected values array to contain a list of strings")
			}
			parts = append(parts, quoteItem(v.text))
		}
		return "(" + ex.fields.text + " " + ex.comps.text + " (" + strings.Join(parts, ", ") + "))", nil
	}
	for _, t := range ex.values {
		if len(t.items) != len(ex.fields.items) {
			return "", fail(ErrValidate, ex.where, "Fields and values lists must have equal length")
		}
		var checks []string
		for i, v := range t.items {
			op := ex.comps.items[i].text
			checks = append(checks, ex.fields.items[i].text+" "+op+" "+v.operand(isListOperator(op)))
		}
		parts = append(parts, "("+strings.Join(checks, " and ")+")")
	}
	return "(" + strings.Join(parts, " or ") + ")", nil
}

// operand is the value as the right side of a check.
func (t *tuple) operand(list bool) string {
	switch {
	case t.list:
		items := make([]string, len(t.items))
		for i, item := range t.items {
			items[i] = quoteItem(item.text)
		}
		return "(" + strings.Join(items, ", ") + ")"
	case !list:
		return quoteItem(t.text)
	case strings.HasPrefix(t.text, "("):
		return t.text
	}
	return "(" + t.text + ")"
}
