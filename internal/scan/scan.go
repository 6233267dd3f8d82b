// Package scan finds mutable image references in files: it walks trees, has
// the references found, and says what is wrong with each.
package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/render"
)

// Config says how a scan judges.
type Config struct {
	Policy *policy.Policy
	// Now is the time that exceptions and suppressions expire by.
	Now time.Time
	// Production is whether files count as production where they name no
	// namespace.
	Production bool
	// Known has the fingerprints of findings that are known.
	Known map[string]bool
	// Resolve asks for the digest that a reference stands for now; nil leaves
	// the digest for people to find.
	Resolve func(context.Context, image.Reference) (image.Digest, error)
	// Renderer renders charts and kustomizations; nil leaves them as they are
	// written.
	Renderer *render.Renderer
}

// A Found is a finding, and what the formats need beside it.
type Found struct {
	finding.Finding
	Class  image.Class
	Object manifest.Object
	// Kind of the container: container, init, sidecar, ephemeral, volume, other.
	Kind manifest.ContainerKind
	// Source is the line that it stands in, without its end.
	Source string
	// Known is set for a finding that the baseline has.
	Known bool
}

// An Unscannable is what could not be read.
type Unscannable struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// A Report is what was found in a file, or in several.
type Report struct {
	Findings    []Found
	Unscannable []Unscannable
	Summary     Summary
}

// A Summary counts.
type Summary struct {
	Files int `json:"files"`
	// Workloads are those of a cluster.
	Workloads  int `json:"workloads,omitempty"`
	References int `json:"references"`
	// Findings are those that no comment, no exception and no baseline accepts.
	Findings int `json:"findings"`
	// Known are findings that the baseline has.
	Known int `json:"known,omitempty"`
	// Suppressed are findings that a comment or an exception accepts.
	Suppressed int `json:"suppressed"`
	// Actions are references to GitHub actions.
	Actions     int            `json:"actions,omitempty"`
	Unscannable int            `json:"unscannable"`
	ByClass     map[string]int `json:"byClass"`
}

// Add adds o to s.
func (s *Summary) Add(o *Summary) {
	s.Files += o.Files
	s.References += o.References
	s.Findings += o.Findings
	s.Known += o.Known
	s.Suppressed += o.Suppressed
	s.Unscannable += o.Unscannable
	s.Actions += o.Actions
	s.Workloads += o.Workloads
	if s.ByClass == nil {
		s.ByClass = map[string]int{}
	}
	for class, n := range o.ByClass {
		s.ByClass[class] += n
	}
}

func newReport() *Report { return &Report{Summary: Summary{ByClass: map[string]int{}}} }

func (r *Report) gap(u Unscannable) {
	r.Unscannable = append(r.Unscannable, u)
	r.Summary.Unscannable++
}

// A File is one file to look at.
type File struct {
	// Name is what it is called in the report, with slashes.
	Name string
	// Open reads it. Its error makes it unscannable.
	Open func() (io.ReadCloser, error)
	// Tree has the files beside it, in which Path is its own; nil if there are
	// none.
	Tree Tree
	Path string
	// Alone is set where the file itself was asked for: nothing is rendered.
	Alone bool
	// Only says by their paths in Tree which files are told about, of those that
	// a chart or a kustomization is made of; nil for all. What it makes is told
	// about if one of them is.
	Only func(path string) bool
}

func (f *File) told(path string) bool { return f.Only == nil || f.Only(path) }

const (
	// batch is how many files a worker takes at a time.
	batch = 8
	// resolvers is how many workers there are when registries are asked: most
	// of them wait.
	resolvers = 16
)

// Files looks at files, several at a time, and calls each with the report of
// some of them as soon as it is there, in the order of files. It ends with the
// first error of each, or of ctx.
func (c *Config) Files(ctx context.Context, files iter.Seq[File], each func(*Report) error) error {
	workers := runtime.GOMAXPROCS(0)
	if c.Resolve != nil {
		workers = resolvers
	}
	charts := charts{}
	taken := func(yield func(File) bool) {
		for f := range files {
			if charts.take(&f) && !yield(f) {
				return
			}
		}
	}
	return InOrder(ctx, workers, taken, func(ctx context.Context) func([]File) *Report {
		w := worker{config: c, ctx: ctx}
		return func(some []File) *Report {
			r := newReport()
			for _, f := range some {
				w.file(f, r)
			}
			return r
		}
	}, each)
}

// InOrder has files looked at by several workers, some files at a time, and calls
// each with what came of it as soon as it is there, in the order of files. start
// makes a worker, which is used by one goroutine. It ends with the first error of
// each, or of ctx.
func InOrder[R any](ctx context.Context, workers int, files iter.Seq[File], start func(context.Context) func([]File) R, each func(R) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type job struct {
		files []File
		done  chan R
	}
	jobs, order := make(chan job), make(chan job, 8*workers)
	var group sync.WaitGroup
	defer group.Wait() // Behind the cancel above.
	defer cancel()
	for range workers {
		group.Go(func() {
			work := start(ctx)
			for j := range jobs {
				j.done <- work(j.files)
			}
		})
	}
	group.Go(func() {
		defer close(jobs)
		defer close(order)
		var some []File
		send := func() bool {
			j := job{some, make(chan R, 1)}
			some = nil
			select {
			case order <- j:
			case <-ctx.Done():
				return false
			}
			select {
			case jobs <- j:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for f := range files {
			if some = append(some, f); len(some) == batch && !send() {
				return
			}
			if ctx.Err() != nil {
				return
			}
		}
		if len(some) > 0 {
			send()
		}
	})
	for j := range order {
		select {
		case r := <-j.done:
			if err := each(r); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// worker looks at one file after the other, with the same memory.
type worker struct {
	config *Config
	ctx    context.Context //nolint:containedctx // The worker lives as long as one scan.
	finder manifest.Finder
	buf    []byte
}

func (w *worker) file(f File, r *Report) {
	if f.told(f.Path) {
		w.written(&f, r)
	}
	w.rendered(&f, r)
}

// written looks at what stands in a file.
func (w *worker) written(f *File, r *Report) {
	r.Summary.Files++
	gap := func(reason string) { r.gap(Unscannable{File: f.Name, Reason: reason}) }
	in, err := f.Open()
	if err != nil {
		gap(reasonOf(err))
		return
	}
	w.buf, err = readInto(w.buf[:0], in)
	err = errors.Join(err, in.Close())
	switch {
	case err != nil:
		gap(reasonOf(err))
		return
	case len(w.buf) > manifest.MaxSize:
		gap(fmt.Sprintf("larger than %d MiB", manifest.MaxSize>>20))
		w.buf = nil
		return
	}
	format := manifest.Detect(f.Name)
	if format == "" {
		format = manifest.Kubernetes // It was named on the command line.
	}
	w.finder.Env = nil
	if format == manifest.Compose {
		w.finder.Env = f.env()
	}
	w.judge(r, f.Name, w.buf, w.finder.Find(format, w.buf))
	if cap(w.buf) > maxKept {
		w.buf = nil
	}
}

// env is what .env beside a file gives variables. Where it cannot be read, the
// variables are not known, which is told at each of them.
func (f *File) env() map[string]string {
	if f.Tree == nil {
		return nil
	}
	data, ok, err := f.Tree.File(path.Join(path.Dir(f.Path), ".env"))
	if err != nil || !ok {
		return nil
	}
	all, err := manifest.Env(data)
	if err != nil {
		return nil
	}
	return all
}

// maxKept is the largest buffer that is kept for the next file.
const maxKept = 1 << 20

// readInto reads all of in, and no more than is looked at.
func readInto(buf []byte, in io.Reader) ([]byte, error) {
	in = io.LimitReader(in, manifest.MaxSize+1)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := in.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// reasonOf is an error without the name of the file, which stands before it.
func reasonOf(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

// judge says what is wrong with the references of a file.
func (w *worker) judge(r *Report, name string, data []byte, found manifest.Result) {
	c := w.config
	for _, u := range found.Unscannable {
		r.gap(Unscannable{File: name, Line: u.Line, Reason: u.Reason})
	}
	slices.SortStableFunc(found.References, func(a, b manifest.Reference) int { return cmp.Compare(a.Span.Start, b.Span.Start) })
	for i := range found.References {
		ref := &found.References[i]
		one, ok := w.one(name, ref, r)
		if !ok {
			continue
		}
		one.Source = lineAt(data, ref.Span.Start)
		switch s, ok := suppression(data, ref, one.ID); {
		case ok && !s.expired(c.Now):
			r.Summary.Suppressed++
			continue
		case ok:
			one.Message += fmt.Sprintf("; the comment that accepted it expired on %s", s.until.Format(time.DateOnly))
		}
		if c.excepted(ref.Text, ref.ContainerKind, one) {
			r.Summary.Suppressed++
			continue
		}
		r.found(c, one)
	}
}

// found keeps a finding.
func (r *Report) found(c *Config, f *Found) {
	if f.Known = len(c.Known) > 0 && c.Known[f.Fingerprint()]; f.Known {
		r.Summary.Known++
	} else {
		r.Summary.Findings++
	}
	r.Findings = append(r.Findings, *f)
}

// one judges one reference.
func (w *worker) one(name string, ref *manifest.Reference, r *Report) (*Found, bool) {
	c := w.config
	if ref.Action {
		return w.action(name, ref, r)
	}
	r.Summary.References++
	fault := c.Policy.Fault(ref.Text)
	r.Summary.ByClass[fault.Class.String()]++
	production := c.Production
	if ref.Object.Namespace != "" {
		production = c.Policy.Production(ref.Object.Namespace)
	}
	f := &Found{Class: fault.Class, Object: ref.Object, Kind: ref.ContainerKind}
	f.Image = ref.Text
	f.Location = finding.Location{
		File: name, Line: ref.Span.Line, Column: ref.Span.Column, Path: ref.Path,
		Width: width(ref),
	}
	f.Subject = finding.Subject{Namespace: ref.Object.Namespace, Container: ref.Container, Kind: string(ref.ContainerKind)}
	if ref.Object.Kind != "" {
		f.Subject.Workload = ref.Object.Kind + "/" + ref.Object.Name
	}
	if fault.ID == "" {
		return nil, false
	}
	f.ID, f.Message, f.Fix = fault.ID, fault.Message, fault.Fix
	if fault.Class != image.Invalid && c.Resolve != nil {
		f.Fix = w.pinned(fault.Reference)
	}
	f.Severity = f.ID.Severity(production)
	return f, true
}

// width is how many characters of its line a reference takes.
func width(ref *manifest.Reference) int {
	if ref.Derived {
		return max(1, ref.Span.End-ref.Span.Start)
	}
	return utf8.RuneCountInString(ref.Text)
}

// commit is how a commit of git is written in full.
var commit = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// action judges a reference to a GitHub action: the tag or the branch behind
// the @ can be moved just as the tag of an image can.
func (w *worker) action(name string, ref *manifest.Reference, r *Report) (*Found, bool) {
	r.Summary.Actions++
	_, rev, _ := strings.Cut(ref.Text, "@")
	if commit.MatchString(rev) {
		return nil, false
	}
	f := &Found{Class: image.Floating, Kind: ref.ContainerKind}
	f.ID, f.Image = finding.TW11, ref.Text
	f.Severity = f.ID.Severity(w.config.Production)
	f.Location = finding.Location{
		File: name, Line: ref.Span.Line, Column: ref.Span.Column, Path: ref.Path,
		Width: utf8.RuneCountInString(ref.Text),
	}
	f.Subject = finding.Subject{Container: ref.Container, Kind: string(ref.ContainerKind)}
	f.Message = ref.Text + " is not pinned to a commit: who can move the tag or the branch " + strconv.Quote(rev) + " changes what runs"
	f.Fix = "write the commit in full, with the tag as a comment: " + strings.TrimSuffix(ref.Text, "@"+rev) + "@COMMIT # " + rev
	return f, true
}

// pinned is what to write instead of a reference, with the digest that it
// stands for now.
func (w *worker) pinned(ref image.Reference) string {
	name := ref.Familiar()
	d, err := w.config.Resolve(w.ctx, ref)
	if ref.Tag() != "" {
		name += ":" + ref.Tag()
	}
	if err != nil {
		return "write " + name + "@sha256:DIGEST; the digest could not be had: " + err.Error()
	}
	return "write " + name + "@" + d.String()
}

// excepted reports whether an exception of the policy accepts a finding. What
// makes no alert when it starts, an ephemeral container or an image in a
// development namespace, is on a list of references all the same, as something
// that can wait.
func (c *Config) excepted(text string, kind manifest.ContainerKind, f *Found) bool {
	name := ""
	if parsed, err := image.Parse(text); err == nil {
		name = parsed.Name()
	}
	d := c.Policy.Decide(policy.Subject{
		Finding: f.ID, Namespace: f.Subject.Namespace, Workload: f.Subject.Workload, Image: name, ContainerKind: string(kind),
	}, c.Now)
	if d.Action != policy.Alert {
		f.Severity = min(f.Severity, finding.Low)
	}
	return d.Exception != nil
}

// lineAt is the line that an offset stands in.
func lineAt(data []byte, at int) string {
	start, end := at, at
	for start > 0 && data[start-1] != '\n' {
		start--
	}
	for end < len(data) && data[end] != '\n' && end-start < maxLine {
		end++
	}
	return strings.TrimRight(string(data[start:end]), "\r")
}

// maxLine is how much of a line is shown.
const maxLine = 1000

// Walk goes through the files below roots in which references may be, folder by
// folder, by name. What .gitignore leaves out is left out, and so are the
// folders of dependencies; links are not followed. A root that is a file is
// taken as it is. What cannot be looked at is a File that cannot be opened.
func Walk(roots []string) iter.Seq[File] {
	return func(yield func(File) bool) {
		seen := map[string]bool{} // What was looked at, where roots can overlap.
		for _, root := range roots {
			if !walk(root, func(f File) bool {
				if len(roots) > 1 {
					if seen[f.Name] {
						return true
					}
					seen[f.Name] = true
				}
				return yield(f)
			}) {
				return
			}
		}
	}
}

func walk(root string, yield func(File) bool) bool {
	add := func(name string) bool {
		return yield(File{
			Name: filepath.ToSlash(name), Open: func() (io.ReadCloser, error) { return os.Open(name) },
			Tree: folderTree(filepath.Dir(name)), Path: filepath.Base(name), Alone: true,
		})
	}
	gap := func(name string, err error) bool {
		return yield(File{Name: filepath.ToSlash(name), Open: func() (io.ReadCloser, error) { return nil, err }})
	}
	info, err := os.Stat(root)
	switch {
	case err != nil:
		return gap(root, err)
	case !info.IsDir():
		return add(root)
	}
	ignore := newIgnore(root)
	tree := folderTree(ignore.top)
	more := true
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, name)
		if relErr != nil {
			rel = name
		}
		rel = filepath.ToSlash(rel)
		switch {
		case err != nil:
			more = gap(name, err)
			if more && d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
			if rel != "." && (skipped[d.Name()] || ignore.matches(rel, true)) {
				return fs.SkipDir
			}
			ignore.read(name, rel)
		case d.Type().IsRegular() && manifest.Detect(rel) != "" && !ignore.matches(rel, false):
			more = yield(File{
				Name: filepath.ToSlash(name), Open: func() (io.ReadCloser, error) { return os.Open(name) }, Tree: tree, Path: ignore.prefix + rel,
			})
		}
		if !more {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return gap(root, err)
	}
	return more
}

// skipped are folders that hold other people's files.
var skipped = map[string]bool{".git": true, ".hg": true, ".svn": true, "node_modules": true, "vendor": true, ".terraform": true, ".venv": true}

// Reader makes a file of what can be read once, such as stdin.
func Reader(name string, r io.Reader) File {
	var once sync.Once
	return File{Name: name, Open: func() (rc io.ReadCloser, err error) {
		err = errors.New("read already")
		once.Do(func() { rc, err = io.NopCloser(r), nil })
		return rc, err
	}}
}
