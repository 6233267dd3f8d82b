package falco

// collector has what all files so far define, in the order of definition.
type collector struct {
	lists  named[*listItem]
	macros named[*macroItem]
	rules  named[*ruleItem]
	// clock counts the definitions: an item sees what was there before its
	// own last change.
	clock int
	// doc counts the YAML documents of all files.
	doc int
}

func (c *collector) tick() int {
	c.clock++
	return c.clock
}

// named is a list of items that are found by name.
type named[T any] struct {
	all    []T
	byName map[string]T
}

func (n *named[T]) add(name string, item T) {
	if n.byName == nil {
		n.byName = map[string]T{}
	}
	n.byName[name] = item
	n.all = append(n.all, item)
}

// get returns the item of that name, or the zero value.
func (n *named[T]) get(name string) T { return n.byName[name] }

type listItem struct {
	name    string
	items   []string
	index   int // when it was defined first
	visible int // when it was changed last
	where   []Location
	docs    []int // that define it
}

type macroItem struct {
	name    string
	cond    string
	index   int
	visible int
	where   []Location
	condAt  *valuePlace
	docs    []int // that define it
}

type ruleItem struct {
	name        string
	cond        string
	output      string
	desc        string
	priority    Priority
	source      string
	tags        []string
	exceptions  []*exception
	enabled     bool
	warnTypes   bool
	skipUnknown bool
	capture     bool
	where       []Location
	condAt      *valuePlace
	outputAt    []Location
	doc         int
	// unknownSource is set when the source has no rules here.
	unknownSource bool
}
