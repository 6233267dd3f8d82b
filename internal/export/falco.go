package export

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/rules"
)

// falcoList is the list of debug images in our own rules.
var falcoList = regexp.MustCompile(`(?m)^- list: known_debug_images\n  items:\n(?:    - .*\n)+`)

// falcoRules writes the rules that come with Tagwarden, with the list of the
// policy in them, and others that Falco itself can load.
func falcoRules(m *model) (Output, error) {
	if !falcoList.Match(rules.Tagwarden) {
		return Output{}, fmt.Errorf("rules/tagwarden.yaml has no list known_debug_images in the form that is expected")
	}
	list := "- list: known_debug_images\n  items: []\n"
	if names := m.policy.DebugImages(); len(names) > 0 {
		list = "- list: known_debug_images\n  items:\n    - " + strings.Join(names, "\n    - ") + "\n"
	}
	own := comment("Falco rules for \"tagwarden watch\" and \"tagwarden rules\": they need the fields tagwarden.*, which Falco does not have; "+
		"falco-stock.yaml is for Falco itself.", nil) + "\n" +
		string(falcoList.ReplaceAllLiteral(rules.Tagwarden, []byte(list)))
	stock, notes, err := m.stockRules()
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"falco-tagwarden.yaml", []byte(own)}, {"falco-stock.yaml", stock}}, Notes: notes, Choice: true}, nil
}

// maxFalcoText is the longest constant that Falco takes
// (s_max_filter_value_buf_size in libs' sinsp_filtercheck.h, less the end).
const maxFalcoText = 255

const (
	falcoNamespace  = "k8s.ns.name"
	falcoRepository = "container.image.repository"
)

// falcoAny is the condition that a field matches one of some patterns. What
// Falco cannot take is left out, and counted.
func falcoAny(field string, patterns []string) (condition string, left int) {
	var names, all []string
	for _, p := range patterns {
		if !strings.ContainsAny(p, "*?") {
			names = append(names, `"`+p+`"`)
			continue
		}
		// Falco's regular expressions are POSIX, and match the whole text.
		e := strings.ReplaceAll(expression(p), "(?:", "(")
		e = strings.ReplaceAll(e, `\.`, `[.]`)
		if len(e) > maxFalcoText {
			left++
			continue
		}
		all = append(all, field+` regex "`+e+`"`)
	}
	if len(names) > 0 {
		all = append([]string{field + " in (" + strings.Join(names, ", ") + ")"}, all...)
	}
	if len(all) == 0 {
		return field + " in ()", left
	}
	return strings.Join(all, " or "), left
}

// stockMoving are tags that Falco's rules can name one by one.
var stockMoving = []string{
	"stable", "main", "master", "edge", "nightly", "dev", "develop", "canary", "head", "trunk", "daily", "weekly", "unstable", "rolling",
	"snapshot", "lts", "current", "release", "testing", "staging", "production", "prod", "alpine", "slim", "bookworm", "bullseye", "jammy", "noble",
}

// stockRules are rules for a Falco without our fields.
func (m *model) stockRules() (text []byte, notes []string, err error) {
	notes = []string{
		"Falco sees the runtime's name of an image, not what the pod asked for: a tag that the runtime has beside the one asked for can hide it, " +
			"and an image without a tag is said to be latest by some runtimes",
		"of the floating tags only partial versions (1, v1.25) and " + strings.Join(stockMoving[:4], ", ") + " and their like are seen; Tagwarden sees all",
		"ephemeral containers cannot be told from others, so kubectl debug alerts unless its image is a debug image",
		"an invalid reference (TW-09) never starts, so there is no event about it",
		"production is told by the names of namespaces alone, not by their labels",
		"TW-02 alerts where the policy denies or warns, as Tagwarden's own rules do in production",
	}
	left := 0
	macro := func(name, field string, patterns []string) object {
		c, l := falcoAny(field, patterns)
		left += l
		return object{{"macro", name}, {"condition", "(" + c + ")"}}
	}
	items := []object{
		{{"required_engine_version", "0.50.0"}},
		{{"list", "tagwarden_debug_images"}, {"items", m.policy.DebugImages()}},
		{{"list", "tagwarden_moving_tags"}, {"items", stockMoving}},
		{{"macro", "tagwarden_container_start"}, {"condition", "(evt.type = container and container.id exists and container.id != host)"}},
		{{"macro", "tagwarden_debug_image"}, {"condition", "(" + falcoRepository + " in (tagwarden_debug_images))"}},
		macro("tagwarden_production", falcoNamespace, m.policy.ProductionNamespaces()),
		macro("tagwarden_development_name", falcoNamespace, m.policy.DevelopmentNamespaces()),
		{{"macro", "tagwarden_development"}, {"condition", "(tagwarden_development_name and not tagwarden_production)"}},
		macro("tagwarden_infrastructure_image", falcoRepository, m.policy.InfrastructureImages()),
		{{"macro", "tagwarden_mutable_name"}, {
			"condition",
			`(container.image.repository != "" and not container.image contains "@sha256:" and ` +
				`(container.image.tag = "" or container.image.tag = "latest" or container.image.tag in (tagwarden_moving_tags) ` +
				`or container.image.tag regex "v?[0-9]{1,4}([.][0-9]{1,4})?"))`,
		}},
		{{"macro", "tagwarden_unpinned_name"}, {"condition", `(container.image.repository != "" and not container.image contains "@sha256:")`}},
	}
	add := func(id finding.ID, name, desc, what, priority string, least policy.Effect) {
		found := m.stockRule(id, name, desc, what, priority, least)
		if len(found) == 0 {
			return
		}
		accepted, more, l := m.stockException(id)
		left += l
		notes = append(notes, more...)
		items = append(items, object{{"macro", "tagwarden_accepted_" + falcoName(id)}, {"condition", "(" + accepted + ")"}})
		items = append(items, found...)
	}
	add(finding.F01, "Mutable image tag",
		"A container started from an image name without a tag, with latest or with a tag that is meant to move.",
		"tagwarden_mutable_name and not tagwarden_debug_image", "WARNING", policy.Audit)
	add(finding.TW02, "Image not pinned to a digest",
		"A container started from an image name without a digest. The digest that runs says nothing about that.",
		"tagwarden_unpinned_name and not tagwarden_mutable_name and not tagwarden_debug_image", "NOTICE", policy.Warn)
	if allowed := m.policy.AllowedRegistries(); len(allowed) > 0 {
		items = append(items, macro("tagwarden_allowed_registry", falcoRepository, allowed))
		add(finding.TW12, "Image of a registry that is not allowed",
			"A container started from an image of a registry that the policy does not allow.",
			`container.image.repository != "" and not tagwarden_allowed_registry`, "WARNING", policy.Audit)
	}
	if left > 0 {
		notes = append(notes, count(left, "pattern is", "patterns are")+" longer than Falco takes and left out")
	}
	notes = append(append(notes, m.expiries()...), m.notes()...)
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = item
	}
	text, err = document(comment("Falco rules for Falco itself (engine 0.50 and later, with the container plugin).", notes), list)
	return text, notes, err
}

func falcoName(id finding.ID) string {
	return strings.ToLower(strings.ReplaceAll(string(id), "-", "_"))
}

// stockException is the condition under which an exception accepts a finding.
func (m *model) stockException(id finding.ID) (condition string, notes []string, left int) {
	var all []string
	for _, e := range m.exceptions {
		if e.Finding != id {
			continue
		}
		if e.Workload() != "" || e.ContainerKind() != "" {
			notes = append(notes, "the exception of "+e.Owner+" ("+e.Ticket+") is about a workload or a kind of container, which Falco does not know: it alerts all the same")
			continue
		}
		var parts []string
		for _, p := range []struct{ field, pattern string }{{falcoNamespace, e.Namespace()}, {falcoRepository, e.Image()}} {
			if p.pattern == "" {
				continue
			}
			c, l := falcoAny(p.field, []string{p.pattern})
			left += l
			parts = append(parts, c)
		}
		all = append(all, "("+strings.Join(parts, " and ")+")")
	}
	if len(all) == 0 {
		return falcoRepository + " in ()", notes, left
	}
	return strings.Join(all, " or "), notes, left
}

// stockRule is a rule about one finding, and another with less priority for
// images of the platform.
func (m *model) stockRule(id finding.ID, name, desc, what, priority string, least policy.Effect) []object {
	var off []string
	for _, s := range scopes {
		if m.policy.Effect(id, s) >= least {
			continue
		}
		switch s {
		case policy.Production:
			off = append(off, "not tagwarden_production")
		case policy.Development:
			off = append(off, "not tagwarden_development")
		case policy.Elsewhere:
			off = append(off, "(tagwarden_production or tagwarden_development)")
		}
	}
	if len(off) == len(scopes) {
		return nil
	}
	condition := strings.Join(append([]string{"tagwarden_container_start", what, "not tagwarden_accepted_" + falcoName(id)}, off...), " and ")
	rule := func(name, condition, priority string) object {
		tags := []string{"container", "supply_chain"}
		if t, ok := id.Technique(); ok {
			tags = append(tags, "mitre_persistence", t.ID)
		}
		return object{
			{"rule", name},
			{"desc", desc},
			{"condition", condition},
			{"output", name + " (image=%container.image.repository tag=%container.image.tag digest=%container.image.digest " +
				"k8s_ns=%k8s.ns.name k8s_pod=%k8s.pod.name container=%container.name container_id=%container.id)"},
			{"priority", priority},
			{"tags", append(tags, string(id))},
		}
	}
	if !hygiene(id) {
		return []object{rule(name, condition, priority)}
	}
	return []object{
		rule(name, condition+" and not tagwarden_infrastructure_image", priority),
		rule(name+" of the platform", condition+" and tagwarden_infrastructure_image", "NOTICE"),
	}
}
