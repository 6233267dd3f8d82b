// Package falco is Falco's rule language in Go: it loads rules files, checks
// them, and evaluates them over events. It needs no kernel module, no C
// library and no network.
//
// A rules file (https://falco.org/docs/concepts/rules/) has lists, macros and
// rules. [Load] reads files in order, as Falco does, with Falco's codes and
// words for errors and warnings. A [Ruleset] evaluates the rules over an
// [Event], which is anything that gives values for fields; [Rule.Alert]
// renders the output of a rule that matched, as the text or the JSON that
// Falco prints, so that what reads Falco's alerts reads these.
//
//	set, results := falco.Load([]falco.File{{Name: "rules.yaml", Data: data}}, falco.Options{})
//	if set == nil {
//		return results[len(results)-1].Errors[0]
//	}
//	for _, rule := range set.Evaluate(nil, event) {
//		alert := rule.Alert(event, time.Now(), hostname)
//		os.Stdout.Write(append(alert.AppendJSON(nil), '\n'))
//	}
//
// One condition is read by [Parse] and compiled by [Compile]; the error is a
// [*ParseError] or a [*CompileError], with its place, the text that is wrong and a
// line that points to it.
//
// # Conditions
//
// A condition is made of checks, macros, and, or, not and parentheses; not
// binds tighter than and, and tighter than or. A check is a field, an operator
// and a constant or a list:
//
//	evt.type = container and container.image.tag in (latest, edge)
//
// The operators are those of the table. Which of them a field has depends on
// its type, and so does what a constant may be: 5 and -5 are numbers, 0x5 and
// 5.0 are not. A number that is too large for its field is cut to the width of
// the field, as in Falco.
//
//	=  ==  !=                                     all types
//	<  <=  >  >=                                  numbers, strings
//	contains  startswith  endswith                strings, bytes
//	icontains  glob  iglob  regex  pmatch         strings
//	bcontains  bstartswith                        bytes
//	in  intersects                                all types, lists
//	exists                                        all types, lists
//
// "oneof", "anyof" and "allof" before a list ask how many of its members hold:
// startswith anyof (/etc/, /usr/). Fields can be changed before they are
// compared, by tolower, toupper, basename, b64, len, join, concat and getopt;
// val(…) stands for the value of a field on the right side.
//
// A regular expression follows POSIX and must match the whole value. For
// pmatch, a path matches what lies below it.
//
// # Values
//
// A field can have no value: it is null, which is not the same as an empty
// string. Every check on null is false, whatever the operator, and "not" turns
// that around: with a null field, "x != a" is false and "not x = a" is true.
//
// # Lists and macros
//
// Macros are put into the condition as a unit. Lists are put into its text,
// before it is parsed: wherever the name of a list stands between blanks,
// commas, parentheses or equal signs, its items take its place, also where it
// was meant as a value. The name of a list that is not defined stays a text,
// and nobody says so; [Ruleset.Advise] does.
//
// # Fields
//
// A [Catalog] has the fields that conditions may use, with their types.
// [DefaultCatalog] has those of Falco. An embedding program adds its own with
// [Catalog.With], and gives the ones that its events carry a number with
// [Catalog.Bind], so that [Event.Field] can switch on [Field].Slot:
//
//	func (e *start) Field(f *falco.FieldRef) falco.Value {
//		switch f.Slot {
//		case slotTag:
//			return falco.StringValue(e.tag)
//		case slotLabel:
//			return e.label(f.Argument)
//		}
//		return falco.Value{}
//	}
//
// # What is not evaluated
//
// Events of the type "container" are the start of a container. They carry no
// process, file or system call: [Field].Avail says which fields they have.
// Rules that cannot match without the others are loaded, checked and listed by
// [Ruleset.Unavailable]. Events of other types are evaluated with all that
// they carry.
//
// # Speed
//
// The rules are compiled for each event type: what holds for all events of the
// type is not asked, a ruleset asks an event for a value once, however many
// rules are about it, and parts that several rules share are evaluated once. An
// index finds the rules whose required texts an event has. The rules that need
// system calls cost a container start nothing. Without a match, nothing is
// allocated, unless conditions change fields.
//
// # Limits
//
// Files may come from anybody. Conditions are at most 1000 levels deep (100
// for [Parse]), constants at most 255 bytes long, as in Falco. What lists and
// macros grow to when they are written out is bounded, and beyond that an
// error. The regular expressions take time linear in the value.
//
// What is not here: plugins and their fields, captures, and the actions that
// Falco takes beside printing.
package falco
