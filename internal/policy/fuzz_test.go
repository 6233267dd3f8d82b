package policy_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tagwarden/tagwarden/internal/policy"
)

// lineBreaks are what ends a line for YAML.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// Whatever the file, Parse gives a policy or errors, and each error is at a
// place that exists.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/bad.yaml", exampleFile} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	for _, seed := range []string{
		"", "\ufeffa: 1", "a: [1\nb: 2", "a: \x01", "a: \"x\n", "a:\r\n- b\r- c\u2028d: 1", "---\n---\n",
		"debugImages: &a [*a]", "? [a]\n: b", "exceptions: [{image: '**/a*?/**'}]", "infrastructureImages: ['*', 'wild*/**/**']",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("f", []byte(text), today)
		if err == nil {
			p.Decide(policy.Subject{Finding: "F-01", Namespace: "a", Image: "docker.io/a/b"}, today)
			return
		}
		var all policy.Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("error of type %T: %v", err, err)
		}
		lines := strings.Split(lineBreaks.Replace(text), "\n")
		for _, e := range all {
			if e.Line < 1 || e.Line > len(lines) {
				t.Fatalf("line %d of %d: %v", e.Line, len(lines), e)
			}
			if most := utf8.RuneCountInString(lines[e.Line-1]) + 1; e.Column < 1 || e.Column > most {
				t.Fatalf("column %d of %d on line %d: %v", e.Column, most, e.Line, e)
			}
			if strings.ContainsAny(e.Error(), "\n\x1b") {
				t.Fatalf("not one line of text: %q", e.Error())
			}
		}
	})
}
