package cli

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/scan"
	"github.com/tagwarden/tagwarden/internal/version"
)

// The part of SARIF 2.1.0 that a scan needs
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		URI     string      `json:"informationUri"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Name       string         `json:"name"`
		Short      sarifText      `json:"shortDescription"`
		Config     sarifConfig    `json:"defaultConfiguration"`
		Properties map[string]any `json:"properties"`
	}
	sarifConfig struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifResult struct {
		RuleID        string            `json:"ruleId"`
		RuleIndex     int               `json:"ruleIndex"`
		Level         string            `json:"level"`
		Message       sarifText         `json:"message"`
		Locations     []sarifLocation   `json:"locations"`
		Fingerprints  map[string]string `json:"partialFingerprints"`
		BaselineState string            `json:"baselineState,omitempty"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line      int `json:"startLine"`
		Column    int `json:"startColumn,omitempty"`
		EndColumn int `json:"endColumn,omitempty"`
	}
)

// sarifLevel is how SARIF calls a severity.
func sarifLevel(s finding.Severity) string {
	switch {
	case s >= finding.High:
		return "error"
	case s >= finding.Low:
		return "warning"
	}
	return "note"
}

// scanIDs are what a scan can find.
var scanIDs = []finding.ID{finding.F01, finding.TW02, finding.TW09, finding.TW11}

func sarifPlace(f *scan.Found) sarifLocation {
	if f.Location.Line == 0 {
		return sarifLocation{Logical: []sarifLogical{{where(f), "resource"}}}
	}
	return sarifLocation{Physical: &sarifPhysical{
		Artifact: sarifArtifact{sarifURI(f.Location.File)},
		Region:   &sarifRegion{Line: f.Location.Line, Column: f.Location.Column, EndColumn: f.Location.Column + f.Location.Width},
	}}
}

func sarifURI(file string) string { return (&url.URL{Path: file}).EscapedPath() }

func writeSARIF(w io.Writer, r *scan.Report) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "Tagwarden", Version: version.Get().Version, URI: "https://github.com/tagwarden/tagwarden"}
	index := map[finding.ID]int{}
	for i, id := range scanIDs {
		index[id] = i
		tags := []string{"security", "supply-chain"}
		if t, ok := id.Technique(); ok {
			tags = append(tags, "MITRE ATT&CK "+t.ID+" "+t.Name)
		}
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: string(id), Name: id.Name(), Short: sarifText{id.Title()}, Config: sarifConfig{sarifLevel(id.Severity(false))},
			Properties: map[string]any{"tags": tags},
		})
	}
	invocation := sarifInvocation{Successful: len(r.Unscannable) == 0}
	for _, u := range r.Unscannable {
		n := sarifNotification{Level: "error", Message: sarifText{u.Reason}}
		loc := sarifLocation{Physical: &sarifPhysical{Artifact: sarifArtifact{sarifURI(u.File)}}}
		if u.Line > 0 {
			loc.Physical.Region = &sarifRegion{Line: u.Line}
		}
		n.Locations = []sarifLocation{loc}
		invocation.Notifications = append(invocation.Notifications, n)
	}
	run.Invocations = []sarifInvocation{invocation}
	for i := range r.Findings {
		f := &r.Findings[i]
		result := sarifResult{
			RuleID: string(f.ID), RuleIndex: index[f.ID], Level: sarifLevel(f.Severity), Message: sarifText{f.Message + ". " + f.Fix},
			Locations:    []sarifLocation{sarifPlace(f)},
			Fingerprints: map[string]string{"tagwarden/v1": f.Fingerprint()},
		}
		if f.Known {
			result.BaselineState = "unchanged"
		}
		run.Results = append(run.Results, result)
	}
	return writeIndented(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// The form of JUnit's reports that CI servers read
// (https://github.com/testmoapp/junitxml).
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Error   *junitMessage `xml:"error,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r *scan.Report) error {
	suite := junitSuite{Name: "tagwarden scan"}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Known {
			continue
		}
		place := where(f)
		suite.Cases = append(suite.Cases, junitCase{
			Name: fmt.Sprintf("%s %s (%s)", f.ID, f.Image, place), Class: cmp.Or(f.Location.File, place),
			Failure: &junitMessage{Message: f.Message, Type: string(f.ID), Text: place + "\n" + f.Message + "\n" + f.Fix},
		})
	}
	suite.Failures = len(suite.Cases)
	for _, u := range r.Unscannable {
		suite.Cases = append(suite.Cases, junitCase{
			Name: "scan " + u.File, Class: u.File, Error: &junitMessage{Message: u.Reason, Type: "unscannable", Text: placed(u)},
		})
	}
	suite.Errors = len(r.Unscannable)
	if len(suite.Cases) == 0 {
		suite.Cases = []junitCase{{Name: scanLine(&r.Summary), Class: "tagwarden"}}
	}
	suite.Tests = len(suite.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	err := enc.Encode(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Suites: []junitSuite{suite}})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func writeScanMarkdown(w io.Writer, r *scan.Report) error {
	var b strings.Builder
	b.WriteString("### Image references\n\n" + scanLine(&r.Summary) + "\n")
	head := false
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Known {
			continue
		}
		if !head {
			head = true
			b.WriteString("\n| finding | severity | place | image | why |\n|---|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` | %s |\n", f.ID, f.Severity, cell(where(f)), cell(f.Image), cell(f.Message))
	}
	if len(r.Unscannable) > 0 {
		b.WriteString("\nNot scanned:\n\n")
		for _, u := range r.Unscannable {
			fmt.Fprintf(&b, "- %s\n", cell(placed(u)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell makes a text that ends no cell of a table and is no code.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "`", "'", "<", "&lt;").Replace(s)
}

// githubScan prints workflow commands, which become annotations
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
type githubScan struct{}

func (githubScan) add(w io.Writer, r *scan.Report) error {
	var b strings.Builder
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	message := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Known {
			continue
		}
		level := map[string]string{"error": "error", "warning": "warning", "note": "notice"}[sarifLevel(f.Severity)]
		place, text := "", f.Message+". "+f.Fix
		if f.Location.Line > 0 {
			place = fmt.Sprintf("file=%s,line=%d,col=%d,endColumn=%d,", property.Replace(f.Location.File), f.Location.Line,
				f.Location.Column, f.Location.Column+f.Location.Width)
		} else {
			text = where(f) + ": " + text
		}
		fmt.Fprintf(&b, "::%s %stitle=%s::%s\n", level, place, property.Replace(string(f.ID)+" "+f.ID.Title()), message.Replace(text))
	}
	for _, u := range r.Unscannable {
		fmt.Fprintf(&b, "::error file=%s,line=%d,title=not scanned::%s\n", property.Replace(u.File), max(1, u.Line), message.Replace(u.Reason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (githubScan) end(w io.Writer, total *scan.Summary) error {
	_, err := io.WriteString(w, scanLine(total)+"\n")
	return err
}

// gitlabIssue is an entry of a GitLab code quality report
// (https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format).
type gitlabIssue struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string      `json:"path"`
	Lines gitlabLines `json:"lines"`
}

type gitlabLines struct {
	Begin int `json:"begin"`
}

// gitlabScan writes an array of gitlabIssue.
type gitlabScan struct{ issues list }

func (g *gitlabScan) begin(w io.Writer) error {
	if g.issues.indent != "" {
		return nil
	}
	g.issues.indent = "  "
	_, err := io.WriteString(w, "[")
	return err
}

func (g *gitlabScan) add(w io.Writer, r *scan.Report) error {
	if err := g.begin(w); err != nil {
		return err
	}
	severities := map[finding.Severity]string{
		finding.Info: "info", finding.Low: "minor", finding.Medium: "major", finding.High: "critical", finding.Critical: "blocker",
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Known {
			continue
		}
		err := g.issues.add(w, gitlabIssue{
			f.Message + ". " + f.Fix, string(f.ID), f.Fingerprint(), severities[f.Severity],
			gitlabLocation{cmp.Or(f.Location.File, where(f)), gitlabLines{max(1, f.Location.Line)}},
		})
		if err != nil {
			return err
		}
	}
	for _, u := range r.Unscannable {
		err := g.issues.add(w, gitlabIssue{
			"not scanned: " + u.Reason, "unscannable", fmt.Sprintf("unscannable:%s:%d", u.File, u.Line), "major",
			gitlabLocation{u.File, gitlabLines{max(1, u.Line)}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *gitlabScan) end(w io.Writer, _ *scan.Summary) error {
	if err := g.begin(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, g.issues.end()+"\n")
	return err
}
