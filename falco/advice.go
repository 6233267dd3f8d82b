package falco

import (
	"fmt"
	"slices"
	"strings"
)

// AdviceID names a kind of advice.
type AdviceID string

// The kinds of advice. They are about rules that load and do not do what they
// seem to say.
const (
	// AdvicePrecedence: or and and are mixed without parentheses.
	AdvicePrecedence AdviceID = "precedence"
	// AdviceGuard: a condition that narrows one branch leaves another open.
	AdviceGuard AdviceID = "guard"
	// AdviceNoStart: the rule is evaluated on every kind of event.
	AdviceNoStart AdviceID = "no-event-type"
	// AdviceUndefinedList: a name that looks like a list is none.
	AdviceUndefinedList AdviceID = "undefined-list"
	// AdviceUndefinedMacro: a macro comes from another document.
	AdviceUndefinedMacro AdviceID = "undefined-macro"
	// AdviceDigest: the digest that runs is taken for a pin.
	AdviceDigest AdviceID = "digest-is-not-a-pin"
	// AdviceEmptyTag: an empty tag is taken for a missing one.
	AdviceEmptyTag AdviceID = "empty-tag"
)

// Level says how much an advice matters.
type Level string

// The levels: a warning is about what the rule does now, a note about what it
// depends on.
const (
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

// Advice is something about a rule that its author should know.
type Advice struct {
	ID    AdviceID
	Level Level
	// Text is the part of the condition that it is about.
	Text string
	// Message says what the rule does, Fix what to write instead.
	Message, Fix string
}

// Advise reads the text of a rule's condition and says where it does not do
// what it seems to say.
func (rs *Ruleset) Advise(r *Rule) []Advice {
	source, p := r.item.withExceptions()
	if p != nil {
		return nil
	}
	written, err := parse(source, maxDepthRules)
	if err != nil {
		// A list name in a place where only its items parse; nothing can be
		// said of the text then.
		return nil
	}
	a := &adviser{rs: rs, rule: r}
	a.precedence(written)
	a.eventTypes()
	a.references(written)
	a.fields(written)
	return a.found
}

type adviser struct {
	rs    *Ruleset
	rule  *Rule
	found []Advice
}

func (a *adviser) add(id AdviceID, level Level, text, fix, message string, args ...any) {
	a.found = append(a.found, Advice{ID: id, Level: level, Text: text, Message: fmt.Sprintf(message, args...), Fix: fix})
}

// precedence finds or with an and beside it that has no parentheses, and which
// branch then lacks which condition.
func (a *adviser) precedence(e Expr) {
	Walk(e, func(e Expr) bool {
		or, ok := e.(*Or)
		if !ok {
			return true
		}
		for _, t := range or.Terms {
			and, ok := t.(*And)
			if !ok || and.Paren {
				continue
			}
			a.add(AdvicePrecedence, LevelWarning, or.String(),
				"put parentheses around the alternatives: (A or B) and C and D",
				"'and' binds tighter than 'or', so Falco reads the condition as %s", or)
			a.guards(or)
			return false
		}
		return true
	})
}

// guards finds conditions that one branch of an or has and another has not.
func (a *adviser) guards(or *Or) {
	conjuncts := func(e Expr) (all []string) {
		if and, ok := e.(*And); ok {
			for _, t := range and.Terms {
				all = append(all, t.String())
			}
			return all
		}
		return []string{e.String()}
	}
	for _, t := range or.Terms {
		if _, ok := t.(*And); ok {
			continue
		}
		var missing []string
		for _, other := range or.Terms {
			and, ok := other.(*And)
			if !ok {
				continue
			}
			// The first part is the alternative itself, the rest narrows it.
			for _, c := range conjuncts(and)[1:] {
				if !slices.Contains(missing, c) {
					missing = append(missing, c)
				}
			}
		}
		if len(missing) > 0 {
			a.add(AdviceGuard, LevelWarning, t.String(),
				"let the guards apply to every alternative: (A or B) and guard",
				"the alternative '%s' stands alone: '%s' does not apply to it, so it also matches what that should leave out",
				t, strings.Join(missing, "' and '"))
		}
	}
}

// eventTypes finds rules that Falco evaluates on every event.
func (a *adviser) eventTypes() {
	if a.rule.Source == "syscall" && eventTypes(a.rule.Expr).wide() {
		a.add(AdviceNoStart, LevelWarning, "", "begin with the event that the rule is about: evt.type = container and …",
			"no part of the condition names an event type, so that Falco evaluates it on every system call "+
				"and alerts again and again while the container runs, not once when it starts")
	}
}

// references finds lists and macros that are not defined, or not beside the
// rule.
func (a *adviser) references(e Expr) {
	seen := map[string]bool{}
	Walk(e, func(e Expr) bool {
		switch e := e.(type) {
		case *Macro:
			if m := a.rs.col.macros.get(e.Name); m != nil && m.doc != a.rule.item.doc && !seen[e.Name] {
				seen[e.Name] = true
				a.add(AdviceUndefinedMacro, LevelNote, e.Name, "define the macro in the same document, or load the file that has it before",
					"the macro '%s' is not defined beside the rule but at %s:%d; without that, Falco refuses the whole file", e.Name, m.where[0].File, m.where[0].At.Line)
			}
		case *Check:
			for _, name := range listNames(e) {
				if !seen[name] {
					seen[name] = true
					a.list(e, name)
				}
			}
		}
		return true
	})
}

// listNames are the texts of a check that are written as the name of a list.
func listNames(c *Check) []string {
	var items []Operand
	switch right := c.Right.(type) {
	case *List:
		items = right.Items
	case *Text:
		if c.Op == "in" || c.Op == "intersects" || c.Op == "pmatch" || c.Modifier != "" {
			items = []Operand{right}
		}
	}
	var names []string
	for _, item := range items {
		if t, ok := item.(*Text); ok && !t.Quoted {
			names = append(names, t.Value)
		}
	}
	return names
}

func (a *adviser) list(c *Check, name string) {
	const silent = "Falco says nothing of a list that is not defined: it takes the name for a text, so that '%s' compares with the word %q and exempts or finds nothing else"
	l := a.rs.col.lists.get(name)
	switch {
	case l == nil && looksLikeList(c, name):
		a.add(AdviceUndefinedList, LevelWarning, name, "define it: - list: "+name,
			"the list '%s' is not defined in any file that was loaded. "+silent, name, c, name)
	case l != nil && l.doc != a.rule.item.doc:
		a.add(AdviceUndefinedList, LevelNote, name, "define the list in the same document as the rule",
			"the list '%s' is not defined beside the rule but at %s:%d. Copied without it, the rule still loads: "+silent,
			name, l.where[0].File, l.where[0].At.Line, c, name)
	}
}

// looksLikeList reports whether a text in a list that has no other is written
// as people name lists: words with underscores.
func looksLikeList(c *Check, name string) bool {
	l := &lexer{in: name}
	return len(listNames(c)) == 1 && l.wordEnd(0) == len(name) && strings.Contains(name, "_")
}

// fields finds fields that say something else than their name.
func (a *adviser) fields(e Expr) {
	Walk(e, func(e Expr) bool {
		c, ok := e.(*Check)
		if !ok {
			return true
		}
		f, ok := c.Left.(*FieldName)
		if !ok {
			return true
		}
		right, _ := c.Right.(*Text)
		switch {
		case f.Name == "container.image.digest" && (right == nil || !isFullDigest(right.Value)) && c.Op != "in" && c.Modifier == "":
			a.add(AdviceDigest, LevelWarning, c.String(),
				`ask the reference: container.image contains "@sha256:", or tagwarden.pinned = true here`,
				"container.image.digest is the digest of the image that was pulled, and every pulled image has one, also one that was asked for by tag: "+
					"'%s' does not tell whether the reference is pinned", c)
		case f.Name == "container.image.tag" && (c.Op == "=" || c.Op == "!=") && right != nil && right.Value == "":
			a.add(AdviceEmptyTag, LevelWarning, c.String(),
				`leave out digests: container.image.tag = "" and not container.image contains "@sha256:"`,
				"the tag is also empty for a reference that has only a digest, the best kind there is, and for an image of which nothing is known; "+
					"and a runtime that completes names turns a missing tag into 'latest'")
		}
		return true
	})
}

// isFullDigest reports whether text names one digest, so that comparing with
// it is not a test for having one.
func isFullDigest(text string) bool { return len(text) >= len("sha256:")+64 }
