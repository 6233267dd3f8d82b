package cli_test

import (
	"encoding/json"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/rogpeppe/go-internal/testscript"
)

// sarifCommand is the command "sarif FILE" of scripts: the file must be a SARIF
// log by the schema of the standard, and have no key that the standard does not
// have.
func sarifCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sarif FILE")
	}
	in := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	in.DisallowUnknownFields()
	var known sarif.Report
	ts.Check(in.Decode(&known))
	report, err := sarif.FromString(ts.ReadFile(args[0]))
	ts.Check(err)
	for _, run := range report.Runs {
		// The library puts values of its own here where there are none, which
		// the schema refuses.
		run.Language, run.Tool.Driver.Language, run.NewlineSequences = "en-US", "en-US", []string{"\n"}
	}
	ts.Check(report.Validate())
}
