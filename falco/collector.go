package falco

import "strings"

// collector has what all files so far define, in the order of definition.
type collector struct {
	lists  []*listItem
	macros []*macroItem
	rules  []*ruleItem
	// clock counts the definitions: an item sees what was there before its
	// own last change.
	clock int
}

func newCollector() *collector { return &collector{} }

func (c *collector) tick() int {
	c.clock++
	return c.clock
}

type listItem struct {
	name    string
	items   []string
	index   int // when it was defined first
	visible int // when it was changed last
	where   Location
	doc     int
	used    bool
}

type macroItem struct {
	name    string
	cond    string
	index   int
	visible int
	where   Location
	condAt  Location
	doc     int
	used    bool
}

type exceptionItem struct {
	name   string
	fields []string
	comps  []string
	values [][]exceptionValue // a tuple for each exception
	single bool               // fields is one name, not a list
	where  Location
}

type ruleItem struct {
	name        string
	cond        string
	output      string
	desc        string
	priority    Priority
	source      string
	tags        []string
	exceptions  []*exceptionItem
	enabled     bool
	warnTypes   bool
	skipUnknown bool
	capture     bool
	where       Location
	condAt      Location
	outputAt    Location
	doc         int
	// unknownSource is set when the source has no rules here.
	unknownSource bool
}

func (c *collector) list(name string) *listItem {
	for _, l := range c.lists {
		if l.name == name {
			return l
		}
	}
	return nil
}

func (c *collector) macro(name string) *macroItem {
	for _, m := range c.macros {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (c *collector) rule(name string) *ruleItem {
	for _, r := range c.rules {
		if r.name == name {
			return r
		}
	}
	return nil
}

// quoteItem puts quotes around a text with spaces, as it goes into the text of
// a condition.
func quoteItem(s string) string {
	if strings.Contains(s, " ") && s[0] != '"' && s[0] != '\'' {
		return `"` + s + `"`
	}
	return s
}

// flatten returns the lists with the lists in them written out. Falco does it
// as text: an item that is the name of an earlier list becomes its items.
func (c *collector) flatten() []*listItem {
	flat := make([]*listItem, len(c.lists))
	for i, l := range c.lists {
		copied := *l
		copied.items = nil
		for _, item := range l.items {
			if ref := c.list(item); ref != nil && ref.index < l.visible && ref != l {
				ref.used = true
				for _, v := range ref.items {
					copied.items = append(copied.items, quoteItem(v))
				}
				continue
			}
			copied.items = append(copied.items, quoteItem(item))
		}
		flat[i] = &copied
	}
	return flat
}

// maxExpanded bounds a condition after its lists are written out, in bytes:
// lists in lists grow fast.
const maxExpanded = 4 << 20

// expandLists writes the items of every list in place of its name, wherever
// the name stands between delimiters; also where it was meant as a value,
// because Falco does.
func expandLists(cond string, lists []*listItem, used func(*listItem)) (string, bool) {
	for _, l := range lists {
		if !strings.Contains(cond, l.name) || l.name == "" {
			continue
		}
		expanded, n := expandList(cond, l)
		if n > 0 {
			used(l)
		}
		if cond = expanded; len(cond) > maxExpanded {
			return "", false
		}
	}
	return cond, true
}

func isDelimiter(c byte) bool { return isListBlank(c) || strings.IndexByte("(),=", c) >= 0 }

func isListBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func expandList(cond string, l *listItem) (string, int) {
	items := strings.Join(l.items, ", ")
	var out strings.Builder
	n := 0
	for {
		i := indexDelimited(cond, l.name, out.Len() == 0)
		if i < 0 {
			break
		}
		n++
		before, after := cond[:i], cond[i+len(l.name):]
		if len(l.items) == 0 {
			before, after = dropComma(before, after)
		}
		out.WriteString(before)
		out.WriteString(items)
		cond = after
		if out.Len() > maxExpanded {
			break
		}
	}
	if n == 0 {
		return cond, 0
	}
	out.WriteString(cond)
	return out.String(), n
}

// indexDelimited finds name between two delimiters or ends. start says that
// the text begins the condition; otherwise what was before is an item.
func indexDelimited(text, name string, start bool) int {
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return -1
		}
		i += from
		end := i + len(name)
		if (i == 0 && start || i > 0 && isDelimiter(text[i-1])) && (end == len(text) || isDelimiter(text[end])) {
			return i
		}
		from = i + 1
	}
}

// dropComma takes away the comma on the left of an empty list, or else the one
// on its right.
func dropComma(before, after string) (string, string) {
	if left := strings.TrimRightFunc(before, func(r rune) bool { return isListBlank(byte(r)) }); strings.HasSuffix(left, ",") {
		return left[:len(left)-1], after
	}
	if right := strings.TrimLeftFunc(after, func(r rune) bool { return isListBlank(byte(r)) }); strings.HasPrefix(right, ",") {
		return before, right[1:]
	}
	return before, after
}
