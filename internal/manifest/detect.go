package manifest

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tagwarden/tagwarden/image"
)

// MaxSize is the size of the largest file that is read, in bytes.
const MaxSize = 64 << 20

// Detect says by its path which format a file has, or "" for a file in which
// no references are looked for. The path has slashes.
func Detect(name string) Format {
	base := strings.ToLower(path.Base(name))
	dir := strings.ToLower(path.Dir(name))
	yamlFile := strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml")
	switch {
	case isDockerfile(path.Base(name)):
		return Dockerfile
	case yamlFile && (strings.HasSuffix(dir, ".github/workflows") || strings.HasSuffix(dir, ".gitea/workflows") || strings.HasSuffix(dir, ".forgejo/workflows") || base == "action.yml" || base == "action.yaml"):
		return GitHubActions
	case yamlFile && (strings.HasPrefix(base, ".gitlab-ci") || strings.HasSuffix(base, ".gitlab-ci.yml")):
		return GitLabCI
	case yamlFile && strings.HasSuffix(dir, ".circleci"):
		return CircleCI
	case yamlFile && (strings.HasPrefix(base, "docker-compose") || strings.HasPrefix(base, "compose.") || strings.HasPrefix(base, "compose-")):
		return Compose
	case yamlFile && strings.HasPrefix(base, "kustomization."):
		return Kustomization
	case yamlFile && strings.HasPrefix(base, "skaffold."):
		return Skaffold
	case yamlFile && (strings.HasPrefix(base, "values") || strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml"), "values")):
		return HelmValues
	case base == "devcontainer.json", base == ".devcontainer.json":
		return Devcontainer
	case strings.HasSuffix(base, ".tf"), strings.HasSuffix(base, ".tofu"), strings.HasSuffix(base, ".tfvars"):
		return Terraform
	case yamlFile, strings.HasSuffix(base, ".json"):
		return Kubernetes
	}
	return ""
}

// isDockerfile tells Dockerfile, Dockerfile.dev, dev.Dockerfile and
// Dockerfile-dev from texts about them, and Dockerfile.go, for an image with Go,
// from dockerfile.go, a program.
func isDockerfile(name string) bool {
	base := strings.ToLower(name)
	for _, stem := range []string{"dockerfile", "containerfile"} {
		switch {
		case base == stem, strings.HasSuffix(base, "."+stem), strings.HasPrefix(base, stem+"-") && !strings.Contains(base, "."):
			return true
		case strings.HasPrefix(base, stem+"."), strings.HasPrefix(base, stem+"-"):
			ext := path.Ext(base)
			return !aboutDockerfiles[ext] && (name[0] != base[0] || !programs[ext])
		}
	}
	return false
}

var (
	aboutDockerfiles = map[string]bool{
		".md": true, ".rst": true, ".txt": true, ".html": true, ".json": true, ".yaml": true, ".yml": true, ".toml": true, ".dockerignore": true, ".lock": true,
	}
	programs = map[string]bool{
		".go": true, ".py": true, ".js": true, ".mjs": true, ".ts": true, ".tsx": true, ".rb": true, ".rs": true, ".java": true, ".kt": true,
		".cs": true, ".c": true, ".h": true, ".cpp": true, ".php": true, ".sh": true, ".lua": true, ".vim": true, ".scala": true, ".swift": true,
	}
)

// A Finder finds references in one file after the other. It keeps memory from
// one to the next, and is for one goroutine. The zero Finder is ready.
type Finder struct {
	// Env has what files beside this one give variables, as .env does for Compose.
	Env map[string]string

	quick quick
	after quick // for the second of two texts
}

// Find finds the references of a file. It never fails: what could not be read
// is among the result.
func Find(format Format, data []byte) Result { return new(Finder).Find(format, data) }

// Find finds the references of a file. It never fails: what could not be read
// is among the result.
func (f *Finder) Find(format Format, data []byte) Result {
	var out Result
	switch {
	case len(data) > MaxSize:
		out.Unscannable = append(out.Unscannable, Unscannable{Reason: fmt.Sprintf("larger than %d MiB", MaxSize>>20)})
		return out
	case isBinary(data):
		return binary(format, data)
	case format == Dockerfile:
		return dockerfile(data)
	}
	words := wordsOf(format)
	if !containsAny(data, words) {
		return out
	}
	if format == Terraform {
		return terraform(data)
	}
	s := newPlaces(readable(format, data))
	f.documents(s, words, func(d document) {
		w := &walker{document: &d, format: format, out: &out, env: f.Env}
		if d.aliases {
			w.seen = map[*yaml.Node]bool{}
		}
		switch format {
		case Compose:
			w.compose()
		case Kustomization:
			w.kustomization()
		case GitHubActions:
			w.actions()
		case GitLabCI:
			w.gitlab()
		case CircleCI:
			w.circle()
		case Devcontainer:
			w.devcontainer()
		case HelmValues, Skaffold:
			w.walk(d.root, parent{})
		default:
			w.top(d.root)
		}
	}, func(line int, text []byte, err error) {
		unreadable(s, line, text, err, format, &out)
	})
	return out
}

// readable is a text as the YAML parsers take it, in which nothing moves.
func readable(format Format, data []byte) []byte {
	if format == Devcontainer {
		return withoutComments(data)
	}
	if format == Kubernetes && IsJSON(data) {
		return spaced(data)
	}
	return data
}

// IsJSON reports whether a text that can be YAML begins as JSON does.
func IsJSON(data []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(data, bom), " \t\r\n")
	return bytes.HasPrefix(text, []byte("{"))
}

// wordsOf are words of which a file, or a document, has one if it has a
// reference: most YAML files have none of them, and are not parsed.
func wordsOf(format Format) []string {
	switch format {
	case GitHubActions:
		return []string{"mage", "uses", "container"}
	case HelmValues:
		return []string{"mage", "repository"}
	case Devcontainer:
		return []string{"mage", "features"}
	case Kubernetes:
		return []string{"mage", "pkg.crossplane.io", "bundle"}
	}
	return []string{"mage"}
}

func containsAny(data []byte, words []string) bool {
	for _, word := range words {
		if bytes.Contains(data, []byte(word)) {
			return true
		}
	}
	return false
}

// isBinary reports whether the first bytes are those of no text.
func isBinary(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0
}

// binary says of a file with NUL bytes why it is not read, unless nothing in it
// can be a reference.
func binary(format Format, data []byte) (out Result) {
	reason := "it has NUL bytes, as no text has"
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
		reason = "it is UTF-16; save it as UTF-8"
	}
	words := wordsOf(format)
	if format == Dockerfile {
		words = []string{"FROM", "from"}
	}
	if containsAny(bytes.ReplaceAll(data, []byte{0}, nil), words) {
		out.Unscannable = append(out.Unscannable, Unscannable{Reason: reason})
	}
	return out
}

// spaced is JSON without the tabs between its values, which YAML does not take:
// each is a blank instead, so that nothing moves.
func spaced(data []byte) []byte {
	if bytes.IndexByte(data, '\t') < 0 {
		return data
	}
	out := bytes.Clone(data)
	quoted := false
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '\t' && !quoted:
			out[i] = ' '
		}
	}
	return out
}

// withoutComments is JSON without comments and tabs, which each become blanks,
// so that nothing moves (https://containers.dev/implementors/spec/: "JSON with
// Comments").
func withoutComments(data []byte) []byte {
	out := bytes.Clone(data)
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case c == '\t':
			out[i] = ' '
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			for ; i < len(out) && out[i] != '\n'; i++ {
				out[i] = ' '
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			end := bytes.Index(out[i+2:], []byte("*/"))
			if end < 0 {
				return out
			}
			for stop := i + end + 4; i < stop; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
			i--
		}
	}
	return out
}

// imageLine is a line that most likely has a reference, in a file that is no
// YAML.
var imageLine = regexp.MustCompile(`(?m)^[ \t-]*"?image"?:[ \t]+["']?([^\s"'{}$#]+)["']?[ \t]*(?:#.*)?\r?$`)

// unreadable says why a document cannot be read. What a line shows by itself is
// found all the same.
func unreadable(s *places, line int, text []byte, err error, format Format, out *Result) {
	reason := "not valid YAML: " + strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", "; "), "yaml: ")
	if bytes.Contains(text, []byte("{{")) {
		reason = "a template; render it first, as with: helm template CHART | tagwarden scan -"
	}
	out.Unscannable = append(out.Unscannable, Unscannable{Line: line, Reason: clipReason(reason)})
	base, _ := s.lineStart(line)
	if line == 1 && bytes.HasPrefix(s.data, bom) {
		base = len(bom)
	}
	for _, m := range imageLine.FindAllSubmatchIndex(text, -1) {
		value := string(text[m[2]:m[3]])
		if _, err := image.Parse(value); err != nil || !isImage(value) {
			continue
		}
		style := Plain
		switch text[m[2]-1] {
		case '"':
			style = Double
		case '\'':
			style = Single
		}
		out.References = append(out.References, Reference{
			Text: value, Span: s.span(base+m[2], base+m[3]), Style: style, Format: format, ContainerKind: Other, Path: "image", Loose: true,
		})
	}
}

func clipReason(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
