// Package verdict compares what Tagwarden reported with what really happened.
// It only calculates: the caller says what happened and what was reported.
package verdict

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Start is the part of a line of "tagwarden watch -o events" that is
// compared.
type Start struct {
	Namespace   string
	Pod         string
	PodUID      string
	Container   string
	Kind        string
	ContainerID string
	Reference   string
	Image       string
	ImageID     string
	Digest      string
	Existing    bool
}

// Starts decodes the container starts among the events of data, in their
// order.
func Starts(data []byte) ([]Start, error) {
	type line struct {
		Type, Namespace, Pod, PodUID string
		Existing                     bool
		Container                    struct{ Name, Kind, ID string }
		Image                        struct{ Requested, Status, ID, RunningDigest string }
	}
	lines, err := Lines[line](data)
	var starts []Start
	for _, l := range lines {
		if l.Type != "container_start" {
			continue
		}
		_, id, _ := strings.Cut(l.Container.ID, "://")
		starts = append(starts, Start{
			Namespace: l.Namespace, Pod: l.Pod, PodUID: l.PodUID, Container: l.Container.Name, Kind: l.Container.Kind,
			ContainerID: id, Reference: l.Image.Requested, Image: l.Image.Status, ImageID: l.Image.ID,
			Digest: l.Image.RunningDigest, Existing: l.Existing,
		})
	}
	return starts, err
}

// An Alert is the part of an alert in Falco's JSON form that is compared.
type Alert struct {
	Rule   string         `json:"rule"`
	Output string         `json:"output"`
	Fields map[string]any `json:"output_fields"`
}

// Of returns the container an alert is about.
func (a Alert) Of() Container {
	field := func(name string) string {
		text, _ := a.Fields[name].(string)
		return text
	}
	return Container{field("k8s.ns.name"), field("k8s.pod.name"), field("container.name")}
}

// A Container names one container of one pod.
type Container struct {
	Namespace, Pod, Name string
}

func (c Container) String() string { return c.Namespace + "/" + c.Pod + "/" + c.Name }

// Of returns the container that started.
func (s Start) Of() Container { return Container{s.Namespace, s.Pod, s.Container} }

// Lines decodes the complete JSON lines of data. A last line without its end
// is still being written and is left out.
func Lines[T any](data []byte) ([]T, error) {
	var all []T
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") || strings.TrimSpace(line) == "" {
			continue
		}
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return all, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
		all = append(all, v)
	}
	return all, nil
}

// Expect is what happened to one container, and so what must be reported.
type Expect struct {
	Namespace, Pod, Container string
	// Image is what the pod asks for, as it is written there.
	Image string
	// Kind is compared where a source reports one.
	Kind string
	// Digest of the image in the registry; "" when it does not matter.
	Digest string
	// Starts is how often the container started; 0 means never.
	Starts int
	// IDs are the ids of started containers that are known for certain.
	IDs []string
	// Gone are those among the IDs that had ended before anybody could look
	// at them: what they ran may stay unknown, but must not be guessed wrong.
	Gone []string
	// Alert is whether each start is worth an alert.
	Alert bool
	// Muted are sources that know enough of the start not to alert.
	Muted []string
}

// Of returns the container that an expectation is about.
func (e Expect) Of() Container { return Container{e.Namespace, e.Pod, e.Container} }

// Reports is what one source said.
type Reports struct {
	Source string
	Starts []Start
	Alerts []Alert
}

// A Finding is what one source made of one expectation.
type Finding struct {
	Observed string   // for the table
	Problems []string // none: it is as expected
}

// Check compares what one source reported about one container.
func Check(e Expect, r Reports) Finding {
	var f Finding
	problem := func(format string, args ...any) {
		f.Problems = append(f.Problems, fmt.Sprintf("%s: %s: %s", r.Source, e.Of(), fmt.Sprintf(format, args...)))
	}
	var seen []Start
	for _, s := range r.Starts {
		if s.Of() == e.Of() {
			seen = append(seen, s)
		}
	}
	alerts := 0
	for _, a := range r.Alerts {
		if a.Of() != e.Of() {
			continue
		}
		alerts++
		if tag, ok := a.Fields["container.image.tag"]; ok && tag != tagOf(e.Image) {
			problem("alert with tag %q, want %q", tag, tagOf(e.Image))
		}
	}
	f.Observed = observed(len(seen), alerts)

	if len(seen) != e.Starts {
		problem("%d starts reported, want %d", len(seen), e.Starts)
	}
	want := 0
	if e.Alert && !slices.Contains(e.Muted, r.Source) {
		want = e.Starts
	}
	if alerts != want {
		problem("%d alerts, want %d", alerts, want)
	}
	ids := map[string]int{}
	for _, s := range seen {
		ids[s.ContainerID]++
		if s.Reference != e.Image {
			problem("reference %q, want %q", s.Reference, e.Image)
		}
		unknown := s.Digest == "" && slices.Contains(e.Gone, s.ContainerID)
		if e.Digest != "" && s.Digest != e.Digest && !unknown {
			problem("digest %q, want %q", s.Digest, e.Digest)
		}
		if s.Kind != "" && e.Kind != "" && s.Kind != e.Kind {
			problem("kind %q, want %q", s.Kind, e.Kind)
		}
		if s.PodUID == "" {
			problem("no pod UID")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if n := ids[id]; n > 1 {
			problem("container %.12s reported %d times", id, n)
		}
	}
	for _, id := range e.IDs {
		if ids[id] == 0 {
			problem("container %.12s not reported", id)
		}
	}
	return f
}

// tagOf returns the tag that is written in a reference, "" when there is none.
func tagOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	_, tag, _ := strings.Cut(ref[strings.LastIndexByte(ref, '/')+1:], ":")
	return tag
}

func observed(starts, alerts int) string {
	switch {
	case starts == 0 && alerts == 0:
		return "nothing"
	case starts == 1 && alerts == 0:
		return "start, no alert"
	case starts == 1 && alerts == 1:
		return "start, alert"
	case alerts == 0:
		return fmt.Sprintf("%d starts, no alert", starts)
	default:
		return fmt.Sprintf("%d starts, %d alerts", starts, alerts)
	}
}

func (e Expect) expected() string {
	if !e.Alert {
		return observed(e.Starts, 0)
	}
	text := observed(e.Starts, e.Starts)
	if len(e.Muted) > 0 {
		text += " (not by " + strings.Join(e.Muted, ", ") + ")"
	}
	return text
}

// All checks every expectation against every source, and returns the table
// for a person, the problems, and whether all is as expected.
func All(expects []Expect, reports []Reports, label string) (table string, problems []string) {
	header := []string{"POD", "IMAGE", "EXPECTED"}
	for _, r := range reports {
		header = append(header, strings.ToUpper(r.Source))
	}
	rows := [][]string{append(header, "RESULT"+label)}
	for _, e := range expects {
		name := e.Pod
		if e.Container != e.Pod {
			name += "/" + e.Container
		}
		row, result := []string{name, e.Image, e.expected()}, "OK"
		for _, r := range reports {
			f := Check(e, r)
			row = append(row, f.Observed)
			if len(f.Problems) > 0 {
				result = "FAIL"
				problems = append(problems, f.Problems...)
			}
		}
		rows = append(rows, append(row, result))
	}
	for _, r := range reports {
		problems = append(problems, unexpected(expects, r)...)
	}
	return Table(rows), problems
}

// unexpected returns a problem for every report that no expectation covers,
// such as one about the sandbox container of a pod. Only the namespaces of
// the expectations count, and reports that name none at all.
func unexpected(expects []Expect, r Reports) []string {
	known, namespaces := map[Container]bool{}, map[string]bool{"": true}
	for _, e := range expects {
		known[e.Of()] = true
		namespaces[e.Namespace] = true
	}
	var problems []string
	complain := func(c Container, what string) {
		if namespaces[c.Namespace] && !known[c] {
			problems = append(problems, fmt.Sprintf("%s: %s: unexpected %s", r.Source, c, what))
		}
	}
	for _, s := range r.Starts {
		complain(s.Of(), "start of "+s.Reference)
	}
	for _, a := range r.Alerts {
		complain(a.Of(), "alert: "+a.Output)
	}
	return problems
}

// About returns the alerts that concern the expectations.
func (r Reports) About(expects []Expect) []Alert {
	var about []Alert
	for _, a := range r.Alerts {
		if slices.ContainsFunc(expects, func(e Expect) bool { return e.Of() == a.Of() }) {
			about = append(about, a)
		}
	}
	return about
}

// Table lays out rows in columns. Every row has as many cells as the first.
func Table(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", width[i], cell)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
