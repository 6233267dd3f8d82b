package falco

import "strings"

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
}

type expandedList struct {
	item *listItem
	text string // the items with commas between them
	used bool
}

// newExpander writes the lists out that are items of lists: an item that is
// the name of an earlier list becomes the items of that one.
func newExpander(col *collector) *expander {
	x := &expander{}
	used := map[string]bool{}
	for _, l := range col.lists.all {
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

// maxExpanded bounds a condition after its lists are written out, in bytes:
// lists in lists grow fast.
const maxExpanded = 4 << 20

// expand writes all lists out, each in the order of its definition. It gives
// up on a text that grows too long.
func (x *expander) expand(cond string) (text string, ok bool) {
	for _, l := range x.lists {
		if l.item.name == "" || !strings.Contains(cond, l.item.name) {
			continue
		}
		expanded, n, ok := replaceDelimited(cond, l.item.name, l.text)
		if !ok {
			return cond, false
		}
		l.used = l.used || n > 0
		cond = expanded
	}
	return cond, true
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

func isDelimiter(c byte) bool { return strings.IndexByte(" \t\n\r(),=", c) >= 0 }

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
		if (i == 0 && free || i > 0 && isDelimiter(text[i-1])) && (end == len(text) || isDelimiter(text[end])) {
			return i
		}
		from = i + 1
	}
}
