package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/lines"
	"github.com/tagwarden/tagwarden/internal/registry"
)

const (
	// resolveAtOnce is how many references are resolved at a time, over all
	// registries.
	resolveAtOnce = 16
	// sameAnswer is how long the answer about a tag does for the same tag in
	// a later line.
	sameAnswer = time.Minute
)

func newResolve(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resolve REF... | -",
		Short: "Ask registries which bytes references stand for now",
		Long: `Resolve asks the registry of each image reference for its digest, and what is
behind it: the manifest and the config of each platform. The config decides
which bytes run, and is the image id that runtimes show. With "-" it reads one
reference a line from stdin.

A tag costs one HEAD request, which Docker Hub does not count as a pull. What
is behind a digest costs one GET request, and one for each platform; with
--platform, one for that platform alone.

The logins of docker and podman are used, and their credential helpers. A
reference that cannot be resolved is reported, the others are done all the
same, and the exit status is 3.`,
		Example: `  tagwarden image resolve nginx:1.25 ghcr.io/acme/api:1.4
  tagwarden image resolve nginx:1.25 --platform linux/arm64 -o json`,
		Args: cobra.MinimumNArgs(1),
	}
	output := outputFlag(cmd, "table", "json")
	platform := cmd.Flags().String("platform", "", "look behind the digest for this platform alone: OS/ARCHITECTURE[/VARIANT]")
	registries := addRegistryFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 && slices.Contains(args, "-") {
			return usage("'-' reads all references from stdin; give it alone")
		}
		r := resolver{}
		if *platform != "" {
			on, err := image.ParsePlatform(*platform)
			if err != nil {
				return usage("--platform: %w", err)
			}
			r.on = on
		}
		client, err := registries.client(newLog(newConsole(env)), nil)
		if err != nil {
			return err
		}
		r.client = client
		w := bufio.NewWriter(env.Stdout)
		write, end := resolvedRows(w, env)
		if *output == "json" {
			write, end = resolvedJSON(w), func() error { return nil }
		}
		failed, err := r.all(cmd.Context(), inputs(args, env.Stdin), write)
		if err := errors.Join(err, end(), w.Flush()); err != nil {
			return err
		}
		if failed {
			return &statusError{status: exitFailed}
		}
		return nil
	}
	return cmd
}

// inputs are the references of the command line, or the lines of stdin.
func inputs(args []string, stdin io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !slices.Equal(args, []string{"-"}) {
			for _, arg := range args {
				if !yield(arg, nil) {
					return
				}
			}
			return
		}
		for line := range lines.All(stdin) {
			text := string(line.Text)
			if errors.Is(line.Err, lines.ErrTooLong) {
				text, line.Err = "", nil // Reported like any other text that is no reference.
			}
			if line.Err != nil {
				yield("", fmt.Errorf("read stdin, line %d: %w", line.Number, line.Err))
				return
			}
			if !yield(text, nil) {
				return
			}
		}
	}
}

// resolution is one line of "image resolve -o json", a published format.
type resolution struct {
	Input     string `json:"input"`
	Reference string `json:"reference,omitempty"`
	// Resolved is whether there is a digest. What is behind it can be missing
	// all the same: then there is an error, too.
	Resolved  bool               `json:"resolved"`
	Digest    string             `json:"digest,omitempty"`
	Kind      string             `json:"kind,omitempty"`
	MediaType string             `json:"mediaType,omitempty"`
	Size      int64              `json:"size,omitempty"`
	Platforms []resolvedPlatform `json:"platforms,omitempty"`
	Error     string             `json:"error,omitempty"`
}

type resolvedPlatform struct {
	Platform string `json:"platform"`
	Manifest string `json:"manifest"`
	Config   string `json:"config,omitempty"`
}

type resolver struct {
	client *registry.Client
	on     image.Platform
}

// all resolves references some at a time and writes the answers in the order
// of the questions. failed reports whether one has an error.
func (r *resolver) all(ctx context.Context, refs iter.Seq2[string, error], write func(*resolution) error) (failed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The queue is as long as many may be at work at a time.
	queue := make(chan chan *resolution, resolveAtOnce)
	stopped := make(chan error, 1)
	go func() {
		defer close(queue)
		for text, err := range refs {
			if err != nil {
				stopped <- err
				return
			}
			answer := make(chan *resolution, 1)
			select {
			case queue <- answer:
			case <-ctx.Done():
				return
			}
			go func() { answer <- r.one(ctx, text) }()
		}
	}()
	for answer := range queue {
		a := <-answer
		failed = failed || a.Error != ""
		if err := write(a); err != nil {
			return failed, err
		}
	}
	select {
	case err := <-stopped:
		return failed, err
	default:
		return failed, nil
	}
}

// one resolves one reference.
func (r *resolver) one(ctx context.Context, text string) *resolution {
	a := &resolution{Input: text}
	ref, err := image.Parse(text)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Reference = ref.String()
	resolved, err := r.client.ResolveWithin(ctx, ref, sameAnswer)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Resolved, a.Digest, a.MediaType, a.Size = true, resolved.Digest.String(), resolved.MediaType, resolved.Size
	if err := r.behind(ctx, ref, resolved.Digest, a); err != nil {
		a.Error = err.Error()
	}
	return a
}

// behind notes what is behind a digest; the error is the first there was.
func (r *resolver) behind(ctx context.Context, ref image.Reference, digest image.Digest, a *resolution) error {
	contents, failed := r.client.Content(ctx, ref, digest, r.on)
	if len(contents) == 0 {
		return failed
	}
	top := contents[0]
	a.Kind = top.Kind.String()
	if top.Kind != image.KindIndex {
		a.Platforms = []resolvedPlatform{{top.Platform.String(), digest.String(), top.Config.String()}}
		if r.on != (image.Platform{}) && !top.Platform.Match(r.on) {
			return fmt.Errorf("resolve %s: it is for %s, not for %s", ref, top.Platform, r.on)
		}
		return failed
	}
	children := top.ChildrenFor(r.on)
	if len(children) == 0 {
		return fmt.Errorf("resolve %s: it has nothing for %s; it has %s", ref, r.on, platformsOf(top))
	}
	for _, child := range children {
		// The index and what was asked before are known by now.
		below, err := r.client.Content(ctx, ref, digest, child.Platform)
		if child.Platform == (image.Platform{}) {
			below, err = r.client.Content(ctx, ref, child.Digest, r.on)
		}
		if failed == nil {
			failed = err
		}
		p := resolvedPlatform{Platform: child.Platform.String(), Manifest: child.Digest.String()}
		for _, c := range below {
			if c.Digest == child.Digest {
				p.Config = c.Config.String()
			}
		}
		a.Platforms = append(a.Platforms, p)
	}
	return failed
}

func platformsOf(index image.Content) string {
	var names []string
	for _, child := range index.ChildrenFor(image.Platform{}) {
		if name := child.Platform.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no images"
	}
	return strings.Join(names, ", ")
}

func resolvedJSON(w io.Writer) func(*resolution) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(a *resolution) error { return enc.Encode(a) }
}

// resolvedRows writes a row for each platform; errors go to stderr.
func resolvedRows(w io.Writer, env Env) (row func(*resolution) error, end func() error) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := 0
	row = func(a *resolution) error {
		if a.Error != "" {
			say(env, "tagwarden: %s\n", a.Error)
		}
		if !a.Resolved {
			return nil
		}
		if rows == 0 {
			fmt.Fprintln(tw, "REFERENCE\tDIGEST\tTYPE\tPLATFORM\tMANIFEST\tCONFIG")
		}
		// Columns are aligned block by block, so that a long input is not
		// kept until its end.
		if rows++; rows%1000 == 0 {
			if err := tw.Flush(); err != nil {
				return err
			}
		}
		first := shortReference(a.Input) + "\t" + a.Digest + "\t" + typeName(a.MediaType)
		if len(a.Platforms) == 0 {
			_, err := fmt.Fprintf(tw, "%s\t-\t-\t-\n", first)
			return err
		}
		for _, p := range a.Platforms {
			if _, err := fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", first, p.Platform, shortDigest(p.Manifest), dash(shortDigest(p.Config))); err != nil {
				return err
			}
			first = "\t\t"
		}
		return nil
	}
	return row, tw.Flush
}

// typeName is a media type in a word or two.
func typeName(mediaType string) string {
	switch mediaType {
	case "application/vnd.oci.image.index.v1+json":
		return "OCI index"
	case "application/vnd.oci.image.manifest.v1+json":
		return "OCI manifest"
	case "application/vnd.docker.distribution.manifest.list.v2+json":
		return "Docker list"
	case "application/vnd.docker.distribution.manifest.v2+json":
		return "Docker manifest"
	case "application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws":
		return "Docker schema 1"
	case "":
		return "-"
	}
	return printable(mediaType)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
