package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/lines"
)

func newImage(env Env) *cobra.Command {
	return group("image", "Classify, resolve and compare images", newClassify(env), newResolve(env), newImageDiff(env))
}

// classified is one line of "image classify -o json", a published format.
type classified struct {
	Input      string `json:"input"`
	Valid      bool   `json:"valid"`
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
	Class      string `json:"class"`
	Mutable    bool   `json:"mutable"`
	Reason     string `json:"reason"`
}

// unclassified is the same for a reference that cannot be one.
type unclassified struct {
	Input   string `json:"input"`
	Valid   bool   `json:"valid"`
	Class   string `json:"class"`
	Mutable bool   `json:"mutable"`
	Error   string `json:"error"`
}

func newClassify(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify REF... | -",
		Short: "Say whether references can come to mean other bytes, and why",
		Long: `Classify says of each image reference what kind of name it is:

  untagged  no tag: the runtime takes "latest"
  latest    the tag "latest"
  floating  a tag that is meant to move: stable, main, 1, 1.25, 16-alpine
  fixed     a full version, a date, a commit; it can still be overwritten
  digest    names exactly one content; the only class that is not mutable
  invalid   no runtime can pull it as written

With "-" it reads one reference a line from stdin. Exit status 1 when a
reference is of the class given with --fail-on, or a worse one.`,
		Example: `  tagwarden image classify nginx localhost:5000/app:1.25.3
  kubectl get pods -A -o jsonpath='{range .items[*].spec.containers[*]}{.image}{"\n"}{end}' |
    tagwarden image classify - -o json`,
		Args: cobra.MinimumNArgs(1),
	}
	output := outputFlag(cmd, "table", "json")
	failOn := choiceFlag(cmd, "fail-on", "least bad class that makes the exit status 1", "invalid", "untagged", "latest", "floating", "fixed", "none")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 && slices.Contains(args, "-") {
			return usage("'-' reads all references from stdin; give it alone")
		}
		w := bufio.NewWriter(env.Stdout)
		c := classifier{failOn: *failOn, write: jsonRow(w), end: func() error { return nil }}
		if *output == "table" {
			c.write, c.end = tableRows(w)
		}
		err := c.all(args, env.Stdin)
		if err := errors.Join(err, c.end(), w.Flush()); err != nil {
			return err
		}
		if c.failed {
			return &statusError{status: exitFindings}
		}
		return nil
	}
	return cmd
}

// classes are the classes from the worst to the best, as --fail-on counts.
var classes = []string{"invalid", "untagged", "latest", "floating", "fixed"}

type classifier struct {
	failOn string
	failed bool
	write  func(good *classified, bad *unclassified) error
	end    func() error
}

func (c *classifier) all(args []string, stdin io.Reader) error {
	if !slices.Equal(args, []string{"-"}) {
		for _, arg := range args {
			if err := c.one(arg); err != nil {
				return err
			}
		}
		return nil
	}
	for line := range lines.All(stdin) {
		text := string(line.Text)
		switch {
		case errors.Is(line.Err, lines.ErrTooLong):
			// Reported like any other text that is no reference.
			text = ""
		case line.Err != nil:
			return fmt.Errorf("read stdin, line %d: %w", line.Number, line.Err)
		}
		if err := c.one(text); err != nil {
			return err
		}
	}
	return nil
}

func (c *classifier) one(text string) error {
	ref, err := image.Parse(text)
	if err != nil {
		c.note("invalid")
		return c.write(nil, &unclassified{Input: text, Class: "invalid", Mutable: true, Error: err.Error()})
	}
	class, reason := ref.Class()
	c.note(class.String())
	return c.write(&classified{
		Input: text, Valid: true,
		Registry: ref.Registry(), Repository: ref.Repository(), Tag: ref.Tag(), Digest: ref.Digest().String(),
		Class: class.String(), Mutable: class.Mutable(), Reason: reason,
	}, nil)
}

func (c *classifier) note(class string) {
	at := slices.Index(classes, class)
	c.failed = c.failed || at >= 0 && at <= slices.Index(classes, c.failOn)
}

func jsonRow(w io.Writer) func(*classified, *unclassified) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(good *classified, bad *unclassified) error {
		if good != nil {
			return enc.Encode(good)
		}
		return enc.Encode(bad)
	}
}

func tableRows(w io.Writer) (row func(*classified, *unclassified) error, end func() error) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REFERENCE\tCLASS\tMUTABLE\tMEANS\tREASON")
	rows := 0
	row = func(good *classified, bad *unclassified) error {
		// Columns are aligned block by block, so that a long input is not
		// kept until its end.
		if rows++; rows%1000 == 0 {
			if err := tw.Flush(); err != nil {
				return err
			}
		}
		if bad != nil {
			_, err := fmt.Fprintf(tw, "%s\tinvalid\tyes\t-\t%s\n", printable(bad.Input), bad.Error)
			return err
		}
		mutable, means := "yes", good.Registry+"/"+good.Repository
		if !good.Mutable {
			mutable = "no"
		}
		if good.Tag != "" {
			means += ":" + good.Tag
		}
		if good.Digest != "" {
			means += "@" + shortDigest(good.Digest)
		}
		_, err := fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", shortReference(good.Input), good.Class, mutable, means, good.Reason)
		return err
	}
	return row, tw.Flush
}

// printable is text for a terminal: no control characters, and not endless.
func printable(s string) string {
	const limit = 80
	quoted := strconv.Quote(s)
	if quoted = quoted[1 : len(quoted)-1]; quoted == "" {
		return `""`
	}
	if r := []rune(quoted); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return quoted
}

// shortDigest keeps the algorithm and the first twelve digits, as people
// compare digests by eye.
func shortDigest(d string) string {
	if algorithm, hex, ok := strings.Cut(d, ":"); ok && len(hex) > 12 {
		return algorithm + ":" + hex[:12] + "…"
	}
	return d
}

func shortReference(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@"); ok {
		return name + "@" + shortDigest(digest)
	}
	return ref
}
