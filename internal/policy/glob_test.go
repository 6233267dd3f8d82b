package policy

import (
	"strings"
	"testing"
	"time"
)

func TestGlobMatch(t *testing.T) {
	for _, test := range []struct {
		pattern string
		yes, no string // names, parted by spaces
	}{
		{"prod", "prod", "prod- xprod pro"},
		{"prod-*", "prod- prod-eu prod-eu-1", "prod xprod-eu"},
		{"*-dev", "a-dev -dev a-b-dev", "dev a-dev-1"},
		{"p?d", "pod pad", "pd prod p/d"},
		{"a*b*c", "abc axbxc abbcc aXbYbZc", "ab acb abcd"},
		{"*?*", "a ab", "a/b"},
		{"ghcr.io/acme/*", "ghcr.io/acme/api", "ghcr.io/acme ghcr.io/acme/a/b ghcr.io/other/api"},
		{"ghcr.io/acme/**", "ghcr.io/acme/api ghcr.io/acme/a/b", "ghcr.io/acme ghcr.io/acmes/api"},
		{"ghcr.io/**/api", "ghcr.io/api ghcr.io/a/api ghcr.io/a/b/api", "ghcr.io/api/x ghcr.io/xapi quay.io/api"},
		{"**/api", "api ghcr.io/api ghcr.io/a/api", "ghcr.io/api/x ghcr.io/xapi"},
		{"**/a/**", "a/b x/a/b x/a/a a/a x/y/a/b/c", "x/a a x/b/c"},
		{"**/a/**/b/*", "a/b/c a/x/b/c a/b/b/c r/a/x/y/b/z", "a/b x/b/c a/x/c"},
		{"**/a/x/**/a/y", "a/x/a/y r/a/x/a/x/a/y", "a/x/a/z a/y"},
		{"**", "a a/b a/b/c", ""},
		{"*.example.com/*", "eu.example.com/a eu.west.example.com/a", "example.com/a eu.example.com/a/b"},
	} {
		g := newGlob(test.pattern)
		for name := range strings.FieldsSeq(test.yes) {
			if !g.match(name) {
				t.Errorf("%s does not match %s", test.pattern, name)
			}
		}
		for name := range strings.FieldsSeq(test.no) {
			if g.match(name) {
				t.Errorf("%s matches %s", test.pattern, name)
			}
		}
	}
}

// A pattern with many wildcards that nearly matches must not take long.
func TestGlobTakesNoExponentialTime(t *testing.T) {
	many := newGlob(strings.Repeat("**/a*a*a*/", 12) + "b")
	name := strings.Repeat(strings.Repeat("a", 60)+"/", 60) + "c"
	start := time.Now()
	if many.match(name) {
		t.Error("the pattern matches")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestImageGlob(t *testing.T) {
	for pattern, want := range map[string]string{
		"nginx":                   "docker.io/library/nginx",
		"nginx*":                  "docker.io/library/nginx*",
		"*":                       "docker.io/library/*",
		"acme/*":                  "docker.io/acme/*",
		"acme/**":                 "docker.io/acme/**",
		"*/nginx":                 "docker.io/*/nginx",
		"docker.io/**":            "docker.io/**",
		"docker.io/*":             "docker.io/library/*",
		"docker.io/*/*":           "docker.io/*/*",
		"index.docker.io/nginx-?": "docker.io/library/nginx-?",
		"ghcr.io/acme/api":        "ghcr.io/acme/api",
		"ghcr.io/**/api-*?-x":     "ghcr.io/**/api-*?-x",
		"**/nginx":                "**/nginx",
		"**/acme/**":              "**/acme/**",
		"**":                      "**",
		"localhost:5000/*":        "localhost:5000/*",
		"*.example.com/**":        "*.example.com/**",
		"wild*/wildd/?wildcard":   "docker.io/wild*/wildd/?wildcard",
	} {
		g, err := imageGlob(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		if g.pattern != want {
			t.Errorf("%s: got %s, want %s", pattern, g.pattern, want)
		}
		if again, err := imageGlob(g.pattern); err != nil || again.pattern != g.pattern {
			t.Errorf("%s: %s is read as %s, %v", pattern, g.pattern, again.pattern, err)
		}
	}
}

// An error about a pattern speaks of the pattern as it was written.
func TestImageGlobErrors(t *testing.T) {
	for _, pattern := range []string{"acme/API-*", "acme/*:1.4", "**/-x-*", "acme/**/", "/**", "acme//*", "acme/*@sha256:*", "a/**b", "**/**/a", "[a-z]*"} {
		g, err := imageGlob(pattern)
		if err == nil {
			t.Errorf("%s is read as %s", pattern, g.pattern)
			continue
		}
		if strings.Contains(err.Error(), "wilda") || strings.Contains(err.Error(), ".example") {
			t.Errorf("%s: the error speaks of something else: %v", pattern, err)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"namespaces", "debugImages", "infrastructureImages", "expires", "F-01", "TW-02"}
	for s, want := range map[string]string{
		"namespace": "namespaces", "debugimages": "debugImages", "debug_images": "debugImages", "infraImages": "",
		"expiry": "expires", "expire": "expires", "F01": "F-01", "f-01": "F-01", "tw02": "TW-02", "debug": "debugImages", "infra": "infrastructureImages", "x": "", "": "",
		strings.Repeat("namespaces", 1000): "",
	} {
		if got, ok := nearest(s, words); got != want || ok != (want != "") {
			t.Errorf("nearest(%.20q) = %q, %t, want %q", s, got, ok, want)
		}
	}
}
