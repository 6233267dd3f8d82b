package falco

import (
	"fmt"
	"strings"
)

// Priority says how urgent an alert is. Emergency is the least value; the zero
// value is none of them.
type Priority uint8

// The priorities.
const (
	Emergency Priority = iota + 1
	Alerting
	Critical
	Error
	Warning
	Notice
	Informational
	Debug
)

var priorityNames = [...]string{"", "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

func (p Priority) String() string {
	if int(p) >= len(priorityNames) {
		return ""
	}
	return priorityNames[p]
}

// ParsePriority reads the name of a priority without regard to case; Info
// stands for Informational.
func ParsePriority(s string) (Priority, error) {
	if strings.EqualFold(s, "info") {
		return Informational, nil
	}
	for i, name := range priorityNames[1:] {
		if strings.EqualFold(s, name) {
			return Priority(i + 1), nil
		}
	}
	return 0, fmt.Errorf("unknown priority %q, want one of %s", s, strings.Join(priorityNames[1:], ", "))
}
