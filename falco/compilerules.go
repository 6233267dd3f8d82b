package falco

import (
	"errors"
	"slices"
	"strings"
)

// compileRules compiles all that was collected.
func compileRules(col *collector, opt *Options, res *Result) ([]*Rule, *Problem) {
	lists := newExpander(col)
	macros, p := newMacroTable(col, lists)
	if p != nil {
		return nil, p
	}
	c := &ruleCompiler{col: col, opt: opt, res: res, macros: macros}
	var rules []*Rule
	for _, item := range col.rules.all {
		if item.unknownSource {
			continue
		}
		rule, p := c.rule(item)
		if p != nil {
			return nil, p
		}
		if rule != nil {
			rules = append(rules, rule)
		}
	}
	for _, m := range col.macros.all {
		if !macros.macros[m.name].used {
			res.warn(WarnUnusedMacro, m.where, "Macro not referred to by any other rule/macro")
		}
	}
	for _, l := range lists.lists {
		if !l.used {
			res.warn(WarnUnusedList, l.item.where, "List not referred to by any other rule/macro")
		}
	}
	return rules, nil
}

type ruleCompiler struct {
	col    *collector
	opt    *Options
	res    *Result
	macros *macroTable
	nodes  int // of all conditions so far
}

// rule compiles a rule, or returns nil where it is to be skipped. The order of
// the steps is Falco's.
func (c *ruleCompiler) rule(item *ruleItem) (*Rule, *Problem) {
	rule := &Rule{
		Name: item.name, Desc: strings.TrimSpace(item.desc), Priority: item.priority, Source: item.source,
		Tags: item.tags, Enabled: item.enabled && (c.opt.MinPriority == 0 || item.priority <= c.opt.MinPriority),
		Condition: strings.TrimSpace(item.cond), Where: item.where[0], item: item,
	}
	for _, s := range c.opt.Select {
		if s.Covers(rule) {
			rule.Enabled = s.Enable && (c.opt.MinPriority == 0 || item.priority <= c.opt.MinPriority)
		}
	}
	if skip, p := c.output(rule); skip || p != nil {
		return nil, p
	}
	if skip, p := c.condition(rule); skip || p != nil {
		return nil, p
	}
	rule.types = eventTypes(rule.Expr)
	if item.warnTypes && item.source == "syscall" && rule.types.wide() {
		c.res.warn(WarnNoEventType, item.where, "Rule matches too many evt.type values. This has a significant performance penalty.")
	}
	return rule, nil
}

// output compiles the output of a rule and what is appended to it.
func (c *ruleCompiler) output(rule *Rule) (skip bool, p *Problem) {
	item := rule.item
	rule.Output = item.output
	for _, a := range c.opt.Append {
		if a.Output != "" && a.covers(rule) {
			rule.Output += " " + a.Output
		}
	}
	if strings.Contains(rule.Output, "%container.info") {
		c.res.warn(WarnDeprecated, item.where, "%%container.info is deprecated and no more useful, and will be dropped by Falco 1.0.0. "+
			"The container plugin will automatically add required fields to the output message.")
		rule.Output = strings.ReplaceAll(rule.Output, "%container.info", "")
	}
	var err error
	if rule.output, err = ParseOutput(rule.Output, c.opt.Catalog); err != nil {
		if item.skipUnknown && isUnknown(err.Error()) {
			c.res.warn(WarnUnknownFilter, item.outputAt, "%v", err)
			return true, nil
		}
		return false, fail(ErrCompileOutput, item.outputAt, "%v", err)
	}
	c.deprecatedOutput(item, rule.Output)
	for _, a := range c.opt.Append {
		if !a.covers(rule) {
			continue
		}
		for _, f := range a.Fields {
			template := f.Format
			if template == "" {
				template = "%" + f.Name
			}
			out, err := ParseOutput(template, c.opt.Catalog)
			if err != nil {
				return false, fail(ErrCompileOutput, item.outputAt, "%v", err)
			}
			c.deprecatedOutput(item, template)
			rule.extra = append(rule.extra, extraField{f.Name, out, f.Format == ""})
		}
	}
	return false, nil
}

// deprecatedFields are fields that no longer tell anything.
var deprecatedFields = []string{"evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human"}

// deprecatedOutput looks for the names alone, so that a longer one counts for a
// shorter one, too.
func (c *ruleCompiler) deprecatedOutput(item *ruleItem, template string) {
	for _, field := range deprecatedFields {
		if strings.Contains(template, field) {
			c.res.warn(WarnDeprecated, item.outputAt, "usage of deprecated field '%s' has been detected in the rule output", field)
		}
	}
}

// isUnknown reports whether an error is about a field or an event type that
// another version may know.
func isUnknown(message string) bool {
	for _, part := range []string{"nonexistent field", "invalid formatting token", "unknown event type", "unknown filter:"} {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

// condition compiles the condition of a rule with lists, macros and exceptions
// written out.
func (c *ruleCompiler) condition(rule *Rule) (skip bool, p *Problem) {
	item := rule.item
	source, p := item.withExceptions()
	if p != nil {
		return false, p
	}
	e, p := c.macros.parse(source, item.condAt)
	if p != nil {
		return false, p
	}
	size := 0
	e, merr := c.macros.resolve(e, c.col.clock+1, nil, &size)
	if merr != nil {
		return false, conditionProblem(ErrValidate, item.where, merr.at, merr.message)
	}
	if c.nodes += size; c.nodes > maxAllNodes {
		return false, fail(ErrValidate, item.where, "the conditions of all rules have more than %d parts with their macros written out", maxAllNodes)
	}
	rule.Expr = e
	c.unsafe(item, e)
	for _, field := range deprecatedChecks(e) {
		text := "usage of deprecated field '" + field + "' has been detected in the rule condition"
		if field == "evt.dir" {
			text = "due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to false. " +
				"The rule expression can be simplified by removing the condition on 'evt.dir'"
		}
		c.res.warn(WarnDeprecated, item.condAt.where, "%s", text)
	}
	rule.cond, p = compileRule(e, c.opt.Catalog, item.condAt.where)
	if p != nil {
		if item.skipUnknown && isUnknown(p.Message) {
			p.Code = WarnUnknownFilter
			c.res.add(p)
			return true, nil
		}
		return false, p
	}
	for _, w := range rule.cond.Warnings {
		c.res.add(conditionProblem(WarnCompileCondition, item.condAt.where, w.At, w.Message))
	}
	return false, nil
}

// compileRule compiles a condition and checks its event types, too.
func compileRule(e Expr, cat *Catalog, where []Location) (*Condition, *Problem) {
	cond, err := compile(e, "", cat)
	bad := unknownEventType(e)
	var cerr *CompileError
	switch {
	case errors.As(err, &cerr) && (bad == nil || cerr.At.Offset < bad.At.Offset || cerr.At.in != bad.At.in):
		return nil, conditionProblem(ErrCompileCondition, where, cerr.At, cerr.Message)
	case bad != nil:
		return nil, conditionProblem(ErrCompileCondition, where, bad.At, "unknown event type "+bad.Value)
	}
	return cond, nil
}

// unsafe warns of comparisons with <NA> that do not say what they seem to.
func (c *ruleCompiler) unsafe(item *ruleItem, e Expr) {
	found := false
	Walk(e, func(e Expr) bool {
		check, ok := e.(*Check)
		if !ok || check.Op != "=" && check.Op != "!=" && !slices.Contains(listOperators, check.Op) {
			return true
		}
		f, ok := check.Left.(*FieldName)
		found = found || ok && (strings.HasPrefix(f.Name, "ka.") || strings.HasPrefix(f.Name, "jevt.")) && slices.Contains(values(constants(check)), "<NA>")
		return !found
	})
	if found {
		c.res.warn(WarnUnsafeNA, item.condAt.where, "comparing a field value with <NA> is unsafe and can lead to unpredictable behavior of the rule condition. "+
			"If you need to check for the existence of a field, consider using the 'exists' operator instead.")
	}
}

// deprecatedChecks finds the deprecated fields of a condition.
func deprecatedChecks(e Expr) []string {
	asked := map[string]bool{}
	var operand func(o Operand)
	operand = func(o Operand) {
		switch o := o.(type) {
		case *FieldName:
			asked[o.Name] = true
		case *Transform:
			for _, a := range o.Args {
				operand(a)
			}
		case *List:
			for _, item := range o.Items {
				operand(item)
			}
		}
	}
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok {
			operand(c.Left)
			operand(c.Right)
		}
		return true
	})
	return slices.DeleteFunc(slices.Clone(deprecatedFields), func(name string) bool { return !asked[name] })
}
