package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
)

func newRulesList(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [FILE...]",
		Short: "List rules, and which of them a container start can match",
		Long: `List loads rules files, or the rules that come with Tagwarden, and lists their
rules. A rule that needs system calls is loaded and checked, but no container
start can match it.`,
		Example: `  tagwarden rules list
  tagwarden rules list falco_rules.yaml --tag T1525 -o json`,
	}
	selection := selectionFlags(cmd)
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		opt, err := selection.options()
		if err != nil {
			return err
		}
		set, results, err := loadPaths(args, opt)
		switch {
		case err != nil:
			return err
		case set == nil:
			return loadError(results)
		}
		if err := selection.check(set); err != nil {
			return err
		}
		return listRules(env, set, selection, *output)
	}
	return cmd
}

// listedRule is one rule of "rules list -o json".
type listedRule struct {
	Rule     string   `json:"rule"`
	Desc     string   `json:"description"`
	Priority string   `json:"priority"`
	Source   string   `json:"source"`
	Tags     []string `json:"tags"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Enabled  bool     `json:"enabled"`
	// Evaluated says whether a container start can match it; Reason why not.
	Evaluated bool   `json:"evaluated"`
	Reason    string `json:"reason,omitempty"`
	// Needs are event types and fields that a container start does not have.
	Needs  []string `json:"needs,omitempty"`
	Fields []string `json:"fields"`
}

func listRules(env Env, set *falco.Ruleset, selection *ruleSelection, output string) error {
	unavailable := reasons(set)
	all := []listedRule{}
	for _, r := range set.Rules() {
		if !r.Enabled && selection.narrows() {
			continue
		}
		x := listedRule{
			Rule: r.Name, Desc: r.Desc, Priority: r.Priority.String(), Source: r.Source, Tags: append([]string{}, r.Tags...),
			File: r.Where.File, Line: r.Where.At.Line, Enabled: r.Enabled, Reason: unavailable[r].Reason, Needs: unavailable[r].Needs,
			Fields: append([]string{}, r.FieldNames()...),
		}
		x.Evaluated = x.Enabled && x.Reason == ""
		all = append(all, x)
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	tw := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RULE\tPRIORITY\tHERE\tWHERE\tTAGS")
	for _, x := range all {
		here := "evaluated"
		switch {
		case !x.Enabled:
			here = "disabled"
		case !x.Evaluated:
			here = x.Reason
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s:%d\t%s\n", x.Rule, x.Priority, here, x.File, x.Line, strings.Join(x.Tags, ","))
	}
	return tw.Flush()
}
