package scan

import (
	"bytes"
	"cmp"
	"errors"
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
	// Folder reads the files in a folder and below it that keep wants, by their
	// paths from the folder: no more than a chart may have. ignored has those
	// that git leaves out.
	Folder(name string, keep func(path string) bool) (files map[string][]byte, ignored map[string]bool, err error)
	// Place is what a file is called outside of the tree.
	Place(name string) string
}

const chartFile = "Chart.yaml"

// charts knows the charts that a walk came by, by their trees. The file that
// makes a folder a chart comes before its templates: capital letters are first.
type charts map[Tree]map[string]bool

// take reports whether a file is to be looked at by itself; a template and the
// values of a chart are looked at with it. A chart within another is a part of
// that.
func (c charts) take(f *File) bool {
	if f.Tree == nil || f.Alone {
		return true
	}
	known := c[f.Tree]
	folder := path.Dir(f.Path)
	for at := folder; ; at = path.Dir(at) {
		if known[at] {
			below := f.Path
			if at != "." {
				below = strings.TrimPrefix(f.Path, at+"/")
			}
			if strings.HasPrefix(below, "charts/") && path.Base(below) == chartFile {
				f.Alone = true
			}
			return !withChart(below)
		}
		if at == "." || at == "/" {
			break
		}
	}
	if path.Base(f.Path) == chartFile {
		if known == nil {
			known = map[string]bool{}
			c[f.Tree] = known
		}
		known[folder] = true
	}
	return true
}

// withChart reports whether a file of a chart, by its path from there, is looked
// at with the chart: templates, and the values that they are rendered with.
func withChart(below string) bool {
	return render.IsTemplate(below) || render.IsValues(below)
}

// partOfChart reports whether a file is one that makes manifests, of those in
// the folder of a chart.
func partOfChart(below string) bool {
	top, _, _ := strings.Cut(below, "/")
	switch top {
	case chartFile, "Chart.lock", "values.yaml", "requirements.yaml", ".helmignore", "templates", "charts", "crds":
		return true
	}
	return false
}

// Whole reports whether a file stands for others, too: for those of a chart or
// a kustomization, which change when one of these does.
func Whole(f *File) bool {
	return f.Tree != nil && !f.Alone && (path.Base(f.Path) == chartFile || render.IsKustomization(f.Path))
}

// rendered looks at what a file stands for together with others.
func (w *worker) rendered(f *File, r *Report) {
	switch {
	case f.Tree == nil, f.Alone, w.config.Renderer == nil:
	case path.Base(f.Path) == chartFile:
		w.chart(f, r)
	case render.IsKustomization(f.Path):
		w.kustomization(f, r)
	}
}

// chart looks at the templates of a chart: as they are written, and at what
// they make of its values. Of the latter, only those references are told that
// neither the template nor the values have in one piece: the others are told
// where they are.
func (w *worker) chart(f *File, r *Report) {
	folder := path.Dir(f.Path)
	files, ignored, err := f.Tree.Folder(folder, func(string) bool { return true })
	if errors.Is(err, errLarge) { // There is more in the folder than a chart.
		files, ignored, err = f.Tree.Folder(folder, partOfChart)
	}
	if err != nil {
		r.gap(Unscannable{File: f.Name, Reason: "the chart cannot be rendered: " + reasonOf(err)})
		return
	}
	// Dependencies beside the chart, which are looked at by themselves, too.
	beside := map[string]string{}
	for name, local := range render.LocalDependencies(files) {
		in, place := "charts/"+name+"/", path.Join(folder, local)
		if place == ".." || strings.HasPrefix(place, "../") || files[in+chartFile] != nil {
			continue
		}
		more, _, err := f.Tree.Folder(place, partOfChart)
		if err != nil {
			continue // It is missing.
		}
		for below, data := range more {
			files[in+below], beside[in+below] = data, path.Join(local, below)
		}
	}
	at := func(name string) string { return path.Join(path.Dir(f.Name), cmp.Or(beside[name], name)) }
	// What the values have, what each template has, and what is told with the
	// chart.
	values, templates, parts := map[string]bool{}, map[[2]string]bool{}, map[string]*manifest.Result{}
	some := f.Only == nil
	for _, name := range slices.Sorted(maps.Keys(files)) {
		some = some || f.told(path.Join(folder, cmp.Or(beside[name], name)))
		format := manifest.Detect(name)
		isTemplate := render.IsTemplate(name)
		if format == "" || !withChart(name) || ignored[name] && !isTemplate {
			continue
		}
		found := w.finder.Find(format, files[name])
		for i := range found.References {
			if text := found.References[i].Text; isTemplate {
				templates[[2]string{name, text}] = true
			} else {
				values[text] = true
			}
		}
		if beside[name] == "" {
			parts[name] = &found
		}
	}
	if !some {
		return
	}
	chart, err := w.config.Renderer.Helm(w.ctx, files)
	if err != nil {
		r.gap(Unscannable{File: f.Name, Reason: "the chart cannot be rendered: " + err.Error()})
	} else {
		for _, found := range parts { // The chart says what they make.
			found.Unscannable = nil
			found.References = slices.DeleteFunc(found.References, func(ref manifest.Reference) bool { return strings.Contains(ref.Text, "{{") })
		}
	}
	for name, found := range parts {
		if !f.told(path.Join(folder, name)) {
			*found = manifest.Result{}
		}
	}
	for _, name := range chart.Missing {
		r.gap(Unscannable{File: f.Name, Reason: "the dependency " + name + " is not in charts/, so what it runs is not known; helm dependency build fetches it"})
	}
	told, made := map[string]bool{}, map[string]bool{}
	for _, d := range chart.Documents {
		found := w.finder.Find(manifest.Kubernetes, d.Data)
		for _, u := range found.Unscannable {
			name := cmp.Or(d.Template, chartFile)
			if parts[name] == nil {
				parts[name] = &manifest.Result{}
			}
			parts[name].Unscannable = append(parts[name].Unscannable, manifest.Unscannable{Reason: "rendered: " + u.Reason})
		}
		for _, ref := range found.References {
			made[ref.Text] = true
			name, line, ok := render.Place(ref.Comment)
			if !ok || files[name] == nil {
				name, line = cmp.Or(d.Template, chartFile), 1
			}
			if values[ref.Text] || templates[[2]string{name, ref.Text}] {
				continue
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
			if parts[name] == nil {
				parts[name] = &manifest.Result{}
			}
			parts[name].References = append(parts[name].References, ref)
		}
	}
	for name, found := range parts {
		if render.IsValues(name) {
			found.References = slices.DeleteFunc(found.References, func(ref manifest.Reference) bool { return tagElsewhere(&ref, made) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if name != chartFile && f.told(path.Join(folder, name)) {
			r.Summary.Files++
		}
		w.judge(r, at(name), files[name], *parts[name])
	}
}

// tagElsewhere reports whether the values of a chart name a repository alone, and
// the templates put a tag to it: what they make is told.
func tagElsewhere(ref *manifest.Reference, made map[string]bool) bool {
	if s := ref.Split; s == nil || s.Tag != (manifest.Span{}) || s.Digest != (manifest.Span{}) || made[ref.Text] {
		return false
	}
	for text := range made {
		if strings.HasPrefix(text, ref.Text+":") || strings.HasPrefix(text, ref.Text+"@") {
			return true
		}
	}
	return false
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
	made, err := w.config.Renderer.Kustomize(w.ctx, f.Tree.File, path.Dir(f.Path))
	some := f.Only == nil
	for name := range made.Files {
		some = some || f.told(name)
	}
	if !some {
		return
	}
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
			note(w.finder.Find(format, data))
		}
	}
	for _, base := range made.Bases {
		// What is wrong with a base is told where it is.
		if below, err := w.config.Renderer.Kustomize(w.ctx, f.Tree.File, base); err == nil {
			note(w.finder.Find(manifest.Kubernetes, below.Data))
		}
	}
	found := w.finder.Find(manifest.Kubernetes, made.Data)
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
