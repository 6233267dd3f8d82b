// Package falco is Falco's rule language in Go: it loads rules files, checks
// them, and evaluates them over events.
//
// A rules file (https://falco.org/docs/concepts/rules/) has lists, macros and
// rules. [Load] reads files in order, as Falco does, with Falco's codes for
// errors and warnings. A [Ruleset] evaluates the rules over an [Event], which
// is anything that gives values for fields; [Rule.Alert] renders the output of
// a rule that matched, as text or JSON in Falco's form.
//
//	set, results := falco.Load([]falco.File{{Name: "rules.yaml", Data: data}}, falco.DefaultOptions())
//	if set == nil {
//		return results[len(results)-1].Errors[0]
//	}
//	for _, rule := range set.Evaluate(nil, event) {
//		alert := rule.Alert(event, time.Now(), hostname)
//		os.Stdout.Write(append(alert.AppendJSON(nil), '\n'))
//	}
//
// # Values
//
// A field can have no value: it is null, which is not the same as an empty
// string. Every check on null is false, whatever the operator, and "not" turns
// that around: with a null field, "x != a" is false and "not x = a" is true.
//
// # Fields
//
// The [Catalog] has the fields that conditions may use, with their types. An
// embedding program adds its own with [Catalog.With] and gives the ones that
// its events carry a number with [Catalog.Bind], so that [Event.Field] can
// switch on [Field].Slot.
//
// # What is not evaluated
//
// Events of the type "container" are the start of a container. They carry no
// process, file or system call. Rules that cannot match without those are
// loaded, checked and listed by [Ruleset.Unavailable].
//
// # Limits
//
// Conditions are at most 1000 levels deep (100 for [Parse]), constants at most
// 255 bytes long, as in Falco. Lists and macros that grow beyond what any rule
// needs when they are written out are errors.
package falco
