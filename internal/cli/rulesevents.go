package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/jsonevent"
	"github.com/tagwarden/tagwarden/internal/lines"
)

// eachEvent calls take with every line of a file, or of stdin for "-". What is
// written in between is flushed when the input has to be waited for.
func eachEvent(ctx context.Context, env Env, name string, take func(w *bufio.Writer, line lines.Line) error) error {
	in := interruptible(env.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		in = f
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { in.Close() })()
	out := bufio.NewWriterSize(env.Stdout, 64<<10)
	for line := range lines.All(&flushing{in, out}) {
		if ctx.Err() != nil {
			break
		}
		if err := take(out, line); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	return out.Flush()
}

// flushing writes out what there is before it waits for more input.
type flushing struct {
	in  io.Reader
	out *bufio.Writer
}

func (f *flushing) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.in.Read(p)
}

func newRulesMatch(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "match --events FILE",
		Short: "Say whether a condition holds for events",
		Long: `Match reads one event a line and answers with one JSON object a line:
{"match":true}, or {"error":{"kind":"parse","message":"…","position":{…}}}.
The kind is parse or compile for a condition, event for a line that is none.

An event is {"fields":{"container.image.tag":"latest"},"types":{…}}. A line may
have its own "condition". Types are needed where JSON does not tell them:
charbuf, fspath, int8 to int64, uint8 to uint64, double, bool, bytebuf, ipaddr,
ipnet, port, abstime, reltime. A value may be null (the field has none),
{"hex":"00ff"} (raw bytes) or an array (a list). A condition may ask for the
fields of its event, and for those of containers and Kubernetes.

Exit status 3 when a line is no event.`,
		Example: `  echo '{"fields":{"container.image.tag":"latest"}}' |
    tagwarden rules match --condition 'container.image.tag in (latest, edge)' --events -`,
		Args: cobra.NoArgs,
	}
	condition := cmd.Flags().String("condition", "", "the condition, for lines without one of their own")
	events := cmd.Flags().String("events", "", "`file` with events, - for stdin")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *events == "" {
			return usage("--events is missing; give a file, or - for stdin")
		}
		m := &matcher{condition: *condition, hasCondition: cmd.Flags().Changed("condition"), base: falco.DefaultCatalog()}
		if err := eachEvent(cmd.Context(), env, *events, m.answer); err != nil {
			return err
		}
		if m.bad > 0 {
			return &statusError{exitFailed, fmt.Errorf("%s of %s could not be read as events", plural(m.bad, "line"), *events)}
		}
		return nil
	}
	return cmd
}

// matcher answers events. It keeps the last conditions that it compiled, as
// most lines have the same fields.
type matcher struct {
	condition    string
	hasCondition bool
	base         *falco.Catalog
	compiled     map[[2]string]compiled
	bad          int
}

type compiled struct {
	condition *falco.Condition
	err       error
}

// maxCompiled is how many conditions a matcher keeps.
const maxCompiled = 256

// matchAnswer is a line that "rules match" prints.
type matchAnswer struct {
	Match *bool       `json:"match,omitempty"`
	Error *matchError `json:"error,omitempty"`
}

type matchError struct {
	Kind     string         `json:"kind"`
	Message  string         `json:"message"`
	Position *matchPosition `json:"position,omitempty"`
}

type matchPosition struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

func (m *matcher) answer(w *bufio.Writer, line lines.Line) error {
	matched, err := m.match(line)
	a := matchAnswer{}
	var parse *falco.ParseError
	var compile *falco.CompileError
	switch {
	case err == nil:
		a.Match = &matched
	case errors.As(err, &parse):
		a.Error = &matchError{"parse", parse.Message, &matchPosition{parse.At.Line, parse.At.Column}}
	case errors.As(err, &compile):
		a.Error = &matchError{"compile", compile.Message, &matchPosition{compile.At.Line, compile.At.Column}}
	default:
		m.bad++
		a.Error = &matchError{"event", err.Error(), &matchPosition{line.Number, 1}}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(a)
}

func (m *matcher) match(line lines.Line) (bool, error) {
	if line.Err != nil {
		return false, line.Err
	}
	ev, err := jsonevent.Parse(line.Text, nil)
	if err != nil {
		return false, err
	}
	text := ev.Condition
	if !ev.HasCondition {
		if !m.hasCondition {
			return false, errors.New("no condition: neither the line nor --condition has one")
		}
		text = m.condition
	}
	key := [2]string{text, ev.Shape()}
	c, ok := m.compiled[key]
	if !ok {
		c.condition, c.err = falco.Compile(text, ev.Catalog(m.base))
		if len(m.compiled) >= maxCompiled || m.compiled == nil {
			m.compiled = map[[2]string]compiled{}
		}
		m.compiled[key] = c
	}
	if c.err != nil {
		return false, c.err
	}
	return c.condition.Match(ev), nil
}

func newRulesEval(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval --events FILE [-r RULES]...",
		Short: "Evaluate rules over recorded events and print the alerts",
		Long: `Eval reads one event a line, in the form that "rules match" reads or as
"watch -o events" writes container starts, evaluates rules over it, and prints
the alerts as Falco does. Without -r these are the rules that come with
Tagwarden. No policy applies.

A field without "types" has the type that Falco gives it. The event type is the
field evt.type. "time" is that of the alert, and otherwise now.

Exit status 1 when there is an alert at or above --fail-on, 3 when a line is no
event.`,
		Example: `  tagwarden rules eval -r my_rules.yaml --events monday.jsonl
  echo '{"fields":{"evt.type":"container","container.image.tag":"latest"}}' | tagwarden rules eval -r my_rules.yaml --events -`,
		Args: cobra.NoArgs,
	}
	paths := cmd.Flags().StringArrayP("rules", "r", nil, "Falco rules `file`, or a folder of them, instead of the built-in rules (may repeat)")
	events := cmd.Flags().String("events", "", "`file` with events, - for stdin")
	matching := choiceFlag(cmd, "rule-matching", "alert on the first rule that matches an event, or on all", "first", "all")
	selection := selectionFlags(cmd)
	output := outputFlag(cmd, "json", "text")
	failOn := failOnFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *events == "" {
			return usage("--events is missing; give a file, or - for stdin")
		}
		opt, err := selection.options()
		if err != nil {
			return err
		}
		opt.Matching = falco.MatchFirst
		if *matching == "all" {
			opt.Matching = falco.MatchAll
		}
		set, results, err := loadPaths(*paths, opt)
		switch {
		case err != nil:
			return err
		case set == nil:
			return loadError(results)
		}
		if err := selection.check(set); err != nil {
			return err
		}
		e := &evaluator{env: env, set: set, cat: opt.Catalog, sink: newSink(*output, nil)}
		if err := eachEvent(cmd.Context(), env, *events, e.take); err != nil {
			return err
		}
		switch {
		case e.bad > 0:
			return &statusError{exitFailed, fmt.Errorf("%s of %s could not be read as events", plural(e.bad, "line"), *events)}
		case e.sink.failed(*failOn):
			return &statusError{status: exitFindings}
		}
		return nil
	}
	return cmd
}

// evaluator prints the alerts of events.
type evaluator struct {
	env     Env
	set     *falco.Ruleset
	cat     *falco.Catalog
	sink    *watchSink
	matched []*falco.Rule
	bad     int
}

// maxBadLines is how many bad lines are told one by one.
const maxBadLines = 20

func (e *evaluator) take(w *bufio.Writer, line lines.Line) error {
	e.sink.w = w
	ev, at, err := e.event(line)
	if err != nil {
		if e.bad++; e.bad <= maxBadLines {
			say(e.env, "tagwarden: line %d: %v\n", line.Number, err)
		}
		return nil
	}
	if ev == nil {
		return nil // Not a start.
	}
	e.matched = e.set.Evaluate(e.matched[:0], ev)
	for _, r := range e.matched {
		if err := e.sink.Alert(nil, r.Alert(ev, at, hostname())); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
	}
	return nil
}

// event reads a line of either form.
func (e *evaluator) event(line lines.Line) (falco.Event, time.Time, error) {
	if line.Err != nil {
		return nil, time.Time{}, line.Err
	}
	if bytes.Contains(line.Text, []byte(event.Schema)) {
		ev, err := event.Parse(line.Text)
		if err != nil {
			return nil, time.Time{}, err
		}
		if s, ok := ev.(*event.Start); ok {
			return event.FieldsOf(s, false), s.Time, nil
		}
		return nil, time.Time{}, nil
	}
	ev, err := jsonevent.Parse(line.Text, e.cat)
	if err != nil {
		return nil, time.Time{}, err
	}
	if ev.Time.IsZero() {
		ev.Time = e.env.Now()
	}
	return ev, ev.Time, nil
}
