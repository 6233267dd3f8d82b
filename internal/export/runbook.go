package export

import (
	"bytes"
	_ "embed"
	"strings"
	"text/template"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
)

//go:embed runbook.md.tmpl
var runbookText string

// runbook writes what people do about an alert, with the policy's own words.
func runbook(m *model) (Output, error) {
	t, err := template.New("runbook").Parse(runbookText)
	if err != nil {
		return Output{}, err
	}
	p := m.policy
	var rows, severities, exceptions, signers []string
	for _, id := range finding.IDs() {
		name := string(id) + " " + id.Title()
		row := []string{name}
		for _, s := range scopes {
			row = append(row, p.Effect(id, s).String())
		}
		rows = append(rows, strings.Join(row, " | "))
		severities = append(severities, strings.Join([]string{name, id.Severity(true).String(), id.Severity(false).String()}, " | "))
	}
	for _, e := range p.Exceptions() {
		day := e.Expires.Format(time.DateOnly)
		if e.Expired(m.now) {
			day += " (expired)"
		}
		cells := []string{e.String(), e.Owner, e.Ticket, day, e.Reason}
		for i, c := range cells {
			cells[i] = cell(c)
		}
		exceptions = append(exceptions, strings.Join(cells, " | "))
	}
	for _, s := range p.Signers() {
		signers = append(signers, cell(s.Name)+" ("+codes(s.Images())+")")
	}
	var debug []string
	for _, name := range p.DebugImages() {
		if strings.Contains(name, "/") && strings.ContainsAny(strings.SplitN(name, "/", 2)[0], ".:") {
			debug = append(debug, name)
		}
	}
	ephemeral := "mutable tags and missing digests are no finding"
	if p.AlertEphemeral() {
		ephemeral = "judged as all others"
	}
	allowed := "any"
	if a := p.AllowedRegistries(); len(a) > 0 {
		allowed = codes(a)
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Mark": mark, "Rows": rows, "Severities": severities, "Exceptions": exceptions,
		"Production":  codes(append(p.ProductionNamespaces(), labelled(p.ProductionLabels())...)),
		"Development": codes(append(p.DevelopmentNamespaces(), labelled(p.DevelopmentLabels())...)),
		"Debug":       codes(debug), "Infrastructure": codes(p.InfrastructureImages()),
		"Ephemeral": ephemeral, "Allowed": allowed, "Signers": none(strings.Join(signers, ", ")),
	})
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"runbook.md", b.Bytes()}}}, nil
}

func labelled(all []string) []string {
	for i, s := range all {
		all[i] = "-l " + s
	}
	return all
}

func codes(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = "`" + strings.ReplaceAll(s, "`", "'") + "`"
	}
	return none(strings.Join(quoted, ", "))
}

func none(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// cell makes a text fit in a cell of a table in Markdown.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
