package falco

import (
	"slices"
	"strings"
)

// quoteItem puts quotes around a text with spaces, as it goes into the text of
// a condition.
func quoteItem(s string) string {
	if strings.Contains(s, " ") && s[0] != '"' && s[0] != '\'' {
		return `"` + s + `"`
	}
	return s
}

// expander writes lists out in the text of conditions. Falco knows no lists
// while it parses: wherever the name of one stands between delimiters, its
// items take its place.
type expander struct {
	lists []*expandedList
	// byName finds the place of a list; odd are the places of those whose
	// name has a delimiter in it.
	byName map[string]int
	odd    []int
	// left is how many bytes may still be written.
	left int
}

type expandedList struct {
	item *listItem
	text string // the items with commas between them
	used bool
}

// newExpander writes the lists out that are items of lists: an item that is
// the name of an earlier list becomes the items of that one.
func newExpander(col *collector) *expander {
	x := &expander{byName: map[string]int{}, left: maxAllExpanded}
	used := map[string]bool{}
	for i, l := range col.lists.all {
		x.byName[l.name] = i
		if strings.ContainsFunc(l.name, isDelimiter) {
			x.odd = append(x.odd, i)
		}
		var texts []string
		size := 0
		for _, item := range l.items {
			items := []string{item}
			if ref := col.lists.get(item); ref != nil && ref.index < l.visible {
				used[item] = true
				items = ref.items
			}
			for _, s := range items {
				texts = append(texts, quoteItem(s))
				size += len(s)
			}
			if size > maxExpanded {
				break // No condition can have it; expand says so.
			}
		}
		x.lists = append(x.lists, &expandedList{item: l, text: strings.Join(texts, ", ")})
	}
	for _, l := range x.lists {
		l.used = used[l.item.name]
	}
	return x
}

const (
	// maxExpanded bounds a condition after its lists are written out, in
	// bytes: lists in lists grow fast.
	maxExpanded = 4 << 20
	// maxAllExpanded bounds what is written for all conditions together.
	maxAllExpanded = 256 << 20
	// maxMentioned bounds the lists that one condition names.
	maxMentioned = 1 << 12
)

// expand writes all lists out, each in the order of its definition. It gives
// up on a text that grows too long.
func (x *expander) expand(cond string) (text string, ok bool) {
	todo := x.mentioned(x.odd, cond, -1)
	for len(todo) > 0 {
		if x.left -= len(cond); x.left < 0 || len(todo) > maxMentioned {
			return "", false
		}
		at := slices.Min(todo)
		l := x.lists[at]
		expanded, n, ok := replaceDelimited(cond, l.item.name, l.text)
		if !ok {
			return "", false
		}
		if n > 0 {
			l.used = true
			todo = x.mentioned(todo, l.text, at)
		}
		cond = expanded
		todo = slices.DeleteFunc(todo, func(i int) bool { return i <= at })
	}
	return cond, true
}

// mentioned adds the lists behind a place that text names.
func (x *expander) mentioned(todo []int, text string, behind int) []int {
	todo = slices.Clone(todo)
	for word := range strings.FieldsFuncSeq(text, isDelimiter) {
		if i, ok := x.byName[word]; ok && i > behind && len(todo) <= maxMentioned && !slices.Contains(todo, i) {
			todo = append(todo, i)
		}
	}
	return todo
}

// replaceDelimited puts items in place of every name between delimiters.
func replaceDelimited(cond, name, items string) (text string, n int, ok bool) {
	var out strings.Builder
	for free := true; ; {
		i := indexDelimited(cond, name, free)
		if i < 0 {
			out.WriteString(cond)
			return out.String(), n, true
		}
		n++
		before, after := trimBlank(cond[:i], cond[i+len(name):])
		if items == "" {
			// An empty list takes one comma beside it along.
			if left, found := strings.CutSuffix(before, ","); found {
				before = left
			} else {
				after = strings.TrimPrefix(after, ",")
			}
		}
		out.WriteString(before)
		if free = out.Len() > 0; free {
			out.WriteByte(' ')
		}
		out.WriteString(items + " ")
		if out.Len()+len(after) > maxExpanded {
			return "", n, false
		}
		cond = after
	}
}

func trimBlank(before, after string) (string, string) {
	const blanks = " \t\n\r"
	return strings.TrimRight(before, blanks), strings.TrimLeft(after, blanks)
}

func isDelimiter(r rune) bool { return strings.ContainsRune(" \t\n\r(),=", r) }

// indexDelimited finds name between two delimiters or ends. free says that it
// may stand at the very beginning of the text; Falco does not look there after
// a list that began the condition.
func indexDelimited(text, name string, free bool) int {
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return -1
		}
		i += from
		end := i + len(name)
		if (i == 0 && free || i > 0 && isDelimiter(rune(text[i-1]))) && (end == len(text) || isDelimiter(rune(text[end]))) {
			return i
		}
		from = i + 1
	}
}
