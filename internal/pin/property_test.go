package pin_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
)

// A source makes files at random. Each part of a file is noted with what is to
// become of it.
type source struct {
	*rand.Rand
	before, after strings.Builder
	eol           string
}

// text writes what stays.
func (s *source) text(format string, a ...any) {
	t := strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", s.eol)
	s.before.WriteString(t)
	s.after.WriteString(t)
}

// change writes what changes.
func (s *source) change(before, after string) {
	s.before.WriteString(before)
	s.after.WriteString(after)
}

func (s *source) one(of ...string) string { return of[s.IntN(len(of))] }

// image is a name, the tag that it follows, and both as they are written.
func (s *source) image() (name, tag, written string) {
	name = s.one("nginx", "acme/api", "ghcr.io/acme/api", "localhost:5000/a/b", "docker.io/library/redis")
	switch s.IntN(4) {
	case 0:
		return name, "latest", name
	case 1: // These are a date and numbers to YAML.
		tag = s.one("2024-01-05", "1.20", "8")
	default:
		tag = s.one("v1", "1.25.3", "stable", "1.2.3-alpine")
	}
	return name, tag, name + ":" + tag
}

func follows(name, tag string) string {
	full := name
	switch {
	case strings.Contains(name, "/") && strings.ContainsAny(strings.SplitN(name, "/", 2)[0], ".:"):
	case strings.Contains(name, "/"):
		full = "docker.io/" + name
	default:
		full = "docker.io/library/" + name
	}
	return full + ":" + tag
}

// reference writes one in some style; in is whether it is within braces.
func (s *source) reference(in bool) {
	name, tag, written := s.image()
	pinned := name + ":" + tag + "@" + digestOf(follows(name, tag))
	if s.IntN(6) == 0 { // It has its digest.
		written = pinned
	}
	quote := s.one("", "", "'", `"`)
	s.text("%s", quote)
	s.change(written, pinned)
	s.text("%s", quote)
	if !in {
		s.text("%s\n", s.one("", " ", " # ein Kommentar: häß€😀", "   # image: nginx:1"))
	}
}

func (s *source) noise(indent string) {
	switch s.IntN(6) {
	case 0:
		s.text("%s# image: not/this:1\n", indent)
	case 1:
		s.text("%senv: [{name: \"ä€😀\", value: 'it''s'}]\n", indent)
	case 2:
		s.text("%scommand: |\n%s  image: not/this:1\n\n%s  # nor this\n", indent, indent, indent)
	case 3:
		s.text("%sargs: ['a\\b', \"c\\td\",\n%s  e]\n", indent, indent)
	case 4:
		s.text("\n")
	}
}

func (s *source) pod() {
	s.text("%sapiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec:\n", s.one("", "# top\n", "\n"), s.IntN(9))
	if s.IntN(3) == 0 {
		s.text("  initContainers: [")
		for i := range 1 + s.IntN(3) {
			s.text("%s{name: i%d, \"image\": ", map[bool]string{true: "", false: ", "}[i == 0], i)
			s.reference(true)
			s.text("}")
		}
		s.text("]\n")
	}
	s.text("  containers:\n")
	anchored := false
	for i := range 1 + s.IntN(4) {
		s.text("  - name: c%d\n", i)
		s.noise("    ")
		switch {
		case anchored:
			s.text("    image: *img\n")
		case s.IntN(6) == 0:
			anchored = true
			s.text("    image: &img ")
			s.reference(false)
		case s.IntN(6) == 0:
			name, tag, written := s.image()
			s.text("    image: %s\n      ", s.one(">-", "|-", "|", ">"))
			s.change(written, name+":"+tag+"@"+digestOf(follows(name, tag)))
			s.text("\n")
		default:
			s.text("    image: %s", s.one("", " "))
			s.reference(false)
		}
		s.noise("    ")
	}
}

func (s *source) values() {
	for i := range 1 + s.IntN(3) {
		name, tag, _ := s.image()
		digest := digestOf(follows(name, tag))
		s.text("part%d:\n", i)
		s.noise("  ")
		s.text("  image:\n    repository: %s\n", name)
		quote := s.one("", "'", `"`)
		switch s.IntN(3) {
		case 0:
			s.text("    tag: %s", quote)
			s.change(tag, tag+"@"+digest)
			s.text("%s\n", quote)
		case 1:
			q := s.one("'", `"`)
			s.text("    digest: %s", q)
			s.change("", digest)
			s.text("%s\n    tag: %s%s%s\n", q, quote, tag, quote)
		default:
			s.text("    tag: %s%s%s\n    digest:", quote, tag, quote)
			s.change("", " "+digest)
			s.text("%s\n", s.one("", " # none yet"))
		}
	}
}

func (s *source) kustomization() {
	s.text("resources: [a.yaml]\nimages:\n")
	indent := s.one("", "  ")
	for range 1 + s.IntN(4) {
		name, tag, _ := s.image()
		digest := "digest: " + digestOf(follows(name, tag))
		quote := s.one("", "'", `"`)
		if s.IntN(3) == 0 {
			s.text("%s- {name: %s, newTag: %s%s%s", indent, name, quote, tag, quote)
			s.change("", ", "+digest)
			s.text("}\n")
			continue
		}
		s.text("%s- name: x\n%s  newName: %s\n%s  newTag: %s%s%s%s", indent, indent, name, indent, quote, tag, quote, s.one("", " # why"))
		s.change("", s.eol+indent+"  "+digest)
		s.text("\n")
	}
}

func (s *source) dockerfile() {
	stages := 1 + s.IntN(3)
	arg := s.IntN(2) == 0
	if arg {
		name, tag, written := s.image()
		quote := s.one("", `"`)
		s.text("ARG BASE=%s", quote)
		s.change(written, name+":"+tag+"@"+digestOf(follows(name, tag)))
		s.text("%s\n", quote)
	}
	for i := range stages {
		if arg && i == 0 {
			s.text("FROM ${BASE} AS s%d\n", i)
		} else {
			name, tag, written := s.image()
			s.text("%s ", s.one("FROM", "from", "FROM --platform=$BUILDPLATFORM"))
			s.change(written, name+":"+tag+"@"+digestOf(follows(name, tag)))
			s.text(" AS s%d\n", i)
		}
		s.text("%s", s.one("", "# FROM not/this:1\n", "RUN echo \\\n  x\n", "COPY --from=s0 /a /b\n"))
	}
}

func (s *source) workflow() {
	s.text("on: push\njobs:\n  a:\n    container: ")
	s.reference(false)
	s.text("    steps:\n")
	for range 1 + s.IntN(3) {
		repository, rev := s.one("actions/checkout", "acme/x"), s.one("v4", "main", "v1.2.3")
		quote := s.one("", "'", `"`)
		s.text("    - uses: %s%s@", quote, repository+s.one("", "/sub"))
		s.change(rev, commitOf(repository+"@"+rev))
		s.text("%s", quote)
		comment := " # " + rev
		if rev == "main" {
			comment = " # tag=main"
		}
		s.change("", comment)
		s.text("%s\n", s.one("", " # fetch"))
	}
}

func (s *source) terraform() {
	for i := range 1 + s.IntN(3) {
		name, tag, written := s.image()
		s.text("resource \"docker_image\" \"i%d\" {\n  # image = \"not/this:1\"\n  name = \"", i)
		s.change(written, name+":"+tag+"@"+digestOf(follows(name, tag)))
		s.text("\" # x\n  x    = \"${var.y}\"\n}\n")
	}
}

// TestOnlyReferencesChange: in generated files of every format, exactly the bytes
// of the references change, and parsing both texts gives the same but for them.
func TestOnlyReferencesChange(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		file string
		make func(*source)
	}{
		{"a.yaml", (*source).pod},
		{"values.yaml", (*source).values},
		{"kustomization.yaml", (*source).kustomization},
		{"Dockerfile", (*source).dockerfile},
		{".github/workflows/a.yml", (*source).workflow},
		{"main.tf", (*source).terraform},
	}
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 7))
		kind := kinds[r.IntN(len(kinds))]
		s := &source{Rand: r, eol: "\n"}
		if r.IntN(4) == 0 && kind.file != "main.tf" {
			s.eol = "\r\n"
		}
		if r.IntN(8) == 0 && kind.file != "main.tf" {
			s.text("\ufeff")
		}
		kind.make(s)
		if kind.file == "a.yaml" && r.IntN(3) == 0 {
			s.text("---\n")
			s.pod()
		}
		before, after := s.before.String(), s.after.String()
		if r.IntN(4) == 0 { // No line end at the end.
			before, after = strings.TrimSuffix(before, s.eol), strings.TrimSuffix(after, s.eol)
		}
		got := edit(t, pin.Style{}, kind.file, before)
		if string(got.Text) != after {
			t.Fatalf("seed %d, %s: from\n%s\nwant\n%s\ngot\n%s\n%s", seed, kind.file, before, after, got.Text, strings.Join(reasons(got), "\n"))
		}
		if left := reasons(got); len(left) > 0 {
			t.Fatalf("seed %d, %s: %q\n%s", seed, kind.file, left, before)
		}
		if again := edit(t, pin.Style{}, kind.file, after); again.Changed {
			t.Fatalf("seed %d, %s: a second time\n%s\nbecame\n%s", seed, kind.file, after, again.Text)
		}
	}
}

// FuzzEdit: whatever a file is, what is not a reference stays, the references are
// found again with their digests, and a second edit changes nothing.
func FuzzEdit(f *testing.F) {
	for seed := range uint64(24) {
		s := &source{Rand: rand.New(rand.NewPCG(seed, 7)), eol: "\n"}
		name, build := "a.yaml", (*source).pod
		switch seed % 6 {
		case 1:
			name, build = "values.yaml", (*source).values
		case 2:
			name, build = "kustomization.yaml", (*source).kustomization
		case 3:
			name, build = "Dockerfile", (*source).dockerfile
		case 4:
			name, build = ".github/workflows/a.yml", (*source).workflow
		case 5:
			name, build = "main.tf", (*source).terraform
		}
		build(s)
		f.Add(name, s.before.String(), seed%2 == 0, seed%3 == 0)
	}
	f.Add("a.json", `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx"}]}}`, true, false)
	f.Add("values.yaml", "a: &a {repository: nginx, tag: v1}\nimage: {<<: *a, repository: redis, digest: }\n", false, false)
	f.Fuzz(func(t *testing.T, name, text string, comments, renovate bool) {
		format := manifest.Detect(name)
		if format == "" || len(text) > 1<<16 {
			return
		}
		style := pin.Style{Comment: comments && !renovate, Renovate: renovate}
		got := edit(t, style, name, text)
		if !got.Changed {
			if string(got.Text) != text {
				t.Fatalf("%q: not changed, and became %q", text, got.Text)
			}
			return
		}
		if err := onlyLines(text, string(got.Text), got.Items); err != nil {
			t.Fatalf("%s: %q became %q: %v", name, text, got.Text, err)
		}
		again := edit(t, style, name, string(got.Text))
		if again.Changed || !bytes.Equal(again.Text, got.Text) {
			t.Fatalf("%s: %q became %q and then %q", name, text, got.Text, again.Text)
		}
		for i := range got.Items {
			item := &got.Items[i]
			if item.State != pin.Pinned {
				continue
			}
			found := false
			for j := range again.Items {
				found = found || again.Items[j].Before == item.After && again.Items[j].State == pin.Already
			}
			if !found {
				t.Fatalf("%s: %q became %q, in which %s is not found", name, text, got.Text, item.After)
			}
		}
	})
}

// onlyLines checks that lines which differ have a digest that was written, and
// that no other line came, went or moved.
func onlyLines(before, after string, items []pin.Item) error {
	written := func(line string) bool {
		return slices.ContainsFunc(items, func(x pin.Item) bool {
			return x.State == pin.Pinned && strings.Contains(line, strings.TrimPrefix(x.New, "git:"))
		})
	}
	isDigest := func(line string) bool { return strings.Contains(line, "digest") }
	was := strings.Split(before, "\n")
	for line := range strings.SplitSeq(after, "\n") {
		switch {
		case len(was) > 0 && strings.TrimRight(was[0], "\r") == strings.TrimRight(line, "\r"):
			was = was[1:]
		case !written(line):
			return fmt.Errorf("line %q", line)
		case isDigest(line) && !strings.Contains(line, "newTag") && (len(was) == 0 || !isDigest(was[0])):
			// A line of its own, for kustomize.
		case len(was) > 0:
			was = was[1:]
		default:
			return fmt.Errorf("line %q is new", line)
		}
	}
	if len(was) > 0 {
		return fmt.Errorf("%q is missing", was)
	}
	return nil
}
