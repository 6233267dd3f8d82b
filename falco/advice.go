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
	// AdvicePartialExemption: an exemption covers some alternatives only.
	AdvicePartialExemption AdviceID = "partial-exemption"
	// AdviceNoStartGuard: an alternative is evaluated on every kind of event.
	AdviceNoStartGuard AdviceID = "no-start-guard"
	// AdviceUndefinedList: a name that looks like a list is none.
	AdviceUndefinedList AdviceID = "undefined-list"
	// AdviceListElsewhere: a list comes from another document.
	AdviceListElsewhere AdviceID = "list-elsewhere"
	// AdviceMacroElsewhere: a macro comes from another document.
	AdviceMacroElsewhere AdviceID = "macro-elsewhere"
	// AdviceDigestNotPinning: the digest that runs is taken for a pin.
	AdviceDigestNotPinning AdviceID = "digest-not-pinning"
	// AdviceInvertedEmptyTag: an empty tag is taken for a missing one.
	AdviceInvertedEmptyTag AdviceID = "inverted-empty-tag"
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
	// At is where that stands in the rule's condition, Where its place in the
	// file; At.Line is 0 for what stands in a macro or is about the whole
	// condition.
	At    Position
	Where Location
	// Message says what the rule does, Fix what to write instead.
	Message, Fix string
}

// Advise reads a rule's condition and says where it does not do what it seems
// to say. It goes by the text alone: what a rule is called does not matter.
func (rs *Ruleset) Advise(r *Rule) []Advice {
	if size(r.Expr) > maxAdvised {
		return nil
	}
	a := &adviser{rs: rs, rule: r, places: map[string]Position{}}
	// The text before lists and macros are written out. It does not parse
	// where only the items of a list do; nothing can be said of it then.
	if written, err := parse(r.Condition, maxDepthRules, &origin{r.Condition, r.item.condAt}); err == nil && size(written) <= maxAdvised {
		Walk(written, func(e Expr) bool {
			if _, found := a.places[e.String()]; !found {
				a.places[e.String()] = e.Pos()
			}
			return true
		})
		a.precedence(written)
		a.exemptions(written)
		a.references(written)
	}
	a.startGuard()
	a.fields(r.Expr, false, false)
	return a.found
}

// maxAdvised is the number of parts of the longest condition that is advised
// on; none that people write comes near.
const maxAdvised = 1 << 12

func size(e Expr) int {
	n := 0
	Walk(e, func(Expr) bool {
		n++
		return n <= maxAdvised
	})
	return n
}

type adviser struct {
	rs     *Ruleset
	rule   *Rule
	places map[string]Position // of the parts of the written condition
	found  []Advice
}

func (a *adviser) add(id AdviceID, level Level, text, fix, message string, args ...any) {
	advice := Advice{ID: id, Level: level, Text: text, At: a.places[text], Message: fmt.Sprintf(message, args...), Fix: fix}
	advice.Where = a.rule.Where
	if at := advice.At; at.in != nil {
		advice.Where = Location{Type: "condition expression", File: a.rule.Where.File, At: at.in.find(at)}
	}
	same := func(old Advice) bool { return old.ID == id && old.Text == text }
	if !slices.ContainsFunc(a.found, same) {
		a.found = append(a.found, advice)
	}
}

// references finds lists and macros that are not defined, or not beside the
// rule.
func (a *adviser) references(e Expr) {
	Walk(e, func(e Expr) bool {
		switch e := e.(type) {
		case *Macro:
			a.macro(e)
		case *Check:
			texts := listTexts(e)
			for _, t := range texts {
				a.list(e, t, len(texts) == 1)
			}
		}
		return true
	})
}

func (a *adviser) macro(e *Macro) {
	m := a.rs.col.macros.get(e.Name)
	if m == nil || slices.Contains(m.docs, a.rule.item.doc) {
		return
	}
	a.add(AdviceMacroElsewhere, LevelNote, e.Name, "define the macro in the same document, or load the file that has it before",
		"the macro '%s' is not defined in the rule's own document but at %s. A file with that document alone is refused: Falco says \"Undefined macro '%s' used in filter.\"",
		e.Name, place(m.where), e.Name)
}

func place(where []Location) string {
	return fmt.Sprintf("%s:%d", where[0].File, where[0].At.Line)
}

// listTexts are the texts of a check that could be names of lists.
func listTexts(c *Check) []*Text {
	var items []Operand
	switch right := c.Right.(type) {
	case *List:
		items = right.Items
	case *Text:
		if slices.Contains(listOperators, c.Op) || c.Modifier != "" {
			items = []Operand{right}
		}
	}
	var texts []*Text
	for _, item := range items {
		if t, ok := item.(*Text); ok && !t.Quoted {
			texts = append(texts, t)
		}
	}
	return texts
}

func (a *adviser) list(c *Check, t *Text, alone bool) {
	name := t.Value
	const silent = "Falco says nothing of a list that is not defined. It takes the name for a text, so that '%s' compares with the word %q and with nothing else"
	l := a.rs.col.lists.get(name)
	a.places[name] = t.At
	switch {
	case l != nil && !slices.Contains(l.docs, a.rule.item.doc):
		a.add(AdviceListElsewhere, LevelNote, name, "define the list in the same document as the rule",
			"the list '%s' is undefined in the rule's own document and supplied at %s. Without that the rule still loads: "+silent,
			name, place(l.where), c, name)
	case l == nil && looksLikeList(c, name, alone):
		a.add(AdviceUndefinedList, LevelWarning, name, "define it (- list: "+name+"), or put the text in quotes if it is meant as it is",
			"the list '%s' is not defined in any file that was loaded. "+silent, name, c, name)
	}
}

// looksLikeList reports whether a text is written as people name lists: words
// with underscores, in the plural, or alone and said to be known or trusted.
func looksLikeList(c *Check, name string, alone bool) bool {
	if f, ok := c.Left.(*FieldName); ok && (f.Name == "evt.type" || f.Name == "syscall.type") {
		return false
	}
	l := &lexer{in: name}
	first, _, found := strings.Cut(name, "_")
	if l.wordEnd(0) != len(name) || !found {
		return false
	}
	return strings.HasSuffix(name, "s") || strings.HasSuffix(name, "list") || alone && slices.Contains(listWords, first)
}

// listWords begin the names of lists.
var listWords = []string{"allow", "allowed", "approved", "deny", "denied", "ignored", "known", "safe", "trusted", "user", "whitelisted"}

// fields finds fields that say something else than their name. negated says
// that e stands behind an odd number of nots, reference that something beside
// e looks at whether the image reference has a digest.
func (a *adviser) fields(e Expr, negated, reference bool) {
	if c, ok := e.(*Check); ok {
		a.field(c, negated, reference)
		return
	}
	_, not := e.(*Not)
	// What all terms of an and say holds for each; behind a not, that is so
	// for the terms of an or.
	_, together := e.(*And)
	if negated {
		_, together = e.(*Or)
	}
	for i, t := range e.terms() {
		known := reference
		for j, beside := range e.terms() {
			known = known || together && i != j && asksForDigest(beside)
		}
		a.fields(t, negated != not, known)
	}
}

// asksForDigest reports whether e looks for a digest in the image reference.
func asksForDigest(e Expr) bool {
	found := false
	Walk(e, func(e Expr) bool {
		c, ok := e.(*Check)
		if !ok || found {
			return !found
		}
		f, isField := c.Left.(*FieldName)
		t, isText := c.Right.(*Text)
		found = isField && isText && f.Name == "container.image" && strings.Contains(t.Value, "@")
		return !found
	})
	return found
}

func (a *adviser) field(c *Check, negated, reference bool) {
	f, ok := c.Left.(*FieldName)
	if !ok {
		return
	}
	texts := values(constants(c))
	empty := len(texts) == 1 && texts[0] == ""
	switch {
	case f.Name == "container.image.digest" && !slices.ContainsFunc(texts, isFullDigest):
		a.add(AdviceDigestNotPinning, LevelWarning, c.String(),
			`ask the reference: container.image contains "@sha256:", or tagwarden.pinned = true here`,
			"container.image.digest is the digest of the image that was pulled. Every image from a registry has one, also one that was asked for by tag, "+
				"so '%s' does not tell whether the reference is pinned", c)
	case f.Name == "container.image.tag" && empty && !reference && (c.Op == "=" || c.Op == "in") != negated:
		a.add(AdviceInvertedEmptyTag, LevelWarning, c.String(),
			`leave out references with a digest: container.image.tag = "" and not container.image contains "@sha256:"; or tagwarden.class = untagged here`,
			"an empty tag does not mean a missing one. A reference that has only a digest has an empty tag, too, and is the best there is, "+
				"while runtimes that complete a reference without a tag turn it into 'latest'. "+
				"The tag is also empty on the host and where nothing is known of the image")
	}
}

// isFullDigest reports whether text names one digest, so that comparing with
// it is not a test for having one.
func isFullDigest(text string) bool {
	_, hex, found := strings.Cut(text, ":")
	return found && len(hex) >= 32
}
