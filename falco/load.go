package falco

import "slices"

// EngineVersion is the version of Falco's rule engine whose language this is.
const EngineVersion = "0.63.0"

// File is one rules file.
type File struct {
	Name string
	Data []byte
}

// Options say how rules are loaded. The zero value loads every rule of the
// source syscall with the default catalogue.
type Options struct {
	// Catalog has the fields; nil means [DefaultCatalog].
	Catalog *Catalog
	// Sources are the event sources whose rules are compiled; others are
	// skipped with a warning. nil means syscall alone.
	Sources []string
	// MinPriority disables the rules that are less urgent; 0 disables none.
	MinPriority Priority
	// Select enables and disables rules, one step after the other, as "rules"
	// in falco.yaml does.
	Select []Selection
	// Append adds to the output of rules, as "append_output" in falco.yaml
	// does.
	Append []AppendOutput
	// Matching says how many rules alert on one event.
	Matching Matching
}

// DefaultOptions compile every rule of the source syscall.
func DefaultOptions() Options {
	return Options{Catalog: DefaultCatalog(), Sources: []string{"syscall"}, MinPriority: Debug}
}

// Matching says how many rules alert on one event.
type Matching uint8

const (
	// MatchAll gives every rule that matches.
	MatchAll Matching = iota
	// MatchFirst gives the first one in the order of the files, which is what
	// Falco does unless it is told otherwise.
	MatchFirst
)

// Selection enables or disables the rules of a name or of a tag.
type Selection struct {
	Enable bool
	// Rule is the name of rules, with * and ? for any characters; "" for all.
	Rule string
	// Tag is one of their tags; "" for all.
	Tag string
}

// Covers reports whether the selection is about a rule.
func (s Selection) Covers(r *Rule) bool {
	return (s.Rule == "" || wildcard(s.Rule, r.Name)) && (s.Tag == "" || slices.Contains(r.Tags, s.Tag))
}

// wildcard matches * for any characters and ? for one.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// AppendOutput adds text and fields to the output of the rules that have the
// given source, name and tags; each of them may be empty.
type AppendOutput struct {
	Source string
	Rule   string
	Tags   []string
	// Output is text that follows the rule's own after a blank.
	Output string
	// Fields are added to the output_fields of the JSON alert.
	Fields []ExtraField
}

// ExtraField is a field that an alert has beside those of its output. With a
// Format it is a text of that template under the name; without, it is the
// value of the field that the name is.
type ExtraField struct{ Name, Format string }

// SuggestedOutput is what Falco's container plugin suggests to append to every
// output.
const SuggestedOutput = "container_id=%container.id container_name=%container.name " +
	"container_image_repository=%container.image.repository container_image_tag=%container.image.tag " +
	"k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name"

func (a *AppendOutput) covers(r *Rule) bool {
	if a.Source != "" && a.Source != r.Source || a.Rule != "" && a.Rule != r.Name {
		return false
	}
	for _, tag := range a.Tags {
		if !slices.Contains(r.Tags, tag) {
			return false
		}
	}
	return true
}

// Load reads rules files in order, as Falco does: a later file sees, appends
// to and replaces what an earlier one defined, and each file is compiled
// together with all before it. There is a result for every file up to the
// first that fails; the ruleset is nil when one did.
func Load(files []File, opt Options) (*Ruleset, []*Result) {
	if opt.Catalog == nil {
		opt.Catalog = DefaultCatalog()
	}
	if opt.Sources == nil {
		opt.Sources = []string{"syscall"}
	}
	col := &collector{}
	var results []*Result
	var rules []*Rule
	for _, f := range files {
		res := &Result{Name: f.Name, content: string(f.Data)}
		results = append(results, res)
		r := &reader{file: f.Name, col: col, res: res, opt: &opt}
		p := r.read(f.Data)
		if p == nil {
			rules, p = compileRules(col, &opt, res)
		}
		if p != nil {
			p.show(res.content)
			res.Errors = append(res.Errors, p)
			return nil, results
		}
	}
	return newRuleset(rules, col, &opt), results
}
