package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/scan"
)

type scanFlags struct {
	policy         string
	baseline       string
	changedSince   string
	production     bool
	allowUnscanned bool
	failOn, output *string
}

func newScan(env Env) *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan [PATH... | -]",
		Short: "Find mutable image references in files",
		Long: `Scan finds image references in files and says which ones can come to mean other
bytes: F-01 for no tag, "latest" and tags that move; TW-02 for a fixed tag
without a digest; TW-09 for what no runtime can pull.

It reads Kubernetes manifests and lists, custom resources, Helm values, Kustomize,
Compose, Dockerfiles, GitHub Actions, GitLab CI, CircleCI and Skaffold files.
Without PATH it looks at the working directory. What .gitignore leaves out is left
out, and so are node_modules, vendor and .terraform. Links are not followed. With
"-" it reads manifests from stdin.

A comment accepts a finding on its line or the one below, until a day:
  # tagwarden:ignore F-01 until=2027-01-31 reason="…" ticket=SHOP-1
So does an exception in tagwarden.yaml.

Exit status 1 with a finding at or above --fail-on, 3 when a file, or a part of
one, could not be read, unless --allow-unscannable.`,
		Example: `  tagwarden scan
  tagwarden scan deploy/ -o sarif > scan.sarif
  helm template chart/ | tagwarden scan -
  tagwarden scan --changed-since origin/main -o github`,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.StringVar(&f.baseline, "baseline", "", "`file` that \"scan -o json\" wrote: only findings that are not in it make the exit status 1")
	flags.StringVar(&f.changedSince, "changed-since", "", "only files that differ from this git `revision`")
	flags.BoolVar(&f.production, "production", false, "what names no namespace counts as production")
	flags.BoolVar(&f.allowUnscanned, "allow-unscannable", false, "what could not be read does not make the exit status 3")
	f.failOn = choiceFlag(cmd, "fail-on", "least severity that makes the exit status 1", "low", "none", "info", "medium", "high", "critical")
	f.output = outputFlag(cmd, "table", "json", "sarif", "junit", "markdown", "github", "gitlab")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), env, args) }
	return cmd
}

func (f *scanFlags) run(ctx context.Context, env Env, args []string) error {
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	files, gaps, err := f.files(ctx, env, args)
	if err != nil {
		return err
	}
	known, err := readScanBaseline(f.baseline)
	if err != nil {
		return err
	}
	cfg := scan.Config{Policy: pol, Now: env.Now(), Production: f.production}
	r, err := cfg.Files(ctx, files)
	if err != nil {
		return err
	}
	r.Unscannable = append(gaps, r.Unscannable...)
	r.Baseline(known)
	w := bufio.NewWriter(env.Stdout)
	if err := errors.Join(writeScan(w, r, *f.output), w.Flush()); err != nil {
		return err
	}
	return f.status(env, r)
}

// status is the exit status. What could not be read goes before findings: it is
// the worse news.
func (f *scanFlags) status(env Env, r *scan.Report) error {
	if n := len(r.Unscannable); n > 0 && !f.allowUnscanned {
		if *f.output != "table" {
			for _, u := range r.Unscannable[:min(n, maxBadLines)] {
				say(env, "tagwarden: %s\n", placed(u))
			}
		}
		return &statusError{exitFailed, fmt.Errorf("%s could not be scanned", plural(n, "place"))}
	}
	if *f.failOn == "none" {
		return nil
	}
	least, err := finding.ParseSeverity(*f.failOn)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.Findings, func(x scan.Found) bool { return !x.Known && x.Severity >= least }) {
		return &statusError{status: exitFindings}
	}
	return nil
}

// placed is what could not be read, with its place.
func placed(u scan.Unscannable) string {
	if u.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", u.File, u.Line, u.Reason)
	}
	return u.File + ": " + u.Reason
}

// files are those to look at.
func (f *scanFlags) files(ctx context.Context, env Env, args []string) ([]scan.File, []scan.Unscannable, error) {
	if slices.Equal(args, []string{"-"}) {
		if f.changedSince != "" {
			return nil, nil, usage("--changed-since is for files, not for stdin")
		}
		return []scan.File{scan.Reader("stdin", interruptible(env.Stdin))}, nil, nil
	}
	if slices.Contains(args, "-") {
		return nil, nil, usage("'-' reads stdin; give it alone")
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	files, gaps := scan.Walk(args)
	if f.changedSince == "" {
		return files, gaps, nil
	}
	changed, err := changedSince(ctx, f.changedSince)
	if err != nil {
		return nil, nil, err
	}
	files = slices.DeleteFunc(files, func(x scan.File) bool {
		abs, err := filepath.Abs(filepath.FromSlash(x.Name))
		return err == nil && !changed[abs]
	})
	return files, gaps, nil
}

// changedSince asks git which files differ from a revision, those that it does
// not know yet included.
func changedSince(ctx context.Context, rev string) (map[string]bool, error) {
	if strings.HasPrefix(rev, "-") {
		return nil, usage("--changed-since %s: not a revision", rev)
	}
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", args...).Output() //nolint:gosec // A revision is no option, see above.
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = errors.New(strings.TrimSpace(string(exit.Stderr)))
		}
		if err != nil {
			return "", fmt.Errorf("git %s: %w", args[0], err)
		}
		return string(out), nil
	}
	top, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	top = strings.TrimSpace(top)
	diff, err := git("-C", top, "diff", "--name-only", "-z", "--diff-filter=d", rev, "--")
	if err != nil {
		return nil, err
	}
	untracked, err := git("-C", top, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for name := range strings.SplitSeq(diff+untracked, "\x00") {
		if name != "" {
			all[filepath.Join(top, name)] = true
		}
	}
	return all, nil
}

// readScanBaseline reads the fingerprints of an earlier report.
func readScanBaseline(name string) (map[string]bool, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // No baseline knows nothing.
	}
	data, err := readFile(name, maxRules)
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	var in scanJSON
	if err := json.Unmarshal(data, &in); err != nil || in.Schema != scanSchema {
		return nil, fmt.Errorf("read baseline: %s is not what \"tagwarden scan -o json\" writes", name)
	}
	known := map[string]bool{}
	for _, f := range in.Findings {
		known[f.Fingerprint] = true
	}
	return known, nil
}

func writeScan(w io.Writer, r *scan.Report, output string) error {
	switch output {
	case "json":
		return writeScanJSON(w, r)
	case "sarif":
		return writeSARIF(w, r)
	case "junit":
		return writeJUnit(w, r)
	case "markdown":
		return writeScanMarkdown(w, r)
	case "github":
		return writeGitHub(w, r)
	case "gitlab":
		return writeGitLab(w, r)
	}
	return writeScanTable(w, r)
}

// scanSchema names the JSON form of a report. Keys are added, never renamed.
const scanSchema = "tagwarden.scan/v1"

type scanJSON struct {
	Schema      string             `json:"schema"`
	Findings    []scanFinding      `json:"findings"`
	Unscannable []scan.Unscannable `json:"unscannable"`
	Summary     scanSummary        `json:"summary"`
}

type scanFinding struct {
	ID          finding.ID       `json:"id"`
	Severity    finding.Severity `json:"severity"`
	Image       string           `json:"image"`
	Class       string           `json:"class"`
	File        string           `json:"file"`
	Line        int              `json:"line"`
	Column      int              `json:"column"`
	Object      manifest.Object  `json:"object"`
	Container   scanContainer    `json:"container"`
	Path        string           `json:"path"`
	Message     string           `json:"message"`
	Fix         string           `json:"fix"`
	Known       bool             `json:"known,omitempty"`
	Fingerprint string           `json:"fingerprint"`
}

type scanContainer struct {
	Name string                 `json:"name"`
	Kind manifest.ContainerKind `json:"kind"`
}

type scanSummary struct {
	Files       int            `json:"files"`
	References  int            `json:"references"`
	Findings    int            `json:"findings"`
	Suppressed  int            `json:"suppressed"`
	Unscannable int            `json:"unscannable"`
	ByClass     map[string]int `json:"byClass"`
}

func writeScanJSON(w io.Writer, r *scan.Report) error {
	out := scanJSON{
		Schema: scanSchema, Findings: []scanFinding{}, Unscannable: append([]scan.Unscannable{}, r.Unscannable...),
		Summary: scanSummary{r.Files, r.References, len(r.Findings), r.Suppressed, len(r.Unscannable), r.ByClass},
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		out.Findings = append(out.Findings, scanFinding{
			f.ID, f.Severity, f.Image, f.Class.String(), f.Location.File, f.Location.Line, f.Location.Column, f.Object,
			scanContainer{f.Subject.Container, f.Kind},
			f.Location.Path, f.Message, f.Fix, f.Known, f.Fingerprint(),
		})
	}
	return writeIndented(w, out)
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeScanTable prints findings by file, each with its line of the source.
func writeScanTable(w io.Writer, r *scan.Report) error {
	var b strings.Builder
	file := ""
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Known {
			continue
		}
		if f.Location.File != file {
			file = f.Location.File
			fmt.Fprintf(&b, "\n%s\n", file)
		}
		where := []string{}
		if f.Subject.Workload != "" {
			where = append(where, strings.TrimPrefix(f.Subject.Namespace+"/", "/")+f.Subject.Workload)
		}
		if f.Subject.Container != "" {
			name := f.Subject.Container
			if f.Kind != manifest.Other {
				name = string(f.Kind) + " " + name
			}
			where = append(where, name)
		}
		line := fmt.Sprintf("  %d:%d  %s  %s  %s", f.Location.Line, f.Location.Column, f.ID, f.Severity, strings.Join(where, ", "))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		source := strings.ReplaceAll(f.Source, "\t", " ")
		fmt.Fprintf(&b, "    %s\n", source)
		if strings.Contains(f.Source, f.Image) {
			fmt.Fprintf(&b, "    %s%s\n", strings.Repeat(" ", f.Location.Column-1), strings.Repeat("^", f.Location.Width))
		}
		fmt.Fprintf(&b, "    %s\n    %s\n", f.Message, f.Fix)
	}
	for _, u := range r.Unscannable {
		fmt.Fprintf(&b, "\nnot scanned  %s\n", placed(u))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	b.WriteString(scanLine(r) + "\n")
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

// scanLine sums a report up.
func scanLine(r *scan.Report) string {
	known := 0
	for i := range r.Findings {
		if r.Findings[i].Known {
			known++
		}
	}
	line := fmt.Sprintf("%s in %s: %s", plural(r.References, "image reference"), plural(r.Files, "file"), plural(len(r.Findings)-known, "finding"))
	if known > 0 {
		line += fmt.Sprintf(", %d known from the baseline", known)
	}
	if r.Suppressed > 0 {
		line += fmt.Sprintf(", %d accepted", r.Suppressed)
	}
	if len(r.Unscannable) > 0 {
		line += fmt.Sprintf(", %d not scanned", len(r.Unscannable))
	}
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(r.ByClass)) {
		classes = append(classes, fmt.Sprintf("%d %s", r.ByClass[class], class))
	}
	if len(classes) > 0 {
		line += " (" + strings.Join(classes, ", ") + ")"
	}
	return line
}
