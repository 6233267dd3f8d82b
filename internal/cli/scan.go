package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/scan"
	"github.com/tagwarden/tagwarden/internal/source/kube"
)

type scanFlags struct {
	policy         string
	baseline       string
	changedSince   string
	production     bool
	allowUnscanned bool
	resolve        bool
	failOn, output *string
	registry       *registryFlags

	cluster             bool
	kubeconfig, context string
	name, namespace     string
	selector            string
}

func newScan(env Env) *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan [PATH... | - | git:REV[:FOLDER] | --cluster]",
		Short: "Find mutable image references in files or in a cluster",
		Long: `Scan finds image references and says which ones can come to mean other bytes:
F-01 for no tag, "latest" and tags that move; TW-02 for a fixed tag without a
digest; TW-09 for what no runtime can pull; TW-11 for GitHub actions that are not
pinned to a commit.

It reads Kubernetes manifests and lists, custom resources, Helm charts and values,
Kustomize, Compose, Dockerfiles, GitHub Actions, GitLab CI, CircleCI, Tekton,
devcontainer, Skaffold and Terraform files. Without PATH it looks at the working
directory. What .gitignore leaves out is left out, and so are node_modules, vendor
and .terraform. Links are not followed. With "-" it reads manifests from stdin, and
with git:REV the files of a revision, without checking it out.

With --cluster it reads the workloads and pods of a cluster, and reports each
workload once. It needs list on what it reads; what it may not list it says.

A comment accepts a finding on its line or the one below, until a day:
  # tagwarden:ignore F-01 until=2027-01-31 reason="…" ticket=SHOP-1
So does an exception in tagwarden.yaml.

Exit status 1 with a finding at or above --fail-on, 3 when a file, or a part of
one, could not be read, unless --allow-unscannable.`,
		Example: `  tagwarden scan
  tagwarden scan deploy/ -o sarif > scan.sarif
  helm template chart/ | tagwarden scan -
  tagwarden scan --changed-since origin/main -o github
  tagwarden scan git:v1.4.0:deploy
  tagwarden scan --cluster -n shop --resolve`,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.StringVar(&f.baseline, "baseline", "", "`file` that \"scan -o json\" wrote: only findings that are not in it make the exit status 1")
	flags.StringVar(&f.changedSince, "changed-since", "", "only files that differ from this git `revision`")
	flags.BoolVar(&f.production, "production", false, "what names no namespace counts as production")
	flags.BoolVar(&f.allowUnscanned, "allow-unscannable", false, "what could not be read does not make the exit status 3")
	flags.BoolVar(&f.resolve, "resolve", false, "ask registries for the digest to write (one request a reference)")
	flags.BoolVar(&f.cluster, "cluster", false, "look at a cluster instead of files")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVar(&f.name, "cluster-name", "", "`name` of the cluster in findings (default: the one in the kubeconfig)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "one namespace of the cluster only")
	flags.BoolP("all-namespaces", "A", false, "all namespaces of the cluster (the default)")
	flags.StringVarP(&f.selector, "selector", "l", "", "only objects of the cluster with these `labels`")
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	cmd.MarkFlagsMutuallyExclusive("cluster", "changed-since")
	f.registry = addRegistryFlags(cmd)
	f.failOn = choiceFlag(cmd, "fail-on", "least severity that makes the exit status 1", "low", "none", "info", "medium", "high", "critical")
	f.output = outputFlag(cmd, "table", "json", "sarif", "junit", "markdown", "github", "gitlab")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, name := range []string{"kubeconfig", "context", "cluster-name", "namespace", "all-namespaces", "selector"} {
			ofSecret := len(f.registry.secrets) > 0 && (name == "kubeconfig" || name == "context")
			if !f.cluster && !ofSecret && cmd.Flags().Changed(name) {
				return usage("--%s is for a cluster; add --cluster", name)
			}
		}
		if f.cluster && len(args) > 0 {
			return usage("--cluster looks at a cluster instead of files; leave out %s", args[0])
		}
		return f.run(cmd.Context(), env, args)
	}
	return cmd
}

func (f *scanFlags) run(ctx context.Context, env Env, args []string) error {
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	known, err := readScanBaseline(f.baseline)
	if err != nil {
		return err
	}
	// Little is kept from file to file: less collecting saves a fifth of the time.
	const gcPercent = 200
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	con := newConsole(env)
	renderer := newRenderer()
	defer renderer.Close()
	cfg := &scan.Config{Policy: pol, Now: env.Now(), Production: f.production, Known: known, Renderer: renderer}
	if f.resolve {
		client, err := f.registry.client(newLog(con), nil)
		if err != nil {
			return err
		}
		cfg.Resolve = func(ctx context.Context, ref image.Reference) (image.Digest, error) {
			got, err := client.Resolve(ctx, ref)
			return got.Digest, err
		}
	}
	out := &scanOutput{
		w: bufio.NewWriter(env.Stdout), format: newScanFormat(*f.output),
		progress: newProgress(env), failOn: *f.failOn,
	}
	if f.cluster {
		err = f.lookAtCluster(ctx, con, cfg, out)
	} else {
		err = f.lookAtFiles(ctx, env, cfg, args, out)
	}
	if err := errors.Join(err, out.end()); err != nil {
		return err
	}
	return f.status(env, out)
}

func (f *scanFlags) lookAtFiles(ctx context.Context, env Env, cfg *scan.Config, args []string, out *scanOutput) error {
	files, err := f.files(ctx, env, args)
	if err != nil {
		return err
	}
	return cfg.Files(ctx, files, out.add)
}

func (f *scanFlags) lookAtCluster(ctx context.Context, con *console, cfg *scan.Config, out *scanOutput) error {
	src, err := kube.New(kube.Config{
		Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, Cluster: f.name, Log: newLog(con),
	})
	if err != nil {
		return err
	}
	all := &scan.Cluster{Name: src.Cluster()}
	err = src.Pages(ctx, f.selector, func(k kube.Kind, page []byte) error {
		return all.Add(k.Name, k.APIVersion, page)
	}, func(what string, reason error) { all.Gap(what, reason.Error()) })
	if err != nil {
		return err
	}
	return out.add(cfg.Report(ctx, all))
}

// scanOutput writes reports as they come, and keeps what the exit status needs.
type scanOutput struct {
	w        *bufio.Writer
	format   scanFormat
	progress *progress
	failOn   string
	total    scan.Summary
	gaps     []scan.Unscannable // the first of them
	failed   bool
}

func (o *scanOutput) add(r *scan.Report) error {
	o.total.Add(&r.Summary)
	if room := maxBadLines - len(o.gaps); room > 0 {
		o.gaps = append(o.gaps, r.Unscannable[:min(room, len(r.Unscannable))]...)
	}
	if least, err := finding.ParseSeverity(o.failOn); err == nil { // It may be none.
		o.failed = o.failed || slices.ContainsFunc(r.Findings, func(x scan.Found) bool { return !x.Known && x.Severity >= least })
	}
	o.progress.show(func() string {
		return fmt.Sprintf("%s, %s", plural(o.total.Files, "file"), plural(o.total.Findings, "finding"))
	})
	if err := o.format.add(o.w, r); err != nil {
		return err
	}
	return o.w.Flush()
}

func (o *scanOutput) end() error {
	o.progress.clear()
	return errors.Join(o.format.end(o.w, &o.total), o.w.Flush())
}

// status is the exit status. What could not be read goes before findings: it is
// the worse news.
func (f *scanFlags) status(env Env, o *scanOutput) error {
	if n := o.total.Unscannable; n > 0 && !f.allowUnscanned {
		if *f.output != "table" {
			for _, u := range o.gaps {
				say(env, "tagwarden: %s\n", placed(u))
			}
		}
		return &statusError{exitFailed, fmt.Errorf("%s could not be scanned", plural(n, "place"))}
	}
	if o.failed {
		return &statusError{status: exitFindings}
	}
	return nil
}

// progress is a line on a terminal that says how far the work is. There is none
// where the output goes to the same terminal.
type progress struct {
	w    io.Writer // nil for none
	last time.Time
	now  func() time.Time
}

func newProgress(env Env) *progress {
	p := &progress{now: time.Now}
	if isTerminal(env.Stderr) && !isTerminal(env.Stdout) {
		p.w, p.last = env.Stderr, p.now()
	}
	return p
}

func (p *progress) show(text func() string) {
	const every = 200 * time.Millisecond
	if p.w == nil || p.now().Sub(p.last) < every {
		return
	}
	p.last = p.now()
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text()) // Nothing is lost with it.
}

func (p *progress) clear() {
	if p.w != nil {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// where is the place of a finding: in a file, or in a cluster.
func where(f *scan.Found) string {
	if f.Location.Line == 0 {
		return strings.TrimPrefix(f.Subject.Namespace+"/"+f.Subject.Workload, "/")
	}
	return fmt.Sprintf("%s:%d:%d", f.Location.File, f.Location.Line, f.Location.Column)
}

// placed is what could not be read, with its place.
func placed(u scan.Unscannable) string {
	if u.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", u.File, u.Line, u.Reason)
	}
	return u.File + ": " + u.Reason
}

// files are those to look at.
func (f *scanFlags) files(ctx context.Context, env Env, args []string) (iter.Seq[scan.File], error) {
	if slices.Equal(args, []string{"-"}) {
		if f.changedSince != "" {
			return nil, usage("--changed-since is for files, not for stdin")
		}
		in := interruptible(env.Stdin)
		context.AfterFunc(ctx, func() { _ = in.Close() })
		return slices.Values([]scan.File{{Name: "stdin", Open: func() (io.ReadCloser, error) { return in, nil }}}), nil
	}
	if slices.Contains(args, "-") {
		return nil, usage("'-' reads stdin; give it alone")
	}
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "git:") }); i >= 0 {
		if len(args) > 1 || f.changedSince != "" {
			return nil, usage("%s is a revision; give it alone", args[i])
		}
		rev, folder, _ := strings.Cut(strings.TrimPrefix(args[i], "git:"), ":")
		return scan.Revision(ctx, rev, folder)
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	all := scan.Walk(args)
	if f.changedSince == "" {
		return all, nil
	}
	changed, err := scan.ChangedSince(ctx, f.changedSince)
	if err != nil {
		return nil, fmt.Errorf("--changed-since %s: %w", f.changedSince, err)
	}
	return func(yield func(scan.File) bool) {
		for x := range all {
			place := x.Name
			if x.Tree != nil {
				place = x.Tree.Place(x.Path)
			}
			abs, err := filepath.Abs(filepath.FromSlash(place))
			if scan.Whole(&x) {
				x.Only = func(path string) bool { return changed[x.Tree.Place(path)] }
			} else if err == nil && !changed[abs] {
				continue
			}
			if !yield(x) {
				return
			}
		}
	}, nil
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

// scanSchema names the JSON form of a report. Keys are added, never renamed.
const scanSchema = "tagwarden.scan/v1"

type scanJSON struct {
	Schema      string             `json:"schema"`
	Findings    []scanFinding      `json:"findings"`
	Unscannable []scan.Unscannable `json:"unscannable"`
	Summary     scan.Summary       `json:"summary"`
}

type scanFinding struct {
	ID        finding.ID       `json:"id"`
	Severity  finding.Severity `json:"severity"`
	Image     string           `json:"image"`
	Class     string           `json:"class"`
	File      string           `json:"file"`
	Line      int              `json:"line"`
	Column    int              `json:"column"`
	Cluster   string           `json:"cluster,omitempty"`
	Object    manifest.Object  `json:"object"`
	Container scanContainer    `json:"container"`
	Path      string           `json:"path"`
	Message   string           `json:"message"`
	Fix       string           `json:"fix"`
	// Evidence says what runs, for what was found in a cluster.
	Evidence    []finding.Evidence `json:"evidence,omitempty"`
	Known       bool               `json:"known,omitempty"`
	Fingerprint string             `json:"fingerprint"`
}

type scanContainer struct {
	Name string                 `json:"name"`
	Kind manifest.ContainerKind `json:"kind"`
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// A scanFormat writes reports as they come.
type scanFormat interface {
	add(w io.Writer, r *scan.Report) error
	end(w io.Writer, total *scan.Summary) error
}

func newScanFormat(output string) scanFormat {
	switch output {
	case "json":
		return &jsonScan{}
	case "sarif":
		return &collected{write: writeSARIF}
	case "junit":
		return &collected{write: writeJUnit}
	case "markdown":
		return &collected{write: writeScanMarkdown}
	case "github":
		return githubScan{}
	case "gitlab":
		return &gitlabScan{}
	}
	return &tableScan{}
}

// collected is a format whose begin depends on its end.
type collected struct {
	all   scan.Report
	write func(io.Writer, *scan.Report) error
}

func (c *collected) add(_ io.Writer, r *scan.Report) error {
	c.all.Findings = append(c.all.Findings, r.Findings...)
	c.all.Unscannable = append(c.all.Unscannable, r.Unscannable...)
	return nil
}

func (c *collected) end(w io.Writer, total *scan.Summary) error {
	c.all.Summary = *total
	return c.write(w, &c.all)
}

// list writes the members of a JSON array as they come, a line each.
type list struct {
	indent string
	some   bool
}

func (l *list) add(w io.Writer, v any) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	sep := ",\n"
	if !l.some {
		l.some, sep = true, "\n"
	}
	_, err := io.WriteString(w, sep+l.indent+strings.TrimSuffix(b.String(), "\n"))
	return err
}

func (l *list) end() string {
	if !l.some {
		return "]"
	}
	return "\n" + strings.TrimSuffix(l.indent, "  ") + "]"
}

// jsonScan writes scanJSON.
type jsonScan struct {
	begun    bool
	findings list
	gaps     []scan.Unscannable
}

func (j *jsonScan) begin(w io.Writer) error {
	if j.begun {
		return nil
	}
	j.begun, j.findings.indent = true, "    "
	_, err := fmt.Fprintf(w, "{\n  \"schema\": %q,\n  \"findings\": [", scanSchema)
	return err
}

func (j *jsonScan) add(w io.Writer, r *scan.Report) error {
	if err := j.begin(w); err != nil {
		return err
	}
	j.gaps = append(j.gaps, r.Unscannable...)
	for i := range r.Findings {
		f := &r.Findings[i]
		object := f.Object
		if f.Subject.Namespace != "" {
			object.Namespace = f.Subject.Namespace
		}
		err := j.findings.add(w, scanFinding{
			f.ID, f.Severity, f.Image, f.Class.String(), f.Location.File, f.Location.Line, f.Location.Column, f.Subject.Cluster, object,
			scanContainer{f.Subject.Container, f.Kind},
			f.Location.Path, f.Message, f.Fix, f.Evidence, f.Known, f.Fingerprint(),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonScan) end(w io.Writer, total *scan.Summary) error {
	if err := j.begin(w); err != nil {
		return err
	}
	if total.ByClass == nil {
		total.ByClass = map[string]int{}
	}
	gaps, sum := list{indent: "    "}, list{}
	if _, err := io.WriteString(w, j.findings.end()+",\n  \"unscannable\": ["); err != nil {
		return err
	}
	for _, u := range j.gaps {
		if err := gaps.add(w, u); err != nil {
			return err
		}
	}
	var b strings.Builder
	if err := sum.add(&b, total); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s,\n  \"summary\": %s\n}\n", gaps.end(), strings.TrimSpace(b.String()))
	return err
}

// tableScan prints findings by file, each with its line of the source.
type tableScan struct {
	file string
	some bool
}

func (t *tableScan) add(w io.Writer, r *scan.Report) error {
	var b strings.Builder
	for i := range r.Findings {
		if f := &r.Findings[i]; !f.Known {
			t.finding(&b, f)
		}
	}
	for _, u := range r.Unscannable {
		t.section(&b)
		fmt.Fprintf(&b, "not scanned  %s\n", inLine(placed(u)))
		t.file = ""
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// section leaves a line empty between files.
func (t *tableScan) section(b *strings.Builder) {
	if t.some {
		b.WriteString("\n")
	}
	t.some = true
}

func (t *tableScan) finding(b *strings.Builder, f *scan.Found) {
	file := f.Location.File
	if file == "" {
		file = strings.TrimSpace("cluster " + f.Subject.Cluster)
	}
	if file != t.file {
		t.section(b)
		t.file = file
		b.WriteString(inLine(file) + "\n")
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
	place := ""
	if f.Location.Line > 0 {
		place = fmt.Sprintf("%d:%d  ", f.Location.Line, f.Location.Column)
	}
	line := fmt.Sprintf("  %s%s  %s  %s", place, f.ID, f.Severity, inLine(strings.Join(where, ", ")))
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	if f.Location.Line > 0 {
		source, from, width := underlined(f)
		fmt.Fprintf(b, "    %s\n", source)
		if width > 0 {
			fmt.Fprintf(b, "    %s%s\n", strings.Repeat(" ", from), strings.Repeat("^", width))
		}
	}
	fmt.Fprintf(b, "    %s\n    %s\n", inLine(f.Message), inLine(f.Fix))
}

func (t *tableScan) end(w io.Writer, total *scan.Summary) error {
	var b strings.Builder
	if t.some {
		b.WriteString("\n")
	}
	b.WriteString(scanLine(total) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// maxShown is how much of a line is shown, in characters.
const maxShown = 160

// underlined is the part of the line of the source around a reference, and
// where the reference is in it, in characters; width is 0 if it is elsewhere.
func underlined(f *scan.Found) (source string, from, width int) {
	line := []rune(inLine(f.Source))
	from, width = f.Location.Column-1, f.Location.Width
	if !strings.Contains(f.Source, f.Image) || from+width > len(line) {
		width = 0
	}
	if len(line) <= maxShown {
		return string(line), from, width
	}
	start := max(0, min(from-maxShown/2, len(line)-maxShown))
	width = min(width, start+maxShown-from)
	return string(line[start:min(len(line), start+maxShown)]), from - start, max(0, width)
}

// inLine is text for one line of a terminal: what would move its cursor or
// change its state becomes a question mark.
func inLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// scanLine sums a report up.
func scanLine(s *scan.Summary) string {
	line := plural(s.References, "image reference")
	if s.Workloads > 0 {
		line += " in " + plural(s.Workloads, "workload")
	} else {
		line += " in " + plural(s.Files, "file")
	}
	line += ": " + plural(s.Findings, "finding")
	if s.Known > 0 {
		line += fmt.Sprintf(", %d known from the baseline", s.Known)
	}
	if s.Suppressed > 0 {
		line += fmt.Sprintf(", %d accepted", s.Suppressed)
	}
	if s.Unscannable > 0 {
		line += fmt.Sprintf(", %d not scanned", s.Unscannable)
	}
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(s.ByClass)) {
		classes = append(classes, fmt.Sprintf("%d %s", s.ByClass[class], class))
	}
	if s.Actions > 0 {
		classes = append(classes, plural(s.Actions, "action"))
	}
	if len(classes) > 0 {
		line += " (" + strings.Join(classes, ", ") + ")"
	}
	return line
}
