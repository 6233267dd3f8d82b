package falco

import (
	"fmt"
	"slices"
	"strings"
)

// EngineVersion is the version of Falco's rule engine whose language this is.
const EngineVersion = "0.63.0"

// File is one rules file.
type File struct {
	Name string
	Data []byte
}

// Options say how rules are loaded.
type Options struct {
	// Catalog has the fields; nil means [DefaultCatalog].
	Catalog *Catalog
	// Sources are the event sources whose rules are compiled; others are
	// skipped with a warning. nil means syscall alone.
	Sources []string
	// MinPriority leaves out the rules that are less urgent. The zero value
	// leaves out all but emergencies, so that it must be set; see
	// [DefaultOptions].
	MinPriority Priority
}

// DefaultOptions compile every rule of the source syscall.
func DefaultOptions() Options {
	return Options{Catalog: DefaultCatalog(), Sources: []string{"syscall"}, MinPriority: Debug}
}

// Code is Falco's name for a kind of problem: LOAD_ERR_VALIDATE.
type Code string

// The codes of errors and warnings, as Falco has them
// (falcosecurity/falco userspace/engine/falco_load_result.cpp).
const (
	ErrFileRead         Code = "LOAD_ERR_FILE_READ"
	ErrYAMLParse        Code = "LOAD_ERR_YAML_PARSE"
	ErrYAMLValidate     Code = "LOAD_ERR_YAML_VALIDATE"
	ErrCompileCondition Code = "LOAD_ERR_COMPILE_CONDITION"
	ErrCompileOutput    Code = "LOAD_ERR_COMPILE_OUTPUT"
	ErrValidate         Code = "LOAD_ERR_VALIDATE"

	WarnUnknownSource    Code = "LOAD_UNKNOWN_SOURCE"
	WarnNoEventType      Code = "LOAD_NO_EVTTYPE"
	WarnUnknownFilter    Code = "LOAD_UNKNOWN_FILTER"
	WarnUnusedMacro      Code = "LOAD_UNUSED_MACRO"
	WarnUnusedList       Code = "LOAD_UNUSED_LIST"
	WarnUnknownItem      Code = "LOAD_UNKNOWN_ITEM"
	WarnDeprecated       Code = "LOAD_DEPRECATED_ITEM"
	WarnAppendNoValues   Code = "LOAD_APPEND_NO_VALUES"
	WarnExceptionName    Code = "LOAD_EXCEPTION_NAME_NOT_UNIQUE"
	WarnMacroName        Code = "LOAD_INVALID_MACRO_NAME"
	WarnListName         Code = "LOAD_INVALID_LIST_NAME"
	WarnCompileCondition Code = "LOAD_COMPILE_CONDITION"
	WarnUnknownKey       Code = "LOAD_UNKNOWN_KEY"
)

// codeTexts are the descriptions that go with the codes in Falco's JSON.
var codeTexts = map[Code]string{
	ErrFileRead:          "File read error",
	ErrYAMLParse:         "YAML parse error",
	ErrYAMLValidate:      "Error validating internal structure of YAML file",
	ErrCompileCondition:  "Error compiling condition",
	ErrCompileOutput:     "Error compiling output",
	ErrValidate:          "Error validating rule/macro/list/exception objects",
	WarnUnknownSource:    "Unknown event source",
	WarnNoEventType:      "Condition has no event-type restriction",
	WarnUnknownFilter:    "Unknown field or event-type in condition or output",
	WarnUnusedMacro:      "Unused macro",
	WarnUnusedList:       "Unused list",
	WarnUnknownItem:      "Unknown rules file item",
	WarnDeprecated:       "Used deprecated item",
	WarnAppendNoValues:   "Overriding/appending with no values",
	WarnExceptionName:    "Multiple exceptions defined with the same name",
	WarnMacroName:        "Invalid macro name",
	WarnListName:         "Invalid list name",
	WarnCompileCondition: "Warning in rule condition",
	WarnUnknownKey:       "Unrecognized key",
}

// Location is one step on the way to a problem: a file, an item, a key.
type Location struct {
	Type string // rule, macro, list, exception, …
	Name string
	At   Position
	File string
}

// Problem is an error or a warning of a rules file.
type Problem struct {
	Code    Code
	Message string
	// Where leads from the item to the place in it; it has one or more steps.
	Where []Location
	// Snippet is the text that the problem is about, with a caret where the
	// place in it is known.
	Snippet string
}

// Error is one line: file, position, code, message, and the item it is in.
func (p *Problem) Error() string {
	if len(p.Where) == 0 {
		return string(p.Code) + ": " + p.Message
	}
	at, item := p.Where[len(p.Where)-1], p.Where[0]
	s := fmt.Sprintf("%s:%d:%d: %s: %s", at.File, at.At.Line, at.At.Column, p.Code, p.Message)
	if item.Name != "" {
		s += fmt.Sprintf(" (%s %q)", item.Type, item.Name)
	}
	return s
}

// Result is what loading one file gave.
type Result struct {
	Name     string
	Errors   []*Problem // at most one: the first stops the file
	Warnings []*Problem
}

// Successful reports whether the file could be used.
func (r *Result) Successful() bool { return len(r.Errors) == 0 }

func (r *Result) warn(code Code, where []Location, format string, args ...any) {
	r.Warnings = append(r.Warnings, &Problem{Code: code, Message: fmt.Sprintf(format, args...), Where: slices.Clone(where)})
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
	col := newCollector()
	var results []*Result
	var set *Ruleset
	for _, f := range files {
		res := &Result{Name: f.Name}
		results = append(results, res)
		r := &reader{file: f.Name, col: col, res: res, opt: &opt}
		err := r.read(f.Data)
		if err == nil {
			set, err = col.compile(&opt, res)
		}
		if err != nil {
			res.Errors = append(res.Errors, err)
			return nil, results
		}
	}
	if set == nil {
		set = &Ruleset{}
	}
	return set, results
}

// Priority says how urgent an alert is. Emergency is the least value.
type Priority uint8

// The priorities.
const (
	Emergency Priority = iota
	Alerting
	Critical
	Error
	Warning
	Notice
	Informational
	Debug
)

var priorityNames = [...]string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

func (p Priority) String() string { return priorityNames[p] }

// ParsePriority reads the name of a priority without regard to case; Info
// stands for Informational.
func ParsePriority(s string) (Priority, error) {
	if strings.EqualFold(s, "info") {
		return Informational, nil
	}
	for i, name := range priorityNames {
		if strings.EqualFold(s, name) {
			return Priority(i), nil
		}
	}
	return 0, fmt.Errorf("unknown priority %q, want one of %s", s, strings.Join(priorityNames[:], ", "))
}
