package conformance_test

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/conformance"
	"github.com/tagwarden/tagwarden/internal/admission"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// ids are where our own messages name findings.
var ids = regexp.MustCompile(`\((F-01|TW-\d\d)[,)]`)

// Our own webhook. It tells nobody of what is audited, and warns where it spares
// what a controller makes.
func TestAdmission(t *testing.T) {
	t.Parallel()
	for name, q := range questions(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reviewer := admission.Reviewer{
				Policy: func() *policy.Policy { return q.policy }, NamespaceLabels: conformance.NamespaceLabels,
				Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
			}
			for _, c := range q.cases {
				resp := reviewer.Validate(t.Context(), review(t, &c).AdmissionRequest)
				var said []string
				for _, w := range resp.Warnings {
					for _, m := range ids.FindAllStringSubmatch(w, -1) {
						said = append(said, "warn "+m[1])
					}
				}
				if !resp.Allowed {
					for _, m := range ids.FindAllStringSubmatch(resp.Result.Message, -1) {
						said = append(said, "deny "+m[1])
					}
				}
				if c.User != "anna" {
					if !resp.Allowed {
						t.Errorf("%s: %s", &c, resp.Result.Message)
					}
					continue
				}
				told := strings.Split(c.Want, ", ")
				c.Want = strings.Join(slices.DeleteFunc(told, func(w string) bool { return strings.HasPrefix(w, "audit") }), ", ")
				check(t, &c, verdict(said))
			}
		})
	}
}
