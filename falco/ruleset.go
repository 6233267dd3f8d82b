package falco

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is a rule that was loaded and compiled.
type Rule struct {
	Name     string
	Desc     string
	Priority Priority
	Source   string
	Tags     []string
	Enabled  bool
	// Condition is the text of the file, Output the same of the output.
	Condition, Output string
	// Expr is the condition with lists, macros and exceptions written out.
	Expr Expr
	// Where is the place of the rule, with its file.
	Where Location

	item   *ruleItem
	cond   *Condition
	start  matcher // the condition on a container start
	output *Output
}

// Ruleset is a set of compiled rules. It may be used by several goroutines.
type Ruleset struct {
	rules  []*Rule
	starts []*Rule // those that a container start can match
	col    *collector
}

// Rules returns all rules in the order of their definition, also those that
// are not enabled.
func (rs *Ruleset) Rules() []*Rule { return rs.rules }

// Unavailable is a rule that no container start can match.
type Unavailable struct {
	Rule   *Rule
	Reason string
}

// Unavailable returns the enabled rules that no container start can match:
// they ask for system calls or for fields of them.
func (rs *Ruleset) Unavailable() []Unavailable {
	var all []Unavailable
	for _, r := range rs.rules {
		if r.Enabled && r.start == never {
			all = append(all, Unavailable{r, "needs syscall events, not evaluated here"})
		}
	}
	return all
}

// Evaluate appends to dst the enabled rules that match ev, in the order of
// their definition. It does not allocate memory where dst has room and the
// rules have no transformers. For an event of type container, fields that a
// container start cannot carry are null without being asked for.
func (rs *Ruleset) Evaluate(dst []*Rule, ev Event) []*Rule {
	if ev.Type() == startType {
		for _, r := range rs.starts {
			if r.start.match(ev) {
				dst = append(dst, r)
			}
		}
		return dst
	}
	for _, r := range rs.rules {
		if r.Enabled && r.cond.Match(ev) {
			dst = append(dst, r)
		}
	}
	return dst
}

// maxNodes bounds a condition after its macros are written out.
const maxNodes = 1 << 18

// macroTable has the conditions of macros, parsed and resolved.
type macroTable struct {
	col      *collector
	parsed   map[*macroItem]Expr
	resolved map[*macroItem]Expr
	size     map[*macroItem]int
}

// compile builds a ruleset of all that was collected.
func (c *collector) compile(opt *Options, res *Result) (*Ruleset, *Problem) {
	for _, l := range c.lists {
		l.used = false
	}
	for _, m := range c.macros {
		m.used = false
	}
	lists := c.flatten()
	table := &macroTable{col: c, parsed: map[*macroItem]Expr{}, resolved: map[*macroItem]Expr{}, size: map[*macroItem]int{}}
	for _, m := range c.macros {
		e, p := c.parse(m.cond, lists, []Location{m.where, m.condAt})
		if p != nil {
			return nil, p
		}
		table.parsed[m] = e
	}
	for _, m := range c.macros {
		if _, _, err := table.macro(m, nil); err != nil {
			return nil, &Problem{Code: ErrValidate, Message: err.Error(), Where: []Location{m.where, m.condAt}, Snippet: m.cond}
		}
	}
	set := &Ruleset{col: c}
	for _, item := range c.rules {
		if item.unknownSource || item.priority > opt.MinPriority {
			continue
		}
		rule, p := c.compileRule(item, lists, table, opt, res)
		if p != nil {
			return nil, p
		}
		if rule != nil {
			set.rules = append(set.rules, rule)
			if rule.Enabled && rule.start != never {
				set.starts = append(set.starts, rule)
			}
		}
	}
	for _, m := range c.macros {
		if !m.used {
			res.warn(WarnUnusedMacro, []Location{m.where}, "Macro not referred to by any other rule/macro")
		}
	}
	for _, l := range c.lists {
		if !l.used {
			res.warn(WarnUnusedList, []Location{l.where}, "List not referred to by any other rule/macro")
		}
	}
	return set, nil
}

// parse writes out the lists of a condition and parses it.
func (c *collector) parse(cond string, lists []*listItem, where []Location) (Expr, *Problem) {
	text, ok := expandLists(cond, lists, func(l *listItem) {
		if original := c.list(l.name); original != nil {
			original.used = true
		}
	})
	if !ok {
		return nil, fail(ErrCompileCondition, where, "the condition is longer than %d bytes with its lists written out", maxExpanded)
	}
	e, err := parse(text, maxDepthRules)
	if err != nil {
		perr, ok := err.(*ParseError) //nolint:errorlint // parse makes no other error
		if !ok {
			return nil, fail(ErrCompileCondition, where, "%v", err)
		}
		p := fail(ErrCompileCondition, where, "%s", perr.Message)
		p.Snippet = perr.Caret()
		return nil, p
	}
	return e, nil
}

// macro returns the condition of a macro without macros in it, and its size.
func (t *macroTable) macro(m *macroItem, path []*macroItem) (Expr, int, error) {
	if e, ok := t.resolved[m]; ok {
		return e, t.size[m], nil
	}
	if slices.Contains(path, m) {
		return nil, 0, fmt.Errorf("reference loop in macro '%s'", m.name)
	}
	size := 0
	e, err := t.resolve(t.parsed[m], m.visible, append(slices.Clone(path), m), &size)
	if err != nil {
		return nil, 0, err
	}
	t.resolved[m], t.size[m] = e, size
	return e, size, nil
}

// resolve replaces the macros in e by the conditions of those that were
// defined before the given time.
func (t *macroTable) resolve(e Expr, before int, path []*macroItem, size *int) (Expr, error) {
	if *size++; *size > maxNodes {
		return nil, fmt.Errorf("the condition has more than %d parts with its macros written out", maxNodes)
	}
	terms := func(all []Expr) ([]Expr, error) {
		out := make([]Expr, len(all))
		for i, x := range all {
			var err error
			if out[i], err = t.resolve(x, before, path, size); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch e := e.(type) {
	case *And:
		all, err := terms(e.Terms)
		return &And{Terms: all, At: e.At}, err
	case *Or:
		all, err := terms(e.Terms)
		return &Or{Terms: all, At: e.At}, err
	case *Not:
		term, err := t.resolve(e.Term, before, path, size)
		return &Not{Term: term, At: e.At}, err
	case *Macro:
		m := t.col.macro(e.Name)
		if m == nil || m.index >= before {
			return nil, fmt.Errorf("Undefined macro '%s' used in filter.", e.Name) //nolint:revive,staticcheck // the text is Falco's
		}
		m.used = true
		expr, n, err := t.macro(m, path)
		if *size += n; *size > maxNodes && err == nil {
			err = fmt.Errorf("the condition has more than %d parts with its macros written out", maxNodes)
		}
		return expr, err
	}
	return e, nil
}

// compileRule returns nil where the rule is to be skipped.
func (c *collector) compileRule(item *ruleItem, lists []*listItem, table *macroTable, opt *Options, res *Result) (*Rule, *Problem) {
	where := []Location{item.where, item.condAt}
	e, p := c.parse(item.withExceptions(), lists, where)
	if p != nil {
		return nil, p
	}
	size := 0
	e, err := table.resolve(e, c.clock+1, nil, &size)
	if err != nil {
		return nil, &Problem{Code: ErrValidate, Message: err.Error(), Where: where, Snippet: item.cond}
	}
	if text, bad := deprecatedDir(e); bad {
		res.warn(WarnDeprecated, where, "%s", text)
	}

	rule := &Rule{
		Name: item.name, Desc: item.desc, Priority: item.priority, Source: item.source, Tags: item.tags, Enabled: item.enabled,
		Condition: item.cond, Output: item.output, Expr: e, Where: item.where, item: item,
	}
	skip := func(code Code, at Location, message string) (*Rule, *Problem) {
		if item.skipUnknown && (strings.Contains(message, "nonexistent field") || strings.HasPrefix(message, "unknown ")) {
			res.warn(WarnUnknownFilter, []Location{item.where, at}, "%s", message)
			return nil, nil
		}
		return nil, fail(code, []Location{item.where, at}, "%s", message)
	}
	if strings.Contains(item.output, "%container.info") {
		res.warn(WarnDeprecated, []Location{item.where, item.outputAt}, "%%container.info is deprecated and no more useful, and will be dropped by Falco 1.0.0. "+
			"The container plugin will automatically add required fields to the output message.")
		rule.Output = strings.TrimSpace(strings.ReplaceAll(item.output, "%container.info", ""))
	}
	if strings.Contains(item.output, "%evt.dir") {
		res.warn(WarnDeprecated, []Location{item.where, item.outputAt}, "usage of deprecated field 'evt.dir' has been detected in the rule output")
	}
	if rule.output, err = ParseOutput(rule.Output, opt.Catalog); err != nil {
		return skip(ErrCompileOutput, item.outputAt, err.Error())
	}
	if bad := unknownEventType(e); bad != "" {
		return skip(ErrCompileCondition, item.condAt, "unknown event type "+bad)
	}
	if rule.cond, err = compile(e, e.String(), opt.Catalog); err != nil {
		cerr, ok := err.(*CompileError) //nolint:errorlint // compile makes no other error
		if !ok {
			return nil, fail(ErrCompileCondition, where, "%v", err)
		}
		return skip(ErrCompileCondition, item.condAt, cerr.Message)
	}
	for _, w := range rule.cond.Warnings {
		res.warn(WarnCompileCondition, where, "%s", w)
	}
	if item.warnTypes && item.source == "syscall" && eventTypes(e).wide() {
		res.warn(WarnNoEventType, where, "Rule matches too many evt.type values. This has a significant performance penalty.")
	}
	if rule.start, err = compileStart(e, opt.Catalog); err != nil {
		return nil, fail(ErrCompileCondition, where, "%v", err)
	}
	return rule, nil
}

// deprecatedDir finds checks of evt.dir, which no longer tell anything.
func deprecatedDir(e Expr) (string, bool) {
	found := false
	Walk(e, func(e Expr) bool {
		if c, ok := e.(*Check); ok {
			if f, ok := c.Left.(*FieldName); ok && f.Name == "evt.dir" {
				found = true
			}
		}
		return !found
	})
	return "due to the drop of enter events, 'evt.dir = <' always evaluates to true, and 'evt.dir = >' always evaluates to false. " +
		"The rule expression can be simplified by removing the condition on 'evt.dir'", found
}
