package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
)

// ruleSelection are the flags that say which rules count.
type ruleSelection struct {
	rules, tags       []string
	offRules, offTags []string
	minPriority       *string
	appended          []string
}

// selectionFlags adds the flags.
func selectionFlags(cmd *cobra.Command) *ruleSelection {
	var s ruleSelection
	flags := cmd.Flags()
	flags.StringArrayVar(&s.rules, "rule", nil, "only rules of this `name`, with * and ? for any characters (may repeat)")
	flags.StringArrayVar(&s.tags, "tag", nil, "only rules with this `tag` (may repeat)")
	flags.StringArrayVar(&s.offRules, "disable-rule", nil, "no rules of this `name`, with * and ? (may repeat)")
	flags.StringArrayVar(&s.offTags, "disable-tag", nil, "no rules with this `tag` (may repeat)")
	s.minPriority = choiceFlag(cmd, "min-priority", "only rules of at least this priority", priorities...)
	flags.StringArrayVar(&s.appended, "append-output", nil,
		"append to the output of rules; a JSON `object` as Falco's append_output takes it: "+
			`{"match":{"rule":"…","source":"…","tags":["…"]},"extra_output":"%field","extra_fields":["field",{"name":"%field"}]} (may repeat)`)
	return &s
}

// priorities are those of Falco, the least urgent first, which lets all rules
// through.
var priorities = []string{"debug", "informational", "notice", "warning", "error", "critical", "alert", "emergency"}

// narrows reports whether the flags pick rules out.
func (s *ruleSelection) narrows() bool { return len(s.rules)+len(s.tags) > 0 }

// options are those of a loader with our catalogue.
func (s *ruleSelection) options() (falco.Options, error) {
	opt := falco.DefaultOptions()
	cat, err := event.Catalog()
	if err != nil {
		return opt, err
	}
	opt.Catalog = cat
	if *s.minPriority != priorities[0] {
		if opt.MinPriority, err = falco.ParsePriority(*s.minPriority); err != nil {
			return opt, err
		}
	}
	if s.narrows() {
		opt.Select = append(opt.Select, falco.Selection{Rule: "*"})
	}
	for _, name := range s.rules {
		opt.Select = append(opt.Select, falco.Selection{Enable: true, Rule: name})
	}
	for _, tag := range s.tags {
		opt.Select = append(opt.Select, falco.Selection{Enable: true, Tag: tag})
	}
	for _, name := range s.offRules {
		opt.Select = append(opt.Select, falco.Selection{Rule: name})
	}
	for _, tag := range s.offTags {
		opt.Select = append(opt.Select, falco.Selection{Tag: tag})
	}
	for _, text := range s.appended {
		a, err := appendOutput(text)
		if err != nil {
			return opt, usage("--append-output %s: %w", text, err)
		}
		opt.Append = append(opt.Append, a)
	}
	return opt, nil
}

// check says which of the flags no rule answers to.
func (s *ruleSelection) check(set *falco.Ruleset) error {
	for _, name := range s.rules {
		if !answers(set, falco.Selection{Rule: name}) {
			return usage("no rule is named %q", name)
		}
	}
	for _, tag := range s.tags {
		if !answers(set, falco.Selection{Tag: tag}) {
			return usage("no rule has the tag %q", tag)
		}
	}
	return nil
}

func answers(set *falco.Ruleset, s falco.Selection) bool {
	return slices.ContainsFunc(set.Rules(), s.Covers)
}

// appendOutput reads an entry of Falco's append_output
// (https://falco.org/docs/concepts/outputs/formatting/#appending-extra-output-and-fields-with-append_output).
func appendOutput(text string) (falco.AppendOutput, error) {
	var in struct {
		Match struct {
			Source string   `json:"source"`
			Rule   string   `json:"rule"`
			Tags   []string `json:"tags"`
		} `json:"match"`
		ExtraOutput     string `json:"extra_output"`
		ExtraFields     []any  `json:"extra_fields"`
		SuggestedOutput bool   `json:"suggested_output"`
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return falco.AppendOutput{}, err
	}
	a := falco.AppendOutput{Source: in.Match.Source, Rule: in.Match.Rule, Tags: in.Match.Tags, Output: in.ExtraOutput}
	if in.SuggestedOutput {
		a.Output = strings.TrimSpace(a.Output + " " + falco.SuggestedOutput)
	}
	for _, f := range in.ExtraFields {
		switch f := f.(type) {
		case string:
			a.Fields = append(a.Fields, falco.ExtraField{Name: f})
		case map[string]any:
			for name, format := range f {
				text, ok := format.(string)
				if !ok || len(f) != 1 {
					return a, fmt.Errorf("extra field %v: want {\"name\": \"%%field\"}", f)
				}
				a.Fields = append(a.Fields, falco.ExtraField{Name: name, Format: text})
			}
		default:
			return a, fmt.Errorf("extra field %v: want a name or an object", f)
		}
	}
	return a, nil
}
