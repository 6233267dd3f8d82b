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
	// stands there; nil is null. Numbers are int64, uint64 or float64.
	Fields map[string]any
}

// Alert renders the rule's output for an event that it matched.
func (r *Rule) Alert(ev Event, t time.Time, hostname string) Alert {
	a := Alert{
		Time: t, Rule: r.Name, Priority: r.Priority, Source: r.Source, Hostname: hostname, Tags: r.Tags,
		Output: strings.TrimSpace(r.output.Render(ev)), Fields: map[string]any{},
	}
	for _, p := range r.output.parts {
		if p.name != "" {
			a.Fields[p.name] = p.value.extract.value(ev).plain(p.value.typ)
		}
	}
	return a
}

// plain is the value as encoding/json takes it.
func (v Value) plain(t Type) any {
	switch v.kind {
	case null:
		return nil
	case number:
		switch {
		case t == Bool:
			return v.num != 0
		case t == Double:
			return json.Number(formatNumber(v.num, t))
		case t.isSigned():
			return int64(v.num)
		}
		return v.num
	case list:
		items := make([]any, len(v.ext.items))
		for i, item := range v.ext.items {
			items[i] = item.plain(t)
		}
		return items
	}
	return v.format(t)
}

// AppendText appends the line that Falco prints for the alert, without the
// line end: time of day in t's zone, priority and output. Control characters
// in it are escaped as in JSON, so that an alert is one line.
func (a *Alert) AppendText(dst []byte) []byte {
	return append(dst, a.line()...)
}

func (a *Alert) line() string {
	return a.Time.Format("15:04:05.000000000") + ": " + a.Priority.String() + " " + escapeControl(a.Output)
}

func escapeControl(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
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
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u00` + strconv.FormatInt(int64(r)+0x100, 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// AppendJSON appends the JSON object that "falco -o json_output=true" prints
// for the alert, in its order of keys, without the line end.
func (a *Alert) AppendJSON(dst []byte) []byte {
	utc := a.Time.UTC()
	fields := maps.Clone(a.Fields)
	if fields == nil {
		fields = map[string]any{}
	}
	fields["evt.time"] = utc.UnixNano()
	tags := slices.Sorted(slices.Values(a.Tags))
	if tags == nil {
		tags = []string{}
	}
	in := *a
	in.Time = utc
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
		a.Hostname, utc.Format("15:04:05.000000000") + ": " + a.Priority.String() + " " + a.Output,
		fields, a.Priority.String(), a.Rule, a.Source, tags, utc.Format("2006-01-02T15:04:05.000000000Z"),
	})
	if err != nil {
		// Strings, numbers and maps of them always encode.
		panic(err)
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
