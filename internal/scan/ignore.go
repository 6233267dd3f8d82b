package scan

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ignore has the patterns of .gitignore files
// (https://git-scm.com/docs/gitignore).
type ignore struct {
	// top is the top of the work tree of git, or else the root of the walk,
	// without links; prefix is the root as seen from there, with a slash at its
	// end, or "".
	top, prefix string
	rules       []ignoreRule
}

type ignoreRule struct {
	below string // the folder of the file that has the rule
	// One of the three: a name, or a path if anchored; the end of a name; all
	// other patterns.
	name, suffix string
	pattern      *regexp.Regexp
	anchored     bool
	not          bool
	folders      bool
}

// newIgnore reads what is left out of the whole tree: .git/info/exclude, and
// the .gitignore files of the folders above, from the top of the work tree.
func newIgnore(root string) *ignore {
	ig := &ignore{top: root}
	abs, err := filepath.Abs(root)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return ig
	}
	ig.top = abs
	var above []string // The folders between the root and the top.
	for top := abs; ; top = filepath.Dir(top) {
		if _, err := os.Stat(filepath.Join(top, ".git")); err == nil {
			ig.file(filepath.Join(top, ".git", "info", "exclude"), "")
			for _, folder := range slices.Backward(above) {
				ig.file(filepath.Join(folder, ".gitignore"), below(top, folder))
			}
			if ig.top = top; top != abs {
				ig.prefix = below(top, abs) + "/"
			}
			return ig
		}
		if filepath.Dir(top) == top {
			return ig
		}
		above = append(above, filepath.Dir(top))
	}
}

// below is the path of a folder below another, with slashes, or "" for itself.
func below(top, folder string) string {
	rel, err := filepath.Rel(top, folder)
	if err != nil || rel == "." {
		return ""
	}
	return filepath.ToSlash(rel)
}

// read takes in the .gitignore of a folder.
func (ig *ignore) read(folder, rel string) {
	if rel == "." {
		rel = ""
	}
	ig.file(filepath.Join(folder, ".gitignore"), strings.TrimSuffix(ig.prefix+rel, "/"))
}

func (ig *ignore) file(name, below string) {
	f, err := os.Open(name)
	if err != nil {
		return // Most folders have none.
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if r, ok := ignoreLine(lines.Text(), below); ok {
			ig.rules = append(ig.rules, r)
		}
	}
}

// ignoreLine reads one pattern.
func ignoreLine(line, below string) (r ignoreRule, ok bool) {
	line = strings.TrimRight(strings.TrimSuffix(line, "\r"), " \t")
	if line == "" || line[0] == '#' {
		return r, false
	}
	r.below = below
	if line[0] == '!' {
		r.not, line = true, line[1:]
	}
	line = strings.TrimPrefix(line, `\`)
	line, r.folders = strings.CutSuffix(line, "/")
	anchored := strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	r.anchored = anchored
	const special = `*?[\`
	if line != "" && !strings.ContainsAny(line, special) {
		r.name = line
		return r, true
	}
	if rest, ok := strings.CutPrefix(line, "*"); ok && rest != "" && !anchored && !strings.ContainsAny(rest, special) {
		r.suffix = rest
		return r, true
	}
	var b strings.Builder
	b.WriteString("^")
	if !anchored {
		b.WriteString("(?:.*/)?")
	}
	for i := 0; i < len(line); i++ {
		switch rest := line[i:]; {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(rest, "/**") && len(rest) == 3:
			b.WriteString("/.*")
			i += 2
		case line[i] == '*':
			b.WriteString("[^/]*")
		case line[i] == '?':
			b.WriteString("[^/]")
		case line[i] == '[' && strings.IndexByte(rest, ']') > 1:
			end := strings.IndexByte(rest, ']')
			b.WriteString("[" + strings.Replace(strings.ReplaceAll(rest[1:end], `\`, `\\`), "!", "^", 1) + "]")
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(line[i : i+1]))
		}
	}
	b.WriteString("$")
	re, err := regexp.Compile(b.String())
	r.pattern = re
	return r, err == nil
}

// matches reports whether a path below the root is left out: the last pattern
// that is about it decides.
func (ig *ignore) matches(rel string, folder bool) bool {
	out := false
	rel = ig.prefix + rel
	for _, r := range ig.rules {
		name := rel
		if r.below != "" {
			rest, ok := strings.CutPrefix(rel, r.below+"/")
			if !ok {
				continue
			}
			name = rest
		}
		if r.not != out || r.folders && !folder {
			continue // It would change nothing.
		}
		if r.matches(name) {
			out = !r.not
		}
	}
	return out
}

func (r *ignoreRule) matches(name string) bool {
	if r.pattern != nil {
		return r.pattern.MatchString(name)
	}
	if !r.anchored {
		name = name[strings.LastIndexByte(name, '/')+1:]
	}
	if r.suffix != "" {
		return strings.HasSuffix(name, r.suffix)
	}
	return name == r.name
}
