package scan

import (
	"bytes"
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/render"
)

// A Tree reads the files beside a file that is looked at, by their paths with
// slashes from the top of what is scanned. Nothing outside of it is read, and
// no link is followed.
type Tree interface {
	// File reads a file. ok is false for what is no file.
	File(name string) (data []byte, ok bool, err error)
	// Folder reads all files in a folder and below it, by their paths from
	// the folder: no more than a chart may have.
	Folder(name string) (map[string][]byte, error)
}

const chartFile = "Chart.yaml"

// charts knows the charts that a walk came by. The file that makes a folder
// a chart comes before its templates: capital letters are first.
type charts map[string]bool

// take reports whether a file is to be looked at by itself; a template is
// looked at with its chart. A chart within another is a part of that.
func (c charts) take(f *File) bool {
	if f.Tree == nil {
		return true
	}
	folder := path.Dir(f.Path)
	for at := folder; ; at = path.Dir(at) {
		if c[at] {
			below := f.Path
			if at != "." {
				below = strings.TrimPrefix(f.Path, at+"/")
			}
			if strings.HasPrefix(below, "charts/") && path.Base(below) == chartFile {
				f.Tree = nil
			}
			return !render.IsTemplate(below)
		}
		if at == "." || at == "/" {
			break
		}
	}
	if path.Base(f.Path) == chartFile {
		c[folder] = true
	}
	return true
}

// Whole reports whether a file stands for all files of its folder: for a chart
// or a kustomization, which change when one of these does.
func Whole(f File) bool {
	return f.Tree != nil && (path.Base(f.Path) == chartFile || render.IsKustomization(f.Path))
}

// rendered looks at what a file stands for together with others.
func (w *worker) rendered(f *File, r *Report) {
	switch {
	case f.Tree == nil:
	case path.Base(f.Path) == chartFile:
		w.chart(f, r)
	case render.IsKustomization(f.Path):
		w.kustomization(f, r)
	}
}

// chart looks at the templates of a chart: as they are written, and at what
// they make of its values. Of the latter, only those references are told that
// no file of the chart has in one piece: the others are told where they are.
func (w *worker) chart(f *File, r *Report) {
	folder := path.Dir(f.Path)
	at := func(name string) string { return strings.TrimSuffix(f.Name, f.Path) + path.Join(folder, name) }
	files, err := f.Tree.Folder(folder)
	if err != nil {
		r.gap(Unscannable{File: f.Name, Reason: "the chart cannot be rendered: " + reasonOf(err)})
		return
	}
	written, templates := map[string]bool{}, map[string]*manifest.Result{}
	for name, data := range files {
		format := manifest.Detect(name)
		if format == "" {
			continue
		}
		found := manifest.Find(format, data)
		for i := range found.References {
			written[found.References[i].Text] = true
		}
		if render.IsTemplate(name) {
			templates[name] = &found
		}
	}
	chart, err := render.Helm(w.ctx, files)
	if err != nil {
		r.gap(Unscannable{File: f.Name, Reason: "the chart cannot be rendered: " + err.Error()})
	} else {
		for _, found := range templates { // The chart says what they make.
			found.Unscannable = nil
			found.References = slices.DeleteFunc(found.References, func(ref manifest.Reference) bool { return strings.Contains(ref.Text, "{{") })
		}
	}
	for _, name := range chart.Missing {
		r.gap(Unscannable{File: f.Name, Reason: "the dependency " + name + " is not in charts/, so what it runs is not known; helm dependency build fetches it"})
	}
	told := map[string]bool{}
	for _, d := range chart.Documents {
		found := manifest.Find(manifest.Kubernetes, d.Data)
		for _, u := range found.Unscannable {
			name := cmp.Or(d.Template, chartFile)
			if templates[name] == nil {
				templates[name] = &manifest.Result{}
			}
			templates[name].Unscannable = append(templates[name].Unscannable, manifest.Unscannable{Reason: "rendered: " + u.Reason})
		}
		for _, ref := range found.References {
			if written[ref.Text] {
				continue
			}
			name, line, ok := render.Place(ref.Comment)
			if !ok || files[name] == nil {
				name, line = cmp.Or(d.Template, chartFile), 1
			}
			key := name + "\x00" + ref.Path + "\x00" + ref.Text + "\x00" + ref.Object.Kind + "/" + ref.Object.Name
			if told[key] {
				continue
			}
			told[key] = true
			ref.Span, ref.Derived, ref.Split, ref.Comment = valueAt(files[name], line), true, nil, ""
			if ref.Object.Namespace == render.Namespace {
				ref.Object.Namespace = ""
			}
			if templates[name] == nil {
				templates[name] = &manifest.Result{}
			}
			templates[name].References = append(templates[name].References, ref)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		if name != chartFile {
			r.Summary.Files++
		}
		w.judge(r, at(name), files[name], *templates[name])
	}
}

// valueAt are the bytes of a value of a mapping on a line; without such
// a value, all of the line.
func valueAt(data []byte, line int) manifest.Span {
	span := manifest.Span{Line: line, Column: 1}
	for text := range bytes.Lines(data) {
		if line--; line > 0 {
			span.Start += len(text)
			continue
		}
		whole := bytes.TrimRight(text, " \t\r\n")
		skip := len(whole) - len(bytes.TrimLeft(whole, " \t-"))
		if _, value, ok := bytes.Cut(whole, []byte(": ")); ok {
			skip = len(whole) - len(bytes.TrimLeft(value, " \t"))
		}
		span.Column += len([]rune(string(whole[:skip])))
		span.End = span.Start + len(whole)
		span.Start += skip
		break
	}
	return span
}

// kustomization looks at what a kustomization makes. Only those references are
// told that no file has, and no kustomization that it is built on makes.
func (w *worker) kustomization(f *File, r *Report) {
	made, err := render.Kustomize(w.ctx, f.Tree.File, path.Dir(f.Path))
	if err != nil {
		r.gap(Unscannable{File: f.Name, Reason: "the kustomization cannot be rendered: " + err.Error()})
		return
	}
	if made.Data == nil {
		return
	}
	written := map[string]bool{}
	note := func(found manifest.Result) {
		for i := range found.References {
			written[found.References[i].Text] = true
		}
	}
	for name, data := range made.Files {
		if format := manifest.Detect(name); format != "" {
			note(manifest.Find(format, data))
		}
	}
	for _, base := range made.Bases {
		// What is wrong with a base is told where it is.
		if below, err := render.Kustomize(w.ctx, f.Tree.File, base); err == nil {
			note(manifest.Find(manifest.Kubernetes, below.Data))
		}
	}
	found := manifest.Find(manifest.Kubernetes, made.Data)
	data := made.Files[path.Clean(f.Path)]
	out := manifest.Result{}
	for _, u := range found.Unscannable {
		out.Unscannable = append(out.Unscannable, manifest.Unscannable{Reason: "rendered: " + u.Reason})
	}
	for _, ref := range found.References {
		if !written[ref.Text] {
			ref.Span, ref.Derived, ref.Split, ref.Comment = valueAt(data, lineAbout(data, ref.Text)), true, nil, ""
			out.References = append(out.References, ref)
		}
	}
	w.judge(r, f.Name, data, out)
}

// lineAbout finds the line of a kustomization that has to do with a reference:
// one with its repository or its tag.
func lineAbout(data []byte, text string) int {
	parts := []string{text}
	if ref, err := image.Parse(text); err == nil {
		parts = append(parts, ref.Familiar(), ref.Name(), ref.Tag())
	}
	for _, part := range parts {
		if i := bytes.Index(data, []byte(part)); part != "" && i >= 0 {
			return 1 + bytes.Count(data[:i], []byte("\n"))
		}
	}
	return 1
}
