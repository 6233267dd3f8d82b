package image_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

// byExpressions decides as a policy engine does that has nothing else.
type byExpressions struct {
	reference, id, name, latest, version, moves, unique, longWord, mixed, number, issue, build *regexp.Regexp
}

func newByExpressions() *byExpressions {
	e := image.MakeExpressions()
	c := regexp.MustCompile
	return &byExpressions{
		c(e.Reference), c(e.ID), c(e.Name), c(e.Latest), c(e.Version), c(e.Moves), c(e.Unique),
		c(e.LongWord), c(e.Mixed), c(e.Number), c(e.Issue), c(e.Build),
	}
}

func (b *byExpressions) class(s string) image.Class {
	if !b.reference.MatchString(s) || b.id.MatchString(s) {
		return image.Invalid
	}
	rest := s[len(b.name.FindString(s)):]
	tag, _, pinned := strings.Cut(strings.TrimPrefix(rest, ":"), "@")
	switch {
	case pinned:
		return image.Pinned
	case tag == "":
		return image.Untagged
	case b.latest.MatchString(tag):
		return image.Latest
	case b.version.MatchString(tag) && !b.moves.MatchString(tag), b.unique.MatchString(tag):
		return image.Fixed
	}
	if slices.ContainsFunc(b.longWord.FindAllString(tag, -1), b.mixed.MatchString) {
		return image.Fixed
	}
	for _, n := range b.number.FindAllString(tag, -1) {
		if !b.issue.MatchString(n) || b.build.MatchString(n) {
			return image.Fixed
		}
	}
	return image.Floating
}

// FuzzExpressions holds the expressions to what Go decides.
func FuzzExpressions(f *testing.F) {
	for _, in := range common {
		f.Add(in)
	}
	for _, tag := range []string{
		"latest", "LATEST", "v1-latest", "1", "1.25", "16-alpine", "16-alpine3.18.4", "amd64-1.2.3", "1.25.3", "v1.2.3-rc.1", "1_25_3",
		"8u392", "jdk17-21.0.1", "go1.21.5", "go1.21.5-2", "php8.2-apache", "1.2.3.x", "1.2.3.4.x", "1.2.3.x-y", "1.2.3.x5", "1.2.3.",
		"go1.2.3.x", "go1.2.3.x-a", "vv1.2.3", "v-1.2.3", "xv1.2.3", "-1.2.3", "1.2.3-canary.4", "1.2.3-canary", "1.2.3-nightly.x", "1.2.3-SNAPSHOT.",
		"20240115", "v20240115", "20240115T103000Z", "2024-01-15T10-30-00Z", "1700000000", "1900000000", "20241315", "2024_01_15", "2024.01_15",
		"befacaad", "defaced", "g1234567", "1.25-g1234567", "pr-1234567", "pr-123456a", "PROJ-12345", "PROJ-12345-67890", "CI-12345", "R-12345",
		"DEV-12345", "proj-12345", "PROJ-12345--67890", "_12345", "12345", "build-12", "build.12", "rev1234", "r12", "9.3-1610", "9.3-2010", "9-101", "x-9-101",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "averylongbranchname2x", "averylongfeaturebranch-a1b2c3", "main", "issue-5", "v1.2.3dev", "1.2.3-dev", "1.2.3_head-1",
		strings.Repeat("a", 65), strings.Repeat("0", 128), "a-" + strings.Repeat("f", 100), "fix-20240115", "AB-20240115", "1.2.3.4", "1.2.3-x", "12u", "u12",
	} {
		f.Add("nginx:" + tag)
	}
	b := newByExpressions()
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := image.Parse(in)
		want := image.Invalid
		if err == nil {
			want, _ = ref.Class()
		} else if len(in) > 240 {
			return // The length of a repository is not in the expressions.
		}
		if got := b.class(in); got != want {
			t.Errorf("%q: the expressions say %s, Go says %s", in, got, want)
		}
	})
}

// Words of every kind, in all orders, say more than random bytes do.
func TestExpressionsOfWords(t *testing.T) {
	t.Parallel()
	b := newByExpressions()
	words := strings.Fields(`1 v2 25 3 x u1 8u39 12345 1234567 20240115 101 2010 1610 befacade g1234567 latest DEV canary
		pr PROJ CI R rev build12 r123 alpine3 amd64 go1 a1b2c3 01ARZ3NDEKTSV4RRFFQ69G5FAV vv1 1700000000`)
	words = append(words, "")
	for _, w1 := range words {
		for _, w2 := range words {
			for _, w3 := range words {
				for _, seps := range []string{"--", "-.", ".-", "..", "_-", "._"} {
					in := "a:" + w1 + seps[:1] + w2 + seps[1:] + w3
					ref, err := image.Parse(in)
					if err != nil {
						continue
					}
					if want, _ := ref.Class(); b.class(in) != want {
						t.Fatalf("%q: the expressions say %s, Go says %s", in, b.class(in), want)
					}
				}
			}
		}
	}
}
