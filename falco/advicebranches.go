package falco

import (
	"slices"
	"strings"
)

// precedence finds or beside an and that has no parentheses, and says which
// conditions then do not guard which alternative.
func (a *adviser) precedence(e Expr) {
	Walk(e, func(e Expr) bool {
		or, ok := e.(*Or)
		if !ok {
			return true
		}
		mixed := slices.ContainsFunc(or.Terms, func(t Expr) bool {
			and, ok := t.(*And)
			return ok && !and.Paren
		})
		if !mixed {
			return true
		}
		var message strings.Builder
		message.WriteString("'and' binds tighter than 'or', so Falco reads the condition as " + or.String())
		for i, t := range or.Terms {
			if missing := guardsOfOthers(or, i); len(missing) > 0 {
				message.WriteString(". Not guarded by '" + strings.Join(missing, "' and '") + "': the alternative '" + t.String() + "'")
			}
		}
		a.add(AdvicePrecedence, LevelWarning, or.String(),
			"put parentheses around the alternatives, (A or B) and C and D, or around each of them, A or (B and C and D)", "%s", message.String())
		return false
	})
}

// conjuncts are the conditions that must all hold for e.
func conjuncts(e Expr) []Expr {
	if and, ok := e.(*And); ok {
		return and.Terms
	}
	return []Expr{e}
}

// guardsOfOthers are the conditions behind the first one of the alternatives
// without parentheses that the alternative i lacks.
func guardsOfOthers(or *Or, i int) []string {
	var own, missing []string
	for _, c := range conjuncts(or.Terms[i]) {
		own = append(own, c.String())
	}
	for j, other := range or.Terms {
		and, ok := other.(*And)
		if !ok || and.Paren || i == j {
			continue
		}
		for _, c := range and.Terms[1:] {
			if s := c.String(); !slices.Contains(own, s) && !slices.Contains(missing, s) {
				missing = append(missing, s)
			}
		}
	}
	return missing
}

// exemptions finds exemptions by a list that hold for some alternatives only.
func (a *adviser) exemptions(e Expr) {
	Walk(e, func(e Expr) bool {
		or, ok := e.(*Or)
		if !ok {
			return true
		}
		has := func(t Expr, exemption string) bool {
			return slices.ContainsFunc(conjuncts(t), func(c Expr) bool { return c.String() == exemption })
		}
		for _, t := range or.Terms {
			and, ok := t.(*And)
			if !ok {
				continue
			}
			for _, c := range and.Terms {
				if !isExemption(c) {
					continue
				}
				var bare []string
				for _, other := range or.Terms {
					if !has(other, c.String()) {
						bare = append(bare, other.String())
					}
				}
				if len(bare) == 0 {
					continue
				}
				level := LevelWarning
				if and.Paren {
					level = LevelNote // It stands there on purpose.
				}
				a.add(AdvicePartialExemption, level, c.String(), "let the exemption apply to every alternative: (A or B) and "+c.String(),
					"'%s' exempts from '%s' only. It does not hold for '%s', which alerts on what it should leave out",
					c, t, strings.Join(bare, "' and '"))
			}
		}
		return true
	})
}

// isExemption reports whether e leaves out what is in a list.
func isExemption(e Expr) bool {
	not, ok := e.(*Not)
	if !ok {
		return false
	}
	c, ok := not.Term.(*Check)
	return ok && slices.Contains(listOperators, c.Op)
}

// startGuard finds alternatives that Falco evaluates on every event, and those
// that no check for a container guards although others have one.
func (a *adviser) startGuard() {
	if a.rule.Source != "syscall" || !a.rule.types.wide() {
		return
	}
	message := "no event type is named, so that Falco evaluates the rule on every event and alerts again and again while the container runs, not once when it starts"
	open := alternatives(a.rule.Expr, func(e Expr) bool { return !eventTypes(e).wide() })
	if len(open) > 0 && (len(open) != 1 || open[0] != a.rule.Expr) {
		message = "no event type is named in '" + joinTexts(open) + "', so that Falco evaluates the rule on every event and alerts again and again, not once when a container starts"
	}
	guarded := false
	Walk(a.rule.Expr, func(e Expr) bool {
		guarded = guarded || isContainer(e)
		return !guarded
	})
	if bare := alternatives(a.rule.Expr, isContainer); guarded && len(bare) > 0 {
		message += ". The check for a container does not cover '" + joinTexts(bare) + "', which also matches on the host"
	}
	a.add(AdviceNoStartGuard, LevelWarning, "", "begin with the event that the rule is about: evt.type = container and container.id != host and (…)", "%s", message)
}

func joinTexts(all []Expr) string {
	texts := make([]string, len(all))
	for i, e := range all {
		texts[i] = e.String()
	}
	return strings.Join(texts, "' and '")
}

// alternatives are the parts of e that the given guard does not cover, as
// small as they can be named.
func alternatives(e Expr, guard func(Expr) bool) []Expr {
	if guard(e) {
		return nil
	}
	switch e := e.(type) {
	case *Or:
		var open []Expr
		for _, t := range e.Terms {
			open = append(open, alternatives(t, guard)...)
		}
		return open
	case *And:
		for _, t := range e.Terms {
			if or, ok := t.(*Or); ok && slices.ContainsFunc(or.Terms, guard) {
				return alternatives(or, guard)
			}
		}
	}
	return []Expr{e}
}

// isContainer reports whether e holds in containers only.
func isContainer(e Expr) bool {
	switch e := e.(type) {
	case *And:
		return slices.ContainsFunc(e.Terms, isContainer)
	case *Or:
		return !slices.ContainsFunc(e.Terms, func(t Expr) bool { return !isContainer(t) })
	case *Not:
		return isIDCheck(e.Term, "=")
	}
	return isIDCheck(e, "!=")
}

// isIDCheck reports whether e compares the container's id with "host".
func isIDCheck(e Expr, op string) bool {
	c, ok := e.(*Check)
	if !ok || c.Op != op {
		return false
	}
	f, isField := c.Left.(*FieldName)
	t, isText := c.Right.(*Text)
	return isField && isText && (f.Name == "container.id" || f.Name == "container.type") && t.Value == "host"
}
