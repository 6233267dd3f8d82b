package falco

import (
	"slices"
	"strings"
)

const warnEnabled = "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace')."

func (r *reader) rule(o *object) {
	appendable := []string{"condition", "output", "desc", "tags", "exceptions"}
	replaceable := []string{
		"condition", "output", "desc", "priority", "tags", "exceptions", "enabled",
		"warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration",
	}
	name := o.named("rule")
	ov, appending := o.overrides(appendable, replaceable)
	o.unknownKeys(append([]string{"rule", "source", "append", "override"}, replaceable...)...)
	if r.problem != nil {
		return
	}
	old := r.col.rules.get(name)
	switch {
	case ov.any():
		if len(ov.append) > 0 {
			r.appendRule(o, old, ov.append)
		}
		if len(ov.replace) > 0 {
			r.replaceRule(o, old, ov)
		}
		for _, key := range replaceable {
			if o.has(key) && !ov.appends(key) && !ov.replaces(key) {
				o.fail(ErrYAMLValidate, "Unexpected key '%s': no corresponding entry under 'override' is defined.", key)
			}
		}
	case appending:
		keys := slices.DeleteFunc([]string{"condition", "exceptions"}, func(key string) bool { return !o.has(key) })
		r.appendRule(o, old, keys)
	case !o.has("condition") && !o.has("output") && !o.has("desc") && !o.has("priority"):
		r.enableRule(o, old)
	default:
		r.defineRule(o, old)
	}
}

// enableRule is the old form {rule, enabled}.
func (r *reader) enableRule(o *object, old *ruleItem) {
	o.value("enabled")
	enabled := o.flag("enabled", true)
	r.warn(WarnDeprecated, o.where, warnEnabled)
	if old == nil {
		o.fail(ErrValidate, "Rule has 'enabled' key but no rule by that name already exists")
	}
	if r.problem == nil {
		old.enabled = enabled
	}
}

func (r *reader) defineRule(o *object, old *ruleItem) {
	rule := ruleItem{name: o.where[0].Name, enabled: true, warnTypes: true, where: o.where, doc: r.col.doc}
	rule.cond, rule.condAt = o.text("condition"), o.textAt("rule condition", "condition")
	rule.output, rule.outputAt = strings.TrimSpace(o.text("output")), o.at("rule output", "output")
	rule.desc = o.text("desc")
	rule.priority = r.priority(o)
	rule.source = o.optional("source", "syscall")
	r.switches(o, &rule, func(string) bool { return true })
	if o.has("tags") {
		rule.tags = unique(o.texts("tags"))
	}
	rule.exceptions = r.exceptions(o, false)
	if old != nil && old.source != rule.source {
		o.fail(ErrValidate, "Rule has been re-defined with a different source")
	}
	if rule.unknownSource = !slices.Contains(r.opt.Sources, rule.source); rule.unknownSource {
		r.warn(WarnUnknownSource, o.where, "Unknown source %s, skipping", rule.source)
	}
	for _, ex := range rule.exceptions {
		r.checkException(ex, rule.unknownSource)
	}
	switch {
	case r.problem != nil:
	case old != nil:
		*old = rule
	default:
		r.col.rules.add(rule.name, &rule)
	}
}

// unique leaves the first of equal texts.
func unique(all []string) []string {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}

func (r *reader) priority(o *object) Priority {
	priority, err := ParsePriority(o.text("priority"))
	if err != nil {
		r.fail(ErrYAMLValidate, o.at("rule priority", "priority"), "Invalid priority")
	}
	return priority
}

// switches reads the keys that are true or false, and a number.
func (r *reader) switches(o *object, rule *ruleItem, wanted func(string) bool) {
	for _, s := range []struct {
		key string
		dst *bool
	}{
		{"enabled", &rule.enabled},
		{"capture", &rule.capture},
		{"warn_evttypes", &rule.warnTypes},
		{"skip-if-unknown-filter", &rule.skipUnknown},
	} {
		if wanted(s.key) {
			*s.dst = o.flag(s.key, *s.dst)
		}
	}
	if wanted("capture_duration") {
		o.number("capture_duration")
	}
}

// expect fails for a key that is to be changed and is not there.
func expect(o *object, how string, keys []string) {
	for _, key := range keys {
		if !o.has(key) {
			o.fail(ErrYAMLValidate, "An %s override for '%s' was specified but '%s' is not defined", how, key, key)
		}
	}
}

// appendRule adds to the given keys of a rule.
func (r *reader) appendRule(o *object, old *ruleItem, keys []string) {
	expect(o, "append", keys)
	text := func(key string) string {
		if slices.Contains(keys, key) {
			return " " + o.text(key)
		}
		return ""
	}
	cond, output, desc := text("condition"), text("output"), text("desc")
	var tags []string
	if slices.Contains(keys, "tags") {
		tags = o.texts("tags")
	}
	var exceptions []*exception
	if slices.Contains(keys, "exceptions") {
		exceptions = r.exceptions(o, true)
	}
	if old == nil {
		o.fail(ErrValidate, "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists")
	}
	if len(keys) == 0 {
		o.fail(ErrValidate, "Appended rule must have exceptions or condition property")
	}
	if r.problem != nil || r.otherSource(o, old) {
		return
	}
	for _, ex := range exceptions {
		r.appendException(old, ex)
	}
	if r.problem == nil {
		old.cond, old.output, old.desc = old.cond+cond, old.output+output, old.desc+desc
		old.tags = unique(slices.Concat(old.tags, tags))
	}
}

// otherSource fails for a change of a rule that names another source. An empty
// one is none here.
func (r *reader) otherSource(o *object, old *ruleItem) bool {
	if n := o.get("source"); n != nil && !isNull(n) && n.Value != "" && n.Value != old.source {
		o.fail(ErrValidate, "Rule has been re-defined with a different source")
	}
	return r.problem != nil
}

// replaceRule replaces the given keys of a rule.
func (r *reader) replaceRule(o *object, old *ruleItem, ov overriding) {
	expect(o, "replace", ov.replace)
	if old == nil {
		o.fail(ErrValidate, "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists")
	}
	if r.problem != nil || r.otherSource(o, old) {
		return
	}
	rule := *old
	if ov.replaces("condition") {
		rule.cond, rule.condAt = o.text("condition"), o.textAt("rule condition", "condition")
	}
	if ov.replaces("exceptions") {
		rule.exceptions = r.exceptions(o, false)
		for _, ex := range rule.exceptions {
			r.checkException(ex, rule.unknownSource)
		}
	}
	if ov.replaces("output") {
		rule.output, rule.outputAt = strings.TrimSpace(o.text("output")), o.at("rule output", "output")
	}
	if ov.replaces("desc") {
		rule.desc = o.text("desc")
	}
	if ov.replaces("tags") {
		rule.tags = unique(o.texts("tags"))
	}
	if ov.replaces("priority") {
		rule.priority = r.priority(o)
	}
	r.switches(o, &rule, ov.replaces)
	if r.problem == nil {
		*old = rule
	}
}
