package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/imagediff"
)

const (
	// diffTime is how long images are compared, unless --timeout says so.
	diffTime = 10 * time.Minute
	// diffRows is how many rows a table has, unless --files says so.
	diffRows = 25
	// diffCell is how many characters of a value a table shows.
	diffCell = 100
)

func newImageDiff(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what changed between two images",
		Long: `Diff compares two images platform by platform: the config, the layers, the
files with their modes, owners, sizes and hashes, the packages of dpkg, apk, rpm
and Go, and the base. What gives rights or is run comes first: setuid programs,
accounts, cron, services, CA certificates, shells, executables.

Images with one digest, or whose configs have one, are the same: no layer is read.
Of others the layers above the shared ones are read, and the shared ones only if
it depends on them what has changed. Nothing is written to disk. Every blob is
verified, by its digest and by the config's diffID. The time of a file is no
difference.

Exit status: 0 the same content, 1 differences, 2 wrong usage, 3 something could
not be compared; it is listed.`,
		Example: `  tagwarden image diff nginx:1.25.3 nginx:1.25.4
  tagwarden image diff app@sha256:9f86… app:1.4 --platform linux/amd64
  tagwarden image diff app:1.4 app:1.5 -o json | jq '.platforms[].files.list[] | select(.marks)'
  tagwarden image diff app:1.4 app:1.5 -o markdown --files 50 > comment.md`,
		Args: cobra.ExactArgs(2),
	}
	output := outputFlag(cmd, "table", "json", "markdown")
	flags := cmd.Flags()
	platform := flags.String("platform", "", "compare this platform alone: OS/ARCHITECTURE[/VARIANT]")
	rows := flags.Int("files", diffRows, "how many rows a table of files, packages or values has; 0 shows all")
	timeout := flags.Duration("timeout", diffTime, "give up after this time; what was not compared by then is reported")
	registries := addRegistryFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var opt imagediff.Options
		if *platform != "" {
			on, err := image.ParsePlatform(*platform)
			if err != nil {
				return usage("--platform: %w", err)
			}
			opt.Platform = on
		}
		if *rows < 0 {
			return usage("--files %d: want a number of rows, or 0 for all", *rows)
		}
		if *timeout <= 0 {
			return usage("--timeout %s: want a time above 0, such as 5m", *timeout)
		}
		var refs [2]image.Reference
		for i, arg := range args {
			ref, err := image.Parse(arg)
			if err != nil {
				return usage("%w", err)
			}
			refs[i] = ref
		}
		console := newConsole(env)
		client, err := registries.client(newLog(console), nil)
		if err != nil {
			return err
		}
		var read, of atomic.Int64
		opt.Progress = func(r, o int64) {
			read.Store(r)
			of.Store(o)
		}
		stop := console.every(time.Second/4, func() string {
			if of.Load() == 0 {
				return "comparing"
			}
			return fmt.Sprintf("reading layers: %s of %s", byteSize(read.Load()), byteSize(of.Load()))
		})
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		d, err := imagediff.Compare(ctx, client, refs[0], refs[1], opt)
		stop()
		if err != nil {
			return err
		}
		w := bufio.NewWriter(env.Stdout)
		switch *output {
		case "json":
			err = writeIndented(w, d)
		case "markdown":
			err = writeDiffMarkdown(w, d, *rows)
		default:
			err = writeDiffTable(w, d, *rows)
		}
		if err := cmp.Or(err, w.Flush()); err != nil {
			return err
		}
		switch {
		case !d.Complete:
			return &statusError{status: exitFailed}
		case !d.Same:
			return &statusError{status: exitFindings}
		}
		return nil
	}
	return cmd
}

// byteSize is a number of bytes for people.
func byteSize(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 5 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[prefix])
}

// shown is a text of a diff for a cell: it is printable already.
func shown(s string) string {
	if r := []rune(s); len(r) > diffCell {
		return string(r[:diffCell]) + "…"
	}
	return s
}

func shownValue(s *string) string {
	switch {
	case s == nil:
		return "-"
	case *s == "":
		return `""`
	}
	return shown(*s)
}

// diffLine says in a line how the images compare.
func diffLine(d *imagediff.Diff) string {
	switch {
	case d.Same && d.A.Digest == d.B.Digest:
		return "The same content: both are " + d.A.Digest
	case d.Same:
		return "The same content on every platform"
	case !d.Complete:
		return "Not all could be compared; see below"
	}
	return "Different content"
}

// filesLine is the numbers of changed files.
func filesLine(f *imagediff.Files) string {
	return fmt.Sprintf("%d added, %d changed, %d removed", f.Added, f.Changed, f.Removed)
}

// notWhole warns where the files of an image are not all known.
const notWhole = "Not all layers could be read: what is listed as added or removed may be in a layer that was not."

func diffTarget(u *imagediff.Unchecked) string {
	where := u.What
	if u.Image != "" {
		where = strings.ToUpper(u.Image) + ", " + where
	}
	if u.Platform != "" {
		where = u.Platform + ", " + where
	}
	return where
}

func writeDiffTable(w io.Writer, d *imagediff.Diff, rows int) error {
	fmt.Fprintf(w, "A  %s  %s\nB  %s  %s\n%s\n", d.A.Reference, d.A.Digest, d.B.Reference, d.B.Digest, diffLine(d))
	if len(d.Highlights) > 0 && !d.Same {
		fmt.Fprintln(w)
		for _, h := range d.Highlights {
			fmt.Fprintf(w, "  * %s\n", shown(h))
		}
	}
	for i := range d.Platforms {
		if err := writeDiffPlatform(w, &d.Platforms[i], rows); err != nil {
			return err
		}
	}
	if len(d.Unchecked) > 0 {
		fmt.Fprintln(w, "\nNot compared:")
		for i := range d.Unchecked {
			fmt.Fprintf(w, "  %s: %s\n", diffTarget(&d.Unchecked[i]), d.Unchecked[i].Reason)
		}
	}
	return nil
}

func writeDiffPlatform(w io.Writer, p *imagediff.Platform, rows int) error {
	fmt.Fprintf(w, "\n%s", p.Platform)
	switch {
	case p.In != "both":
		fmt.Fprintf(w, ": only in %s\n", strings.ToUpper(p.In))
		return nil
	case p.Same:
		fmt.Fprintln(w, ": the same content")
	default:
		fmt.Fprintln(w)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	section := func(title string, rows int) bool {
		if rows > 0 {
			fmt.Fprintf(tw, "\n  %s\n", title)
		}
		return rows > 0
	}
	if section("CONFIG", len(p.Config)) {
		fmt.Fprintln(tw, "  FIELD\tA\tB")
		list := firstRows(p.Config, rows)
		for _, c := range list {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", shown(strings.TrimSpace(c.Field+" "+c.Key)), shownValue(c.A), shownValue(c.B))
		}
		diffRest(tw, len(p.Config)-len(list), "values")
	}
	if p.Same {
		return tw.Flush()
	}
	if section(fmt.Sprintf("HISTORY  %d shared", p.History.Shared), len(p.History.Removed)+len(p.History.Added)) {
		removed, added := firstRows(p.History.Removed, rows), firstRows(p.History.Added, rows)
		for _, h := range removed {
			fmt.Fprintf(tw, "  -  %s\n", shown(historyLine(h)))
		}
		for _, h := range added {
			fmt.Fprintf(tw, "  +  %s\n", shown(historyLine(h)))
		}
		diffRest(tw, len(p.History.Removed)+len(p.History.Added)-len(removed)-len(added), "entries")
	}
	if section(fmt.Sprintf("LAYERS  %d shared", p.SharedLayers), len(p.A.Layers)+len(p.B.Layers)-2*p.SharedLayers) {
		for _, side := range []struct {
			sign   string
			layers []imagediff.Layer
		}{{"-", p.A.Layers}, {"+", p.B.Layers}} {
			for i, l := range side.layers[min(p.SharedLayers, len(side.layers)):] {
				fmt.Fprintf(tw, "  %s  %d\t%s\t%s\t%s\n", side.sign, p.SharedLayers+i+1, shortDigest(l.Digest), byteSize(l.Size), dash(shown(l.CreatedBy)))
			}
		}
	}
	if section("FILES  "+filesLine(&p.Files), len(p.Files.List)) {
		if !p.Files.Complete {
			fmt.Fprintln(tw, "  "+notWhole)
		}
		fmt.Fprintln(tw, "  CHANGE\tPATH\tMARKS\tMODE\tOWNER\tSIZE\tSHA-256")
		list := firstRows(p.Files.List, rows)
		for i := range list {
			f := &list[i]
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", f.Change, f.Path, dash(strings.Join(f.Marks, ",")), strings.Join(fileCells(f), "\t"))
		}
		diffRest(tw, p.Files.Added+p.Files.Changed+p.Files.Removed-len(list), "files")
	}
	if section("PACKAGES", len(p.Packages)) {
		fmt.Fprintln(tw, "  CHANGE\tTYPE\tNAME\tA\tB\tFILE")
		list := firstRows(p.Packages, rows)
		for _, c := range list {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", c.Change, c.Type, c.Name, dash(shown(c.A)), dash(shown(c.B)), dash(c.File))
		}
		diffRest(tw, len(p.Packages)-len(list), "packages")
	}
	if section("BASE", len(bases(p))) {
		for _, line := range bases(p) {
			fmt.Fprintln(tw, "  "+line)
		}
	}
	if section("NOTES", len(p.Notes)) {
		for _, n := range p.Notes {
			fmt.Fprintln(tw, "  "+n)
		}
	}
	return tw.Flush()
}

func historyLine(h imagediff.HistoryEntry) string {
	return cmp.Or(h.CreatedBy, h.Comment, "(says nothing)")
}

func firstRows[T any](list []T, rows int) []T {
	if rows == 0 {
		return list
	}
	return list[:min(rows, len(list))]
}

func diffRest(w io.Writer, n int, what string) {
	if n > 0 {
		fmt.Fprintf(w, "  … and %d more %s: --files 0 shows all, -o json has all\n", n, what)
	}
}

// fileCells are mode, owner, size and hash, each of A and B where it differs.
func fileCells(f *imagediff.FileChange) []string {
	of := func(f *imagediff.File) [4]string {
		if f == nil {
			return [4]string{}
		}
		cells := [4]string{f.Mode, fmt.Sprintf("%d:%d", f.UID, f.GID), "-", f.Type}
		if f.Type == "file" {
			cells[2], cells[3] = byteSize(f.Size), f.SHA256[:min(12, len(f.SHA256))]
		}
		if f.Target != "" {
			cells[3] = f.Type + " " + shown(f.Target)
		}
		if f.Xattrs != "" {
			cells[3] += " " + shown(f.Xattrs)
		}
		return cells
	}
	a, b := of(f.A), of(f.B)
	var cells []string
	for i := range a {
		switch {
		case a[i] == b[i] || f.B == nil:
			cells = append(cells, a[i])
		case f.A == nil:
			cells = append(cells, b[i])
		default:
			cells = append(cells, a[i]+" → "+b[i])
		}
	}
	return cells
}

// bases says what the images are made from, as far as it is known.
func bases(p *imagediff.Platform) []string {
	line := func(name string, b *imagediff.Base) string {
		parts := []string{b.Name, b.Digest, b.OS}
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		if len(parts) == 0 {
			return ""
		}
		return name + "  " + strings.Join(parts, "  ")
	}
	lines := []string{line("A", &p.A.Base), line("B", &p.B.Base)}
	return slices.DeleteFunc(lines, func(s string) bool { return s == "" })
}

func writeDiffMarkdown(w io.Writer, d *imagediff.Diff, rows int) error {
	fmt.Fprintf(w, "### Image difference\n\n- A: %s %s\n- B: %s %s\n\n**%s**\n",
		imagediff.Code(d.A.Reference), imagediff.Code(d.A.Digest), imagediff.Code(d.B.Reference), imagediff.Code(d.B.Digest), diffLine(d))
	if !d.Same {
		fmt.Fprintln(w)
		for _, h := range d.Highlight(diffHighlights) {
			fmt.Fprintf(w, "- %s\n", h.Markdown())
		}
	}
	for i := range d.Platforms {
		markdownPlatform(w, &d.Platforms[i], rows)
	}
	if len(d.Unchecked) > 0 {
		fmt.Fprint(w, "\n#### Not compared\n\n")
		for i := range d.Unchecked {
			fmt.Fprintf(w, "- %s: %s\n", imagediff.Code(diffTarget(&d.Unchecked[i])), imagediff.Code(d.Unchecked[i].Reason))
		}
	}
	return nil
}

// diffHighlights is how many highlights Markdown has.
const diffHighlights = 10

func markdownPlatform(w io.Writer, p *imagediff.Platform, rows int) {
	code := func(s string) string { return imagediff.Code(shown(s)) }
	fmt.Fprintf(w, "\n#### %s\n\n", p.Platform)
	switch {
	case p.In != "both":
		fmt.Fprintf(w, "Only in %s.\n", strings.ToUpper(p.In))
		return
	case p.Same:
		fmt.Fprintln(w, "The same content.")
		return
	}
	fmt.Fprintf(w, "%d layers are shared, %d only in A, %d only in B. Files: %s.\n",
		p.SharedLayers, len(p.A.Layers)-min(p.SharedLayers, len(p.A.Layers)), len(p.B.Layers)-min(p.SharedLayers, len(p.B.Layers)), filesLine(&p.Files))
	if len(p.Config) > 0 {
		fmt.Fprint(w, "\n| config | A | B |\n|---|---|---|\n")
		list := firstRows(p.Config, rows)
		for _, c := range list {
			fmt.Fprintf(w, "| %s | %s | %s |\n", code(strings.TrimSpace(c.Field+" "+c.Key)), code(shownValue(c.A)), code(shownValue(c.B)))
		}
		markdownRest(w, len(p.Config)-len(list), "values")
	}
	if len(p.History.Removed)+len(p.History.Added) > 0 {
		fmt.Fprint(w, "\n| history | |\n|---|---|\n")
		removed, added := firstRows(p.History.Removed, rows), firstRows(p.History.Added, rows)
		for _, h := range removed {
			fmt.Fprintf(w, "| removed | %s |\n", code(historyLine(h)))
		}
		for _, h := range added {
			fmt.Fprintf(w, "| added | %s |\n", code(historyLine(h)))
		}
		markdownRest(w, len(p.History.Removed)+len(p.History.Added)-len(removed)-len(added), "entries")
	}
	if len(p.Files.List) > 0 {
		if !p.Files.Complete {
			fmt.Fprintln(w, "\n"+notWhole)
		}
		fmt.Fprint(w, "\n| change | file | marks | mode | owner | size | SHA-256 |\n|---|---|---|---|---|---|---|\n")
		list := firstRows(p.Files.List, rows)
		for i := range list {
			f := &list[i]
			cells := fileCells(f)
			for i := range cells {
				cells[i] = imagediff.Code(cells[i])
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", f.Change, imagediff.Code(f.Path), strings.Join(f.Marks, ", "), strings.Join(cells, " | "))
		}
		markdownRest(w, p.Files.Added+p.Files.Changed+p.Files.Removed-len(list), "files")
	}
	if len(p.Packages) > 0 {
		fmt.Fprint(w, "\n| change | type | package | A | B | file |\n|---|---|---|---|---|---|\n")
		list := firstRows(p.Packages, rows)
		for _, c := range list {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", c.Change, c.Type, code(c.Name), code(c.A), code(c.B), code(c.File))
		}
		markdownRest(w, len(p.Packages)-len(list), "packages")
	}
	for _, line := range bases(p) {
		fmt.Fprintf(w, "\nBase of %s\n", code(line))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "\n- %s", imagediff.Code(n))
	}
	if len(p.Notes) > 0 {
		fmt.Fprintln(w)
	}
}

func markdownRest(w io.Writer, n int, what string) {
	if n > 0 {
		fmt.Fprintf(w, "\nand %d more %s\n", n, what)
	}
}
