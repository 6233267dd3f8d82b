package falco

import (
	"fmt"
	"slices"
)

const (
	// maxNodes bounds a condition after its macros are written out: macros in
	// macros grow fast.
	maxNodes = 1 << 17
	// maxAllNodes bounds the conditions of all rules together.
	maxAllNodes = 1 << 19
	// maxMacroDepth bounds macros in macros that are not written out yet.
	maxMacroDepth = 1000
)

// macroTable has the conditions of macros.
type macroTable struct {
	col    *collector
	lists  *expander
	macros map[string]*expandedMacro
}

type expandedMacro struct {
	item *macroItem
	// expr is the condition, without macros in it once resolved is set.
	expr     Expr
	resolved bool
	size     int
	used     bool
}

// newMacroTable parses and resolves all macros.
func newMacroTable(col *collector, lists *expander) (*macroTable, *Problem) {
	t := &macroTable{col: col, lists: lists, macros: map[string]*expandedMacro{}}
	for _, m := range col.macros.all {
		e, p := t.parse(m.cond, m.condAt)
		if p != nil {
			return nil, p
		}
		t.macros[m.name] = &expandedMacro{item: m, expr: e}
	}
	for _, m := range col.macros.all {
		if err := t.resolveMacro(t.macros[m.name], nil); err != nil {
			return nil, conditionProblem(ErrValidate, m.where, err.at, err.message)
		}
	}
	return t, nil
}

// parse writes out the lists of a condition and parses it.
func (t *macroTable) parse(cond string, from *valuePlace) (Expr, *Problem) {
	text, ok := t.lists.expand(cond)
	if !ok {
		return nil, fail(ErrCompileCondition, from.where,
			"the condition names more than %d lists, or grows beyond %d bytes with its lists written out", maxMentioned, maxExpanded)
	}
	e, err := parse(text, maxDepthRules, &origin{text, from})
	if err != nil {
		return nil, conditionProblem(ErrCompileCondition, from.where, err.At, err.Message)
	}
	return e, nil
}

// macroError is a macro that cannot be written out, at its place in a text.
type macroError struct {
	message string
	at      Position
}

// resolveMacro writes out the macros in a macro. path are the ones that are
// being written out.
func (t *macroTable) resolveMacro(m *expandedMacro, path []*expandedMacro) *macroError {
	if m.resolved {
		return nil
	}
	size := 0
	e, err := t.resolve(m.expr, m.item.visible, append(slices.Clip(path), m), &size)
	if err != nil {
		return err
	}
	m.expr, m.size, m.resolved = e, size, true
	return nil
}

// resolve replaces the macros in e by the conditions of those that were
// defined before the given time.
func (t *macroTable) resolve(e Expr, before int, path []*expandedMacro, size *int) (Expr, *macroError) {
	grow := func(n int) *macroError {
		if *size += n; *size > maxNodes {
			return &macroError{fmt.Sprintf("the condition has more than %d parts with its macros written out", maxNodes), e.Pos()}
		}
		return nil
	}
	if err := grow(1); err != nil {
		return nil, err
	}
	if macro, ok := e.(*Macro); ok {
		m := t.macros[macro.Name]
		if m == nil || m.item.index >= before {
			return nil, &macroError{"Undefined macro '" + macro.Name + "' used in filter.", e.Pos()}
		}
		if slices.Contains(path, m) {
			return nil, &macroError{"reference loop in macro '" + macro.Name + "'", e.Pos()}
		}
		if len(path) == maxMacroDepth {
			return nil, &macroError{fmt.Sprintf("macros are nested more than %d levels deep", maxMacroDepth), e.Pos()}
		}
		m.used = true
		if err := t.resolveMacro(m, path); err != nil {
			return nil, err
		}
		return m.expr, grow(m.size)
	}
	old := e.terms()
	terms := make([]Expr, len(old))
	for i, x := range old {
		var err *macroError
		if terms[i], err = t.resolve(x, before, path, size); err != nil {
			return nil, err
		}
	}
	switch e := e.(type) {
	case *And:
		return &And{Terms: terms, Paren: e.Paren, At: e.At}, nil
	case *Or:
		return &Or{Terms: terms, Paren: e.Paren, At: e.At}, nil
	case *Not:
		return &Not{Term: terms[0], At: e.At}, nil
	}
	return e, nil
}
