package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/drift"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/history"
	"github.com/tagwarden/tagwarden/internal/lines"
	"github.com/tagwarden/tagwarden/internal/lockfile"
	"github.com/tagwarden/tagwarden/internal/store"
)

func newBaseline(env Env) *cobra.Command {
	return group("baseline", "Say which digests are expected to run",
		newBaselineApprove(env), newBaselineList(env), newBaselineRemove(env), newBaselineExport(env), newBaselineImport(env))
}

// baselineSchema names the form of an exported baseline.
const baselineSchema = "tagwarden.baseline/v1"

// baselineJSON is one line of an export. What is empty holds for all.
type baselineJSON struct {
	Schema    string         `json:"schema"`
	ID        int64          `json:"id,omitempty"`
	Cluster   string         `json:"cluster,omitempty"`
	Namespace string         `json:"namespace,omitempty"`
	Workload  event.Workload `json:"workload,omitzero"`
	Container string         `json:"container,omitempty"`
	Reference string         `json:"reference"`
	Digest    string         `json:"digest"`
	Origin    history.Origin `json:"origin"`
	By        string         `json:"by"`
	Why       string         `json:"why"`
	At        time.Time      `json:"at"`
}

// withStore opens the store for a change of its baselines.
func withStore(ctx context.Context, env Env, path string, do func(*store.Store) error) error {
	if path == "" {
		return usage("--store is missing; give the file that \"tagwarden watch --store\" writes")
	}
	s, err := store.Open(ctx, path, store.Options{Log: newLog(newConsole(env))})
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

func newBaselineApprove(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approve SUBJECT --why TEXT [--digest DIGEST]",
		Short: "Approve a digest for a workload and its image reference",
		Long: `Approve says that a digest is expected where SUBJECT runs its image reference:
a watch does not report it then, and reports others. Without --digest it approves
what runs now, as the store has it, and prints it.

SUBJECT is written as for "tagwarden history": deploy/api, shop/deploy/api.`,
		Example: `  tagwarden baseline approve shop/deploy/api --why "release 1.4, CHG-77"
  tagwarden baseline approve deploy/api -n shop -c api --digest sha256:3d7a83bf6fd2bf9226dd53f57b16d83457e8a402741c9c93ed9d7f20dc5dbf84 --why "hotfix"`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	path := storeFlag(cmd, "")
	digest := flags.String("digest", "", "the `digest` that is expected; default is what runs now")
	why := flags.String("why", "", "why it is, for the next reader")
	by := flags.String("by", userName(), "who says so")
	var f historyFlags
	flags.StringVar(&f.cluster, "cluster-name", "", "one cluster only")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "the namespace")
	flags.StringVarP(&f.container, "container", "c", "", "one container only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case strings.TrimSpace(*why) == "":
			return usage("--why is missing; say why the digest is expected")
		case *digest != "" && !image.Digest(*digest).Valid():
			return usage("--digest %s: not a digest; it is sha256: and 64 lower-case hex digits", *digest)
		}
		q, err := f.query(args, env.Now())
		if err != nil {
			return err
		}
		if q.Workload == "" && q.Pod == "" {
			return usage("%s: want a workload, such as deploy/api", args[0])
		}
		return withStore(cmd.Context(), env, *path, func(s *store.Store) error {
			return approve(cmd.Context(), env, s, q, *digest, history.Baseline{Origin: history.Approved, By: *by, Why: *why, At: env.Now().UTC()})
		})
	}
	return cmd
}

// userName is who runs the program, as far as the system says.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// approve adds a baseline for every container and reference that q selects.
func approve(ctx context.Context, env Env, s *store.Store, q history.Query, digest string, b history.Baseline) error {
	all, err := intervals(ctx, s, q)
	if err != nil {
		return err
	}
	workloads := map[string]bool{}
	done := map[history.Baseline]bool{}
	var add []history.Baseline
	for _, i := range all {
		ref, err := image.Parse(i.Reference)
		if err != nil || i.Digest == "" || i.Kind == event.Ephemeral || i.Running == 0 {
			continue
		}
		workloads[i.Cluster+" "+i.Namespace+" "+i.Workload.String()] = true
		x := b
		x.Subject, x.Reference, x.Digest = i.Subject, ref.String(), cmp.Or(digest, i.Digest)
		if !done[x] {
			done[x] = true
			add = append(add, x)
		}
	}
	switch {
	case len(add) == 0:
		return errors.New("nothing of that runs, as far as the store knows")
	case len(workloads) > 1:
		return usage("that is %d workloads; name one, with its namespace", len(workloads))
	case digest != "" && containersOf(add) > 1:
		return usage("the workload has several containers; say which with -c")
	}
	for _, x := range add {
		id, err := s.AddBaseline(ctx, x)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "baseline %d: %s/%s, container %s, %s is %s\n", id, x.Namespace, x.Workload, x.Container, x.Reference, x.Digest)
	}
	return nil
}

func containersOf(all []history.Baseline) int {
	names := map[string]bool{}
	for _, b := range all {
		names[b.Container] = true
	}
	return len(names)
}

func newBaselineList(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the approved digests",
		Example: `  tagwarden baseline list --store watch.db`,
		Args:    cobra.NoArgs,
	}
	path := storeFlag(cmd, "")
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		all, err := baselines(cmd.Context(), env, *path)
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeBaselines(env.Stdout, all)
		}
		tw := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "ID\tNAMESPACE\tWORKLOAD\tCONTAINER\tIMAGE\tDIGEST\tORIGIN\tBY\tWHEN\tWHY")
		for _, b := range all {
			fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.ID, cmp.Or(b.Namespace, "*"), cmp.Or(b.Workload.String(), "*"),
				cmp.Or(b.Container, "*"), b.Reference, drift.Short(b.Digest), b.Origin, b.By, stamp(b.At, env.Now().Location()), b.Why)
		}
		return tw.Flush()
	}
	return cmd
}

func baselines(ctx context.Context, env Env, path string) ([]history.Baseline, error) {
	s, err := readHistory(ctx, path, newConsole(env))
	if err != nil {
		return nil, err
	}
	all, err := s.Baselines(ctx, history.Subject{})
	return all, errors.Join(err, s.Close())
}

func writeBaselines(w io.Writer, all []history.Baseline) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, b := range all {
		err := enc.Encode(baselineJSON{
			baselineSchema, b.ID, b.Cluster, b.Namespace, b.Workload, b.Container, b.Reference, b.Digest, b.Origin, b.By, b.Why, b.At,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newBaselineRemove(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove ID...",
		Short:   "Take back the approval of a digest",
		Example: `  tagwarden baseline remove 3 --store watch.db`,
		Args:    cobra.MinimumNArgs(1),
	}
	path := storeFlag(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids := make([]int64, len(args))
		for i, arg := range args {
			n, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return usage("%s: want the number of a baseline; \"tagwarden baseline list\" has them", arg)
			}
			ids[i] = n
		}
		return withStore(cmd.Context(), env, *path, func(s *store.Store) error {
			for _, id := range ids {
				if err := s.RemoveBaseline(cmd.Context(), id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func newBaselineExport(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Print the approved digests, for another store",
		Example: `  tagwarden baseline export --store watch.db > baselines.jsonl`,
		Args:    cobra.NoArgs,
	}
	path := storeFlag(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := baselines(cmd.Context(), env, *path)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].ID = 0 // A number means something in its own store only.
		}
		return writeBaselines(env.Stdout, all)
	}
	return cmd
}

func newBaselineImport(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add approved digests from an export or a lock file",
		Long: `Import adds the baselines of a file that "tagwarden baseline export" wrote, or
what "tagwarden pin" keeps in a lock file: each of its digests is then expected
wherever its reference runs. - is for stdin. What the store has already is left as
it is. If a line is none, nothing is added.`,
		Example: `  tagwarden baseline import baselines.jsonl --store other.db
  tagwarden baseline import tagwarden.lock --store watch.db`,
		Args: cobra.ExactArgs(1),
	}
	path := storeFlag(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		add, err := readBaselines(env, args[0])
		if err != nil {
			return err
		}
		return withStore(cmd.Context(), env, *path, func(s *store.Store) error {
			have, err := s.Baselines(cmd.Context(), history.Subject{})
			if err != nil {
				return err
			}
			added := 0
			for _, b := range add {
				known := slices.ContainsFunc(have, func(h history.Baseline) bool {
					h.ID, h.At = 0, b.At
					return h == b
				})
				if known {
					continue
				}
				if _, err := s.AddBaseline(cmd.Context(), b); err != nil {
					return err
				}
				added++
			}
			say(env, "tagwarden: %s added, %d were there already\n", plural(added, "baseline"), len(add)-added)
			return nil
		})
	}
	return cmd
}

// readBaselines reads an export or a lock file. A line that is none is an error
// with its place.
func readBaselines(env Env, name string) ([]history.Baseline, error) {
	in := env.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read baselines: %w", err)
		}
		defer f.Close()
		in = f
	}
	peek := bufio.NewReader(in)
	if begin, err := peek.Peek(len(lockfile.Header)); err == nil && string(begin) == lockfile.Header {
		return lockBaselines(peek, name)
	}
	var all []history.Baseline
	for line := range lines.All(peek) {
		b, err := history.Baseline{}, line.Err
		if err == nil {
			b, err = parseBaseline(line.Text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line.Number, err)
		}
		all = append(all, b)
	}
	return all, nil
}

// lockBaselines are the lines of a lock file. GitHub actions run in no cluster and
// are left out. A lock file has the tag latest where a pod may have none.
func lockBaselines(in io.Reader, name string) ([]history.Baseline, error) {
	data, err := io.ReadAll(io.LimitReader(in, lockfile.MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read baselines: %w", err)
	case len(data) > lockfile.MaxSize:
		return nil, fmt.Errorf("read baselines: %s is larger than %d MiB", name, lockfile.MaxSize>>20)
	}
	lock, err := lockfile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	var all []history.Baseline
	for _, line := range lock.All() {
		if line.IsCommit() {
			continue
		}
		b := history.Baseline{
			Reference: line.Reference, Digest: line.Digest, Origin: history.Lock, By: line.From, Why: "from " + name, At: line.When,
		}
		all = append(all, b)
		if bare, ok := strings.CutSuffix(line.Reference, ":latest"); ok {
			b.Reference = bare
			all = append(all, b)
		}
	}
	return all, nil
}

func parseBaseline(line []byte) (history.Baseline, error) {
	var in baselineJSON
	if err := json.Unmarshal(line, &in); err != nil {
		return history.Baseline{}, fmt.Errorf("not a baseline: %w", err)
	}
	ref, err := image.Parse(in.Reference)
	switch {
	case in.Schema != baselineSchema:
		return history.Baseline{}, fmt.Errorf("not a baseline: schema is %q, want %q", in.Schema, baselineSchema)
	case err != nil:
		return history.Baseline{}, fmt.Errorf("not a baseline: reference: %w", err)
	case !image.Digest(in.Digest).Valid():
		return history.Baseline{}, fmt.Errorf("not a baseline: %q is no digest", in.Digest)
	case in.Origin != history.Approved && in.Origin != history.Lock:
		return history.Baseline{}, fmt.Errorf("not a baseline: origin is %q, want approved or lock", in.Origin)
	}
	return history.Baseline{
		Subject:   history.Subject{Cluster: in.Cluster, Namespace: in.Namespace, Workload: in.Workload, Container: in.Container},
		Reference: ref.String(), Digest: in.Digest, Origin: in.Origin, By: in.By, Why: in.Why, At: in.At.UTC(),
	}, nil
}
