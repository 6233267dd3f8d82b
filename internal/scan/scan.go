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
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/policy"
)

// Config says how a scan judges.
type Config struct {
	Policy *policy.Policy
	// Now is the time that exceptions and suppressions expire by.
	Now time.Time
	// Production is whether files count as production where they name no
	// namespace.
	Production bool
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

// A Report is the outcome of a scan. Its order is that of the paths and lines.
type Report struct {
	Findings    []Found
	Unscannable []Unscannable
	// Suppressed are findings that a comment or an exception accepts.
	Suppressed int
	Files      int
	References int
	ByClass    map[string]int
}

// A File is one file to look at.
type File struct {
	// Name is what it is called in the report, with slashes.
	Name string
	Open func() (io.ReadCloser, error)
}

// Files looks at files, several at a time, and puts the outcome into the order
// of files.
func (c *Config) Files(ctx context.Context, files []File) (*Report, error) {
	results := make([]*Report, len(files))
	var group errgroup.Group
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := range files {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			var buf []byte
			for i := range next {
				results[i], buf = c.file(files[i], buf)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := &Report{ByClass: map[string]int{}}
	for _, r := range results {
		all.add(r)
	}
	return all, nil
}

func (r *Report) add(o *Report) {
	r.Findings = append(r.Findings, o.Findings...)
	r.Unscannable = append(r.Unscannable, o.Unscannable...)
	r.Suppressed += o.Suppressed
	r.Files += o.Files
	r.References += o.References
	for class, n := range o.ByClass {
		r.ByClass[class] += n
	}
}

// file looks at one file. buf is used again from file to file.
func (c *Config) file(f File, buf []byte) (*Report, []byte) {
	r := &Report{Files: 1, ByClass: map[string]int{}}
	gap := func(reason string) (*Report, []byte) {
		r.Unscannable = append(r.Unscannable, Unscannable{File: f.Name, Reason: reason})
		return r, buf
	}
	in, err := f.Open()
	if err != nil {
		return gap(reasonOf(err))
	}
	buf, err = readInto(buf[:0], in)
	err = errors.Join(err, in.Close())
	switch {
	case err != nil:
		return gap(reasonOf(err))
	case len(buf) > manifest.MaxSize:
		return gap(fmt.Sprintf("larger than %d MiB", manifest.MaxSize>>20))
	}
	format := manifest.Detect(f.Name)
	if format == "" {
		format = manifest.Kubernetes // It was named on the command line.
	}
	c.judge(r, f.Name, buf, manifest.Find(format, buf))
	return r, buf
}

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
func (c *Config) judge(r *Report, name string, data []byte, found manifest.Result) {
	for _, u := range found.Unscannable {
		r.Unscannable = append(r.Unscannable, Unscannable{File: name, Line: u.Line, Reason: u.Reason})
	}
	slices.SortStableFunc(found.References, func(a, b manifest.Reference) int { return cmp.Compare(a.Span.Start, b.Span.Start) })
	for i := range found.References {
		ref := &found.References[i]
		r.References++
		line := lineAt(data, ref.Span.Start)
		one, class, ok := c.one(name, ref)
		r.ByClass[class.String()]++
		if !ok {
			continue
		}
		one.Source = line
		switch s, ok := suppression(data, ref, one.ID); {
		case ok && !s.expired(c.Now):
			r.Suppressed++
			continue
		case ok:
			one.Message += fmt.Sprintf("; the comment that accepted it expired on %s", s.until.Format(time.DateOnly))
		}
		if c.excepted(ref, one) {
			r.Suppressed++
			continue
		}
		r.Findings = append(r.Findings, *one)
	}
}

// one judges one reference.
func (c *Config) one(name string, ref *manifest.Reference) (*Found, image.Class, bool) {
	parsed, err := image.Parse(ref.Text)
	class, why := image.Invalid, ""
	if err == nil {
		class, why = parsed.Class()
	}
	production := c.Production
	if ref.Object.Namespace != "" {
		production = c.Policy.Production(ref.Object.Namespace)
	}
	f := &Found{Class: class, Object: ref.Object, Kind: ref.ContainerKind}
	f.Image = ref.Text
	f.Location = finding.Location{
		File: name, Line: ref.Span.Line, Column: ref.Span.Column, Path: ref.Path,
		Width: utf8.RuneCountInString(ref.Text),
	}
	f.Subject = finding.Subject{Namespace: ref.Object.Namespace, Container: ref.Container, Kind: string(ref.ContainerKind)}
	if ref.Object.Kind != "" {
		f.Subject.Workload = ref.Object.Kind + "/" + ref.Object.Name
	}
	switch class {
	case image.Pinned:
		return nil, class, false
	case image.Invalid:
		f.ID, f.Message = finding.TW09, fmt.Sprintf("%s is no image reference: %v", ref.Text, parseReason(err))
		f.Fix = "write registry/repository:tag@sha256:DIGEST, with a digest of 64 lower-case hex digits"
	case image.Fixed:
		f.ID, f.Message = finding.TW02, fmt.Sprintf("%s is not pinned to a digest: %s", ref.Text, why)
		f.Fix = pinned(parsed)
	default:
		f.ID, f.Message = finding.F01, fmt.Sprintf("%s is mutable: %s", ref.Text, why)
		f.Fix = pinned(parsed)
	}
	f.Severity = f.ID.Severity(production)
	return f, class, true
}

// pinned is what to write instead of a reference.
func pinned(ref image.Reference) string {
	name := ref.Familiar()
	if ref.Tag() == "" || strings.EqualFold(ref.Tag(), "latest") {
		return "write " + name + ":VERSION@sha256:DIGEST; tagwarden image resolve " + name + ":VERSION prints the digest"
	}
	name += ":" + ref.Tag()
	return "write " + name + "@sha256:DIGEST; tagwarden image resolve " + name + " prints the digest"
}

// parseReason is why a text is no reference, without the text.
func parseReason(err error) string {
	if parse, ok := errors.AsType[*image.ParseError](err); ok {
		return parse.Reason
	}
	return err.Error()
}

// excepted reports whether the policy accepts a finding.
func (c *Config) excepted(ref *manifest.Reference, f *Found) bool {
	name := ""
	if parsed, err := image.Parse(ref.Text); err == nil {
		name = parsed.Name()
	}
	kind := string(ref.ContainerKind)
	d := c.Policy.Decide(policy.Subject{
		Finding: f.ID, Namespace: ref.Object.Namespace, Workload: f.Subject.Workload, Image: name, ContainerKind: kind,
	}, c.Now)
	switch d.Action {
	case policy.Mute:
		return true
	case policy.Lower:
		f.Severity = min(f.Severity, finding.Low)
	}
	return false
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

// Walk lists the files below roots in which references may be. What .gitignore
// leaves out is left out, and so are the folders of dependencies; links are
// not followed. A root that is a file is taken as it is.
func Walk(roots []string) (files []File, gaps []Unscannable) {
	seen := map[string]bool{}
	add := func(name string) {
		slash := filepath.ToSlash(name)
		if !seen[slash] {
			seen[slash] = true
			files = append(files, File{Name: slash, Open: func() (io.ReadCloser, error) { return os.Open(name) }})
		}
	}
	for _, root := range roots {
		info, err := os.Stat(root)
		switch {
		case err != nil:
			gaps = append(gaps, Unscannable{File: filepath.ToSlash(root), Reason: reasonOf(err)})
			continue
		case !info.IsDir():
			add(root)
			continue
		}
		ignore := newIgnore(root)
		err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			rel, relErr := filepath.Rel(root, name)
			if relErr != nil {
				rel = name
			}
			rel = filepath.ToSlash(rel)
			switch {
			case err != nil:
				gaps = append(gaps, Unscannable{File: filepath.ToSlash(name), Reason: reasonOf(err)})
				if d != nil && d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.IsDir():
				if rel != "." && (skipped[d.Name()] || ignore.matches(rel, true)) {
					return fs.SkipDir
				}
				ignore.read(name, rel)
				return nil
			case !d.Type().IsRegular() || manifest.Detect(rel) == "" || ignore.matches(rel, false):
				return nil
			}
			add(name)
			return nil
		})
		if err != nil {
			gaps = append(gaps, Unscannable{File: filepath.ToSlash(root), Reason: reasonOf(err)})
		}
	}
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return files, gaps
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

// Baseline marks the findings whose fingerprint is among known.
func (r *Report) Baseline(known map[string]bool) {
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Known = known[f.Fingerprint()]
	}
}
