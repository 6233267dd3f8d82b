package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/falco"
	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/engine"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/source/replay"
)

// recording is what "lab record" saw on a real node: the container starts of
// the attack of lab 010, as "watch -o events" wrote them.
//
//go:embed lab-010.jsonl
var recording []byte

// demoTime is about how long the demo takes on a terminal.
const demoTime = 4 * time.Second

func newDemo(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay a recorded attack and see it caught, without any set-up",
		Long: `Demo replays a recording of the attack simulation of lab 010, made on a real
Kubernetes node, through the rules of this binary. Nothing is started and
nothing is asked over the network. "make lab" does the same on a cluster of your
own.`,
		Args: cobra.NoArgs,
	}
	fast := cmd.Flags().Bool("fast", false, "do not pause between the steps")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runDemo(cmd.Context(), env, *fast || !isTerminal(env.Stdout))
	}
	return cmd
}

func runDemo(ctx context.Context, env Env, fast bool) error {
	cat, err := event.Catalog()
	if err != nil {
		return err
	}
	opt := falco.DefaultOptions()
	opt.Catalog = cat
	rules, err := loadRules(nil, policy.Default(), opt)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(env.Stdout)
	story := &demoSink{out: out}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(recording)), nil }
	first, err := made(ctx, replay.New("the recording", 0, open))
	if err != nil {
		return err
	}
	story.pace = demoTime / 4
	if fast {
		story.pace = 0
	}
	story.ctx = ctx.Done()
	fmt.Fprintf(out, "A recording made on a real one-node cluster on %s, replayed through the rules\nof this program. To see it happen on a cluster of your own: make lab\n",
		first.Format(time.DateOnly))
	e := &engine.Engine{
		Sources: []engine.Source{replay.New("the recording", 0, open)},
		Rules:   rules, Policy: policy.Default(), Sink: story, Now: env.Now,
	}
	if err := e.Run(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return out.Flush()
	}
	story.table()
	return out.Flush()
}

// made is the time of the first start of a recording.
func made(ctx context.Context, src *replay.Source) (first time.Time, err error) {
	err = src.Watch(ctx, func(e event.Event) {
		if first.IsZero() {
			first = e.At()
		}
	})
	return first, err
}

// demoSink tells the starts and alerts as a story.
type demoSink struct {
	out  *bufio.Writer
	pace time.Duration
	ctx  <-chan struct{}
	rows []*demoRow
}

type demoRow struct {
	start event.Start
	alert bool
}

func (d *demoSink) Event(e event.Event) error {
	s, ok := e.(*event.Start)
	if !ok {
		return nil
	}
	d.noAlert()
	d.rows = append(d.rows, &demoRow{start: *s})
	fmt.Fprintf(d.out, "\n$ kubectl run %s --image=%s --restart=Never\n", s.Pod, s.Reference)
	d.pause()
	fmt.Fprintf(d.out, "  started on %s, runs %s\n", s.Node, shortReference(s.ImageID))
	return d.out.Flush()
}

func (d *demoSink) Alert(_ *event.Start, a falco.Alert) error {
	d.rows[len(d.rows)-1].alert = true
	var b strings.Builder
	wrap(&b, "  ", 78, "ALERT "+string(a.AppendText(nil)))
	_, err := d.out.WriteString(b.String())
	return err
}

// noAlert ends the story of the last start where nothing was said of it.
func (d *demoSink) noAlert() {
	if n := len(d.rows); n > 0 && !d.rows[n-1].alert {
		fmt.Fprintf(d.out, "  no alert\n")
	}
}

func (d *demoSink) pause() {
	if d.pace == 0 || d.out.Flush() != nil {
		return
	}
	t := time.NewTimer(d.pace)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.ctx:
	}
}

// otherTag reports whether two references have tags that differ, where a
// missing one counts as latest.
func otherTag(asked, says string) bool {
	a, errA := image.Parse(asked)
	b, errB := image.Parse(says)
	return errA == nil && errB == nil && cmp.Or(a.Tag(), "latest") != cmp.Or(b.Tag(), "latest")
}

func (d *demoSink) table() {
	d.noAlert()
	fmt.Fprintln(d.out)
	tw := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "POD\tASKED FOR\tTHE STATUS SAYS\tRUNS\tALERT")
	misled := false
	for _, r := range d.rows {
		alert := "none"
		if r.alert {
			alert = "alert"
		}
		says := r.start.Image
		misled = misled || r.alert && otherTag(r.start.Reference, says)
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.start.Pod, r.start.Reference, says, shortDigest(r.start.Digest), alert)
	}
	tw.Flush()
	if misled {
		fmt.Fprint(d.out, "\nThe tags named the same bytes, so the status of a pod may name another tag than\nthe one that was asked for. Tagwarden reads what was asked for.\n")
	}
}
