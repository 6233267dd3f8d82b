package export

import (
	"errors"
	"fmt"
	"strings"
)

// pack writes the policy for every engine, and a README that says what is what.
func pack(m *model) (Output, error) {
	out := Output{Choice: true}
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- %s. -->\n\n# Detection Starter Pack\n\n", mark)
	b.WriteString("One policy about mutable image tags, for what your clusters run already. All of it says\n" +
		"the same; take what you have an engine for. Every file begins with what its engine\n" +
		"does not do as the policy says.\n\n" +
		"Made by `tagwarden export pack`; change tagwarden.yaml and write it again, rather\n" +
		"than changing these files.\n\n" +
		"| for | files |\n|---|---|\n")
	for _, e := range Engines() {
		if e.Name == "pack" {
			continue
		}
		one, err := e.export(m)
		if errors.Is(err, errNoSigners) {
			note := e.Name + ": left out, since " + err.Error()
			out.Notes = append(out.Notes, note)
			fmt.Fprintf(&b, "| %s | none: %v |\n", e.Summary, err)
			continue
		}
		if err != nil {
			return Output{}, fmt.Errorf("%s: %w", e.Name, err)
		}
		var names []string
		for _, f := range one.Files {
			names = append(names, fmt.Sprintf("[%s](%s)", f.Name, f.Name))
		}
		fmt.Fprintf(&b, "| %s | %s |\n", e.Summary, strings.Join(names, ", "))
		out.Files = append(out.Files, one.Files...)
		for _, n := range one.Notes {
			out.Notes = append(out.Notes, e.Name+": "+n)
		}
	}
	b.WriteString("\nThe admission policies are three of a kind: tagwarden-deny, tagwarden-warn and\n" +
		"tagwarden-audit, as far as the policy has these effects. Begin with warn and audit,\n" +
		"look for a week at what they say, and then apply deny.\n")
	out.Files = append(out.Files, File{"README.md", []byte(b.String())})
	return out, nil
}
