package render

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

const (
	// release is the name that a chart is rendered for, the one of
	// "helm template" without a name.
	release = "release-name"
	// Namespace stands in rendered manifests for the namespace of the release,
	// which only an installation has.
	Namespace = "namespace-of-the-release"
)

// A Document is what one template of a chart makes.
type Document struct {
	// Template is the file that it is of, from the folder of the chart; "" for
	// a template in an archive.
	Template string
	Data     []byte
}

// A Chart is a rendered chart.
type Chart struct {
	// Documents are sorted by their templates.
	Documents []Document
	// Missing are the dependencies that are not among the files of the chart,
	// as "name version". What they run is not known.
	Missing []string
}

// Helm renders a chart with its own values, as "helm template" does, without a
// cluster. files are all files of the chart, by their paths from its folder.
//
// Lines of templates that have an image carry in the result a comment that
// [Place] reads.
func (r *Renderer) Helm(ctx context.Context, files map[string][]byte) (Chart, error) {
	a, err := r.ask(ctx, &request{Files: files})
	return a.Chart, err
}

func helm(files map[string][]byte) (Chart, error) {
	found, err := rendered(files, true)
	if err != nil {
		// A mark can stand where a comment is none.
		return rendered(files, false)
	}
	return found, nil
}

func rendered(files map[string][]byte, mark bool) (Chart, error) {
	var in []*loader.BufferedFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		if mark && IsTemplate(name) {
			data = marked(name, data)
		}
		in = append(in, &loader.BufferedFile{Name: name, Data: data})
	}
	top, err := loader.LoadFiles(in)
	if err != nil {
		return Chart{}, err
	}
	if err := top.Validate(); err != nil {
		return Chart{}, err
	}
	if top.Metadata.Type == "library" {
		return Chart{}, errors.New("a library chart makes no manifests by itself")
	}
	found := Chart{Missing: missing(top)}
	if err := chartutil.ProcessDependenciesWithMerge(top, top.Values); err != nil {
		return Chart{}, err
	}
	// The schema of the values is not asked: it could name addresses to fetch.
	const skipSchema = true
	values, err := chartutil.ToRenderValuesWithSchemaValidation(top, nil, chartutil.ReleaseOptions{
		Name: release, Namespace: Namespace, Revision: 1, IsInstall: true,
	}, chartutil.DefaultCapabilities.Copy(), skipSchema)
	if err != nil {
		return Chart{}, err
	}
	rendered, err := engine.Engine{}.Render(top, values)
	if err != nil {
		return Chart{}, err
	}
	for name, text := range rendered {
		if base := path.Base(name); strings.HasPrefix(base, "_") || base == "NOTES.txt" || strings.TrimSpace(text) == "" {
			continue
		}
		_, template, _ := strings.Cut(name, "/")
		if files[template] == nil {
			template = ""
		}
		found.Documents = append(found.Documents, Document{template, []byte(text)})
	}
	slices.SortFunc(found.Documents, func(a, b Document) int {
		return cmp.Or(cmp.Compare(a.Template, b.Template), bytes.Compare(a.Data, b.Data))
	})
	return found, nil
}

// missing finds the dependencies that a chart names and does not have.
func missing(c *chart.Chart) []string {
	var names []string
	for _, want := range c.Metadata.Dependencies {
		if want != nil && !slices.ContainsFunc(c.Dependencies(), func(has *chart.Chart) bool { return has.Name() == want.Name }) {
			names = append(names, strings.TrimSpace(want.Name+" "+want.Version))
		}
	}
	for _, sub := range c.Dependencies() {
		names = append(names, missing(sub)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// LocalDependencies are the dependencies of a chart that are in a folder beside
// it, by name, with their paths from the folder of the chart.
func LocalDependencies(files map[string][]byte) map[string]string {
	local := map[string]string{}
	for _, name := range []string{"Chart.yaml", "requirements.yaml"} { // The latter of the first version.
		var c struct {
			Dependencies []struct{ Name, Repository string }
		}
		if err := yaml.Unmarshal(files[name], &c); err != nil {
			continue // Helm says what is wrong.
		}
		for _, d := range c.Dependencies {
			if d.Name == "" || path.Base(d.Name) != d.Name {
				continue
			}
			if at, ok := strings.CutPrefix(d.Repository, "file://"); ok && !path.IsAbs(at) {
				local[d.Name] = at
			}
		}
	}
	return local
}

// IsTemplate reports whether a file of a chart, by its path from the folder of
// the chart, is a template that makes manifests or a part of them, here or in
// a chart below it.
func IsTemplate(name string) bool {
	name = inChart(name)
	return strings.HasPrefix(name, "templates/") && path.Base(name) != "NOTES.txt"
}

// IsValues reports whether a file of a chart has the values that it, or a chart
// below it, is rendered with.
func IsValues(name string) bool { return inChart(name) == "values.yaml" }

// inChart is the path of a file from the folder of the chart, of several within
// each other, that it is of.
func inChart(name string) string {
	for strings.HasPrefix(name, "charts/") {
		_, below, ok := strings.Cut(strings.TrimPrefix(name, "charts/"), "/")
		if !ok {
			return ""
		}
		name = below
	}
	return name
}

// imageKey begins a line that has an image in one piece, or the first line of
// one.
var imageKey = regexp.MustCompile(`^[ \t-]*["']?[A-Za-z_.]*[iI]mage["']?:[ \t]+[^ \t|>&#]`)

const markWord = "tagwarden:template="

// marked adds to the lines of a template that have an image a comment that says
// where they are.
func marked(name string, data []byte) []byte {
	if !bytes.Contains(data, []byte("mage")) {
		return data
	}
	var out bytes.Buffer
	line := 0
	for text := range bytes.Lines(data) {
		line++
		whole := bytes.TrimRight(text, "\r\n")
		out.Write(whole)
		// Behind -}} the comment would be part of the value.
		if imageKey.Match(whole) && !bytes.HasSuffix(bytes.TrimRight(whole, " \t"), []byte("-}}")) {
			fmt.Fprintf(&out, " # %s%d:%s", markWord, line, name)
		}
		out.Write(text[len(whole):])
	}
	return out.Bytes()
}

// Place reads the comment of a rendered line: the template that the line is of,
// by its path from the folder of the chart, and the number of the line in it.
func Place(comment string) (template string, line int, ok bool) {
	_, mark, found := strings.Cut(comment, markWord)
	number, template, _ := strings.Cut(mark, ":")
	line, err := strconv.Atoi(number)
	return template, line, found && err == nil
}
