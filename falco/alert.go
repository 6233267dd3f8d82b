package falco

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Alert is a rule that matched an event.
type Alert struct {
	Time     time.Time
	Rule     string
	Priority Priority
	Source   string
	Hostname string
	Tags     []string
	// Output is the rendered text, without time and priority.
	Output string
	// Fields are the values of the fields in the output, by the name that
	// stands there, as [Value.Any] gives them; nil is null.
	Fields map[string]any
}

// extraField is a field that an alert has beside those of its output.
type extraField struct {
	name   string
	output *Output
	raw    bool // the value itself, not a text
}

// Alert renders the rule's output for an event that it matched.
func (r *Rule) Alert(ev Event, t time.Time, hostname string) Alert {
	a := Alert{
		Time: t, Rule: r.Name, Priority: r.Priority, Source: r.Source, Hostname: hostname, Tags: r.Tags,
		Output: strings.TrimSpace(r.output.Render(ev)), Fields: map[string]any{},
	}
	for _, f := range r.output.fields {
		a.Fields[f.text] = jsonValue(f, ev, t)
	}
	for _, x := range r.extra {
		switch {
		case !x.raw:
			a.Fields[x.name] = x.output.Render(ev)
		case len(x.output.fields) == 1:
			a.Fields[x.name] = jsonValue(x.output.fields[0], ev, t)
		}
	}
	return a
}

// jsonValue is the value of a field in JSON. Falco gives times of day as
// nanoseconds since 1970, however they are written in the text.
func jsonValue(f *FieldRef, ev Event, t time.Time) any {
	switch f.Name {
	case "evt.time", "evt.time.s", "evt.time.iso8601", "evt.datetime", "evt.datetime.s":
		return t.UnixNano()
	}
	return ev.Field(f).Any()
}

// AppendText appends the line that Falco prints for the alert, without the
// line end: time of day in the zone of a.Time, priority and output. Control
// characters in it are escaped as in JSON, so that an alert is one line.
func (a Alert) AppendText(dst []byte) []byte {
	return append(dst, escapeControl(a.line())...)
}

func (a *Alert) line() string {
	return a.Time.Format("15:04:05.000000000") + ": " + a.Priority.String() + " " + a.Output
}

func escapeControl(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case isControl(r):
			b.WriteString(`\u00` + strconv.FormatInt(int64(r)+0x100, 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isControl also covers the control characters above ASCII, which terminals
// obey, too.
func isControl(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 }

// AppendJSON appends the JSON object that "falco -o json_output=true" prints
// for the alert, in its order of keys, without the line end.
func (a Alert) AppendJSON(dst []byte) []byte {
	fields := make(map[string]any, len(a.Fields)+1)
	maps.Copy(fields, a.Fields)
	fields["evt.time"] = a.Time.UnixNano()
	tags := slices.Sorted(slices.Values(a.Tags))
	if tags == nil {
		tags = []string{}
	}
	line, err := marshal(struct {
		Hostname string         `json:"hostname"`
		Output   string         `json:"output"`
		Fields   map[string]any `json:"output_fields"`
		Priority string         `json:"priority"`
		Rule     string         `json:"rule"`
		Source   string         `json:"source"`
		Tags     []string       `json:"tags"`
		Time     string         `json:"time"`
	}{
		a.Hostname, a.line(), fields, a.Priority.String(), a.Rule, a.Source, tags,
		a.Time.UTC().Format("2006-01-02T15:04:05.000000000Z"),
	})
	if err != nil {
		panic(err) // Strings, numbers and lists and maps of them always encode.
	}
	return append(dst, line...)
}

// marshal is json.Marshal without escapes for HTML, which Falco does not make.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
