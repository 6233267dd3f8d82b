package falco

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

	WarnUnsafeNA         Code = "LOAD_UNSAFE_NA_CHECK"
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
	WarnUnsafeNA:         "Unsafe <NA> comparison in condition",
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
