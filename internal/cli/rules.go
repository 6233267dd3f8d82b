package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/rules"
)

// maxRules is the size of the largest rules file that is read, in bytes.
const maxRules = 16 << 20

func newRules(env Env) *cobra.Command {
	return group("rules", "Check, explain and evaluate Falco rules files",
		newRulesCheck(env), newRulesList(env), newRulesExplain(env), newRulesMatch(env), newRulesEval(env))
}

// readRules reads files and the YAML files of folders, in that order and in
// each folder by name, as Falco does.
func readRules(paths []string) ([]falco.File, error) {
	var files []falco.File
	for _, p := range paths {
		names := []string{p}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		if info.IsDir() {
			names = nil
			for _, pattern := range []string{"*.yaml", "*.yml"} {
				found, err := filepath.Glob(filepath.Join(escapeGlob(p), pattern))
				if err != nil {
					return nil, fmt.Errorf("read rules: %w", err)
				}
				names = append(names, found...)
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("read rules: no .yaml file in %s", p)
			}
			slices.Sort(names)
		}
		for _, name := range names {
			data, err := readFile(name, maxRules)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			files = append(files, falco.File{Name: name, Data: data})
		}
	}
	return files, nil
}

// escapeGlob makes a path that a glob takes as it is.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: larger than %d MiB", name, limit>>20)
	}
	return data, nil
}

// loadRules loads the given files, or the built-in rules, with what the policy
// says of their lists.
func loadRules(paths []string, pol *policy.Policy, opt falco.Options) (*falco.Ruleset, error) {
	files := builtInRules()
	if len(paths) > 0 {
		var err error
		if files, err = readRules(paths); err != nil {
			return nil, err
		}
	}
	if overlay := policyRules(pol, len(paths) == 0); len(overlay) > 0 {
		files = append(files, falco.File{Name: "policy", Data: overlay})
	}
	set, results := falco.Load(files, opt)
	if set == nil {
		return nil, loadError(results)
	}
	return set, nil
}

func builtInRules() []falco.File {
	return []falco.File{{Name: "tagwarden.yaml (built in)", Data: rules.Tagwarden}}
}

// loadError says why files do not load, a line each.
func loadError(results []*falco.Result) error {
	var all []error
	for _, r := range results {
		for _, p := range r.Errors {
			all = append(all, p)
		}
	}
	return fmt.Errorf("load rules: %w", errors.Join(all...))
}

// loadPaths loads files and folders, or the built-in rules, as they are,
// without the policy.
func loadPaths(paths []string, opt falco.Options) (*falco.Ruleset, []*falco.Result, error) {
	files := builtInRules()
	if len(paths) > 0 {
		var err error
		if files, err = readRules(paths); err != nil {
			return nil, nil, err
		}
	}
	set, results := falco.Load(files, opt)
	return set, results, nil
}

// policyRules is what a policy changes in the rules: the list of debug images
// where it names them, and for the built-in rules whether ephemeral containers
// are left out.
func policyRules(pol *policy.Policy, builtIn bool) []byte {
	var b strings.Builder
	if pol.ExplicitDebugImages() {
		b.WriteString("- list: known_debug_images\n  items:\n")
		for _, name := range pol.DebugImages() {
			fmt.Fprintf(&b, "    - %q\n", name)
		}
		if len(pol.DebugImages()) == 0 {
			b.WriteString("    []\n")
		}
	}
	if builtIn && pol.AlertEphemeral() {
		b.WriteString("- macro: ephemeral_container\n  condition: (evt.num = 0)\n")
	}
	return []byte(b.String())
}

func newRulesCheck(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE...",
		Short: "Load rules files as Falco does and say what is wrong with them",
		Long: `Check loads rules files in the given order, as "falco -V" does, and prints
Falco's errors and warnings. With -o json it prints Falco's object
falco_load_results.

Exit status 1 when a file does not load.`,
		Example: `  tagwarden rules check my_rules.yaml
  tagwarden rules check falco_rules.yaml my_rules.yaml -o json`,
		Args: cobra.MinimumNArgs(1),
	}
	selection := selectionFlags(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		opt, err := selection.options()
		if err != nil {
			return err
		}
		set, results, err := loadPaths(args, opt)
		if err != nil {
			return err
		}
		if *output == "json" {
			err = writeLoadResults(env.Stdout, results)
		} else {
			err = writeLoadText(env.Stdout, set, results)
		}
		if err == nil && set == nil {
			err = &statusError{status: exitFindings}
		}
		return err
	}
	return cmd
}

func writeLoadText(w io.Writer, set *falco.Ruleset, results []*falco.Result) error {
	var b strings.Builder
	for _, r := range results {
		for _, p := range r.Errors {
			fmt.Fprintf(&b, "error    %v\n", p)
			for line := range strings.Lines(p.Snippet) {
				b.WriteString("         " + strings.TrimRight(line, "\n") + "\n")
			}
		}
		for _, p := range r.Warnings {
			fmt.Fprintf(&b, "warning  %v\n", p)
		}
	}
	for _, r := range results {
		verdict := "loads"
		if !r.Successful() {
			verdict = "does not load"
		}
		fmt.Fprintf(&b, "%s %s, %s\n", r.Name, verdict, plural(len(r.Warnings), "warning"))
	}
	if set != nil {
		b.WriteString(ruleCounts(set) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ruleCounts says how many rules there are, and what becomes of them here.
func ruleCounts(set *falco.Ruleset) string {
	disabled := 0
	for _, r := range set.Rules() {
		if !r.Enabled {
			disabled++
		}
	}
	unavailable := len(set.Unavailable())
	text := fmt.Sprintf("%s, %d evaluated here", plural(len(set.Rules()), "rule"), len(set.Rules())-disabled-unavailable)
	if unavailable > 0 {
		text += fmt.Sprintf(", %d need syscall events, not evaluated here", unavailable)
	}
	if disabled > 0 {
		text += fmt.Sprintf(", %d disabled", disabled)
	}
	return text
}

// writeLoadResults prints what "falco -V FILE -o json_output=true" prints.
func writeLoadResults(w io.Writer, results []*falco.Result) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"falco_load_results": results})
}

func newRulesExplain(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [FILE|RULE]...",
		Short: "Say in plain words what rules do and where they do not do what they seem to",
		Long: `Explain reads the text of each rule, writes out its lists and macros, and says
how Falco understands it, for which events and by which fields, and where that
is not what the rule seems to say. An argument that is no file is the name of a
rule.

It reports:
  precedence          'or' and 'and' mixed without parentheses, and which guards
                      then do not apply to which alternative
  partial-exemption   an exemption that does not hold for every alternative
  no-start-guard      nothing says which events the rule is about
  undefined-list      a name used as a list that is not defined anywhere
  list-elsewhere      an undefined list of the rule's own document, which another
                      document or file supplies
  macro-elsewhere     the same for a macro
  digest-not-pinning  the digest that runs, taken for a pinned reference
  inverted-empty-tag  an empty tag, taken for a missing one

Without FILE it explains the rules that come with Tagwarden. Exit status 1 when
there is a warning.`,
		Example: `  tagwarden rules explain rules/lab-010.yaml
  tagwarden rules explain "Mutable image tag"
  tagwarden rules explain falco_rules.yaml "Terminal shell in container"`,
	}
	selection := selectionFlags(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		paths, rules := filesAndRules(args)
		selection.rules = append(selection.rules, rules...)
		opt, err := selection.options()
		if err != nil {
			return err
		}
		set, results, err := loadPaths(paths, opt)
		if err != nil {
			return err
		}
		if set == nil {
			return errors.Join(writeLoadText(env.Stderr, set, results),
				&statusError{exitFailed, errors.New("the rules do not load, so there is nothing to explain")})
		}
		for _, name := range rules {
			if !answers(set, falco.Selection{Rule: name}) {
				return usage("%q is neither a file nor the name of a rule", name)
			}
		}
		explained, err := explain(set, selection)
		if err != nil {
			return err
		}
		if *output == "json" {
			enc := json.NewEncoder(env.Stdout)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			err = enc.Encode(explained)
		} else {
			err = writeExplained(env.Stdout, explained, textWidth(env))
		}
		if err != nil {
			return err
		}
		for _, r := range explained {
			for _, a := range r.Advice {
				if a.Level == string(falco.LevelWarning) {
					return &statusError{status: exitFindings}
				}
			}
		}
		return nil
	}
	return cmd
}

// filesAndRules tells the files and folders among arguments from the names of
// rules. What looks like a file and is none is left for the loader to refuse.
func filesAndRules(args []string) (paths, rules []string) {
	for _, arg := range args {
		_, err := os.Stat(arg)
		extension := strings.ToLower(filepath.Ext(arg))
		if err == nil || extension == ".yaml" || extension == ".yml" || strings.ContainsRune(arg, filepath.Separator) {
			paths = append(paths, arg)
		} else {
			rules = append(rules, arg)
		}
	}
	return paths, rules
}

// explainedRule is one rule of "rules explain -o json".
type explainedRule struct {
	Rule      string        `json:"rule"`
	File      string        `json:"file"`
	Line      int           `json:"line"`
	Enabled   bool          `json:"enabled"`
	Priority  string        `json:"priority"`
	Condition string        `json:"condition"`
	Tree      explainedExpr `json:"tree"`
	Fields    []string      `json:"fields"`
	// Events are the types of events that the rule can match; null for all, but
	// for those of EventsExcept.
	Events       []string          `json:"events"`
	EventsExcept []string          `json:"events_except,omitempty"`
	Evaluated    bool              `json:"evaluated"`
	Reason       string            `json:"reason,omitempty"`
	Needs        []string          `json:"needs,omitempty"`
	Advice       []explainedAdvice `json:"advice"`
}

// explainedExpr is a part of a condition: "and", "or" and "not" have terms, a
// check has its text.
type explainedExpr struct {
	Op    string          `json:"op"`
	Check string          `json:"check,omitempty"`
	Terms []explainedExpr `json:"terms,omitempty"`
}

func explainExpr(e falco.Expr) explainedExpr {
	terms := func(all []falco.Expr) []explainedExpr {
		out := make([]explainedExpr, len(all))
		for i, t := range all {
			out[i] = explainExpr(t)
		}
		return out
	}
	switch e := e.(type) {
	case *falco.And:
		return explainedExpr{Op: "and", Terms: terms(e.Terms)}
	case *falco.Or:
		return explainedExpr{Op: "or", Terms: terms(e.Terms)}
	case *falco.Not:
		return explainedExpr{Op: "not", Terms: terms([]falco.Expr{e.Term})}
	}
	return explainedExpr{Op: "check", Check: e.String()}
}

type explainedAdvice struct {
	ID      string `json:"id"`
	Level   string `json:"level"`
	Text    string `json:"text,omitempty"`
	Message string `json:"message"`
	Fix     string `json:"fix"`
}

func explain(set *falco.Ruleset, selection *ruleSelection) ([]explainedRule, error) {
	unavailable := reasons(set)
	all := []explainedRule{}
	for _, r := range set.Rules() {
		if !r.Enabled && selection.narrows() {
			continue
		}
		reason := unavailable[r]
		x := explainedRule{
			Rule: r.Name, File: r.Where.File, Line: r.Where.At.Line, Enabled: r.Enabled, Priority: r.Priority.String(),
			Condition: r.Expr.String(), Tree: explainExpr(r.Expr), Fields: append([]string{}, r.FieldNames()...),
			Evaluated: r.Enabled && reason.Reason == "", Reason: reason.Reason, Needs: reason.Needs, Advice: []explainedAdvice{},
		}
		x.Events, x.EventsExcept = r.EventTypes()
		for _, a := range set.Advise(r) {
			x.Advice = append(x.Advice, explainedAdvice{string(a.ID), string(a.Level), a.Text, a.Message, a.Fix})
		}
		slices.SortStableFunc(x.Advice, func(a, b explainedAdvice) int { return cmp.Compare(b.Level, a.Level) })
		all = append(all, x)
	}
	return all, selection.check(set)
}

// reasons are why rules are not evaluated here.
func reasons(set *falco.Ruleset) map[*falco.Rule]falco.Unavailable {
	all := map[*falco.Rule]falco.Unavailable{}
	for _, u := range set.Unavailable() {
		all[u.Rule] = u
	}
	return all
}

func writeExplained(w io.Writer, all []explainedRule, width int) error {
	var b strings.Builder
	for i, r := range all {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s  (%s:%d)\n", r.Rule, r.File, r.Line)
		fmt.Fprintf(&b, "  Falco reads\n")
		writeTree(&b, "    ", width, r.Tree)
		fmt.Fprintf(&b, "  It asks for\n")
		wrap(&b, "    ", width, strings.Join(r.Fields, ", "))
		fmt.Fprintf(&b, "  It can match\n")
		wrap(&b, "    ", width, matchedEvents(r))
		switch {
		case !r.Enabled:
			b.WriteString("  It is not enabled.\n")
		case !r.Evaluated:
			wrap(&b, "  ", width, "It "+r.Reason+": "+someOf(r.Needs)+".")
		}
		if len(r.Advice) == 0 {
			b.WriteString("  Nothing to say against it.\n")
		}
		for _, a := range r.Advice {
			fmt.Fprintf(&b, "\n  %s: %s\n", a.Level, a.ID)
			wrap(&b, "    ", width, a.Message+".")
			wrap(&b, "    ", width, "Write instead: "+a.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTree writes a condition, each term in a line of its own below the word
// that joins them.
func writeTree(b *strings.Builder, indent string, width int, e explainedExpr) {
	not := ""
	for e.Op == "not" {
		not, e = not+"not ", e.Terms[0]
	}
	switch e.Op {
	case "and":
		wrap(b, indent, width, not+"all of")
	case "or":
		wrap(b, indent, width, not+"any of")
	default:
		wrap(b, indent, width, not+e.Check)
	}
	if len(indent) < width/2 {
		indent += "  "
	}
	for _, t := range e.Terms {
		writeTree(b, indent, width, t)
	}
}

// matchedEvents says which events a rule can match.
func matchedEvents(r explainedRule) string {
	switch {
	case r.Events == nil && len(r.EventsExcept) == 0:
		return "events of every type"
	case r.Events == nil:
		return "events of every type but " + someOf(r.EventsExcept)
	case len(r.Events) == 0:
		return "no event"
	}
	return "events of type " + someOf(r.Events)
}

// someOf names the first of many.
func someOf(all []string) string {
	const most = 12
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}

// wrap writes text in lines of at most width characters, each with the indent.
func wrap(b *strings.Builder, indent string, width int, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && len([]rune(line))+len([]rune(word)) >= width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
