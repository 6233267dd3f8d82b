package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/lockfile"
	"github.com/tagwarden/tagwarden/internal/manifest"
	"github.com/tagwarden/tagwarden/internal/pin"
	"github.com/tagwarden/tagwarden/internal/registry"
	"github.com/tagwarden/tagwarden/internal/scan"
)

type pinFlags struct {
	check, diff, write bool
	style              *string
	renovate           bool
	platform           string
	platforms          bool

	lock     string
	lockSet  bool // somebody named it
	locked   bool
	offline  *bool
	update   []string
	updating bool

	fromHistory, fromCluster bool
	ran                      ranFlags

	actionsMirror, actionsServer string

	coverage, requireClean, allowUnpinned, krm, markdown, withFacts bool
	output                                                          *string
	registry                                                        *registryFlags
}

func newPin(env Env) *cobra.Command {
	var f pinFlags
	cmd := &cobra.Command{
		Use:   "pin PATH... | -",
		Short: "Write the digest of each image reference into files",
		Long: `Pin gives every image reference its digest: nginx:1.25.3 becomes
nginx:1.25.3@sha256:…, and an action owner/repository@v4 its commit, with # v4
behind it. Only the bytes of the reference change. It reads the formats that
"tagwarden scan" reads, and asks once for each reference.

Without --write it says what it would do. --diff prints that as a patch; --check
asks nobody, and ends with 1 if something has no digest, or another one than the
lock file says.

A digest is that of the index, which is right on all platforms, as the tag stands
now. --from-cluster and --from-history take what was proven to run instead: not
what somebody pushed a minute ago.

If there is a ` + lockfile.Name + ` in the working directory, or --lock names one, it has
a line for each reference, and --write keeps it. What it knows is not asked for.

What cannot be pinned is left as it is, each with its reason; the rest is done and
the exit status is 3, unless --allow-unpinned.

With "-" it reads manifests from stdin and writes them to stdout; with --krm it is
a function for kustomize and kpt.`,
		Example: `  tagwarden pin .                                # what would change?
  tagwarden pin deploy/ Dockerfile --write
  tagwarden pin . --diff | git apply
  tagwarden pin . --check                        # in CI
  tagwarden pin . --update --write -o markdown   # move all tags along
  tagwarden pin . --update='nginx*' --diff
  tagwarden pin deploy/ --from-history --store watch.db --write
  helm template chart/ | tagwarden pin - | kubectl apply -f -`,
		Args: cobra.ArbitraryArgs,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.write, "write", false, "change the files")
	flags.BoolVar(&f.diff, "diff", false, "print a patch, change nothing")
	flags.BoolVar(&f.check, "check", false, "change nothing; exit status 1 if something would change")
	cmd.MarkFlagsMutuallyExclusive("write", "diff", "check")
	f.style = choiceFlag(cmd, "style", "how a digest is written", "tag", "comment")
	flags.BoolVar(&f.renovate, "renovate", false, "write only forms that Renovate reads (kustomize: newTag: TAG@DIGEST)")
	flags.StringVar(&f.platform, "platform", "", "the digest for one platform: `OS/ARCHITECTURE[/VARIANT]`")
	flags.BoolVar(&f.platforms, "platforms", false, "note the platforms of each digest in the lock file (one GET request more for each)")
	flags.StringVar(&f.lock, "lock", lockfile.Name, "lock `file`; one that is named is made if it is not there")
	flags.BoolVar(&f.locked, "locked", false, "take digests from the lock file alone, also in place of those in the files")
	flags.StringArrayVar(&f.update, "update", nil, "look up again what has a digest; all, or images that match =`PATTERN` (may repeat)")
	flags.Lookup("update").NoOptDefVal = "*"
	flags.BoolVar(&f.fromHistory, "from-history", false, "take what ran, as the history in --store has it")
	flags.BoolVar(&f.fromCluster, "from-cluster", false, "take what the pods of a cluster run")
	cmd.MarkFlagsMutuallyExclusive("from-history", "from-cluster", "locked")
	f.ran.add(cmd)
	flags.StringVar(&f.actionsMirror, "actions-mirror", "", "`folder` with the git repositories of actions, as OWNER/REPOSITORY")
	flags.StringVar(&f.actionsServer, "actions-server", cmp.Or(os.Getenv("GITHUB_SERVER_URL"), "https://github.com"), "`address` of the git server that actions come from")
	flags.BoolVar(&f.coverage, "coverage", false, "count every text that looks like a reference, and list those that are none to the program; with --check they make the exit status 3")
	flags.BoolVar(&f.requireClean, "require-clean", false, "change nothing if git has changes below PATH that are not committed")
	flags.BoolVar(&f.allowUnpinned, "allow-unpinned", false, "what could not be read or pinned does not make the exit status 3")
	flags.BoolVar(&f.krm, "krm", false, "read a ResourceList from stdin and write it to stdout, as kustomize and kpt want it")
	flags.BoolVar(&f.markdown, "markdown", false, "short for -o markdown")
	flags.BoolVar(&f.withFacts, "facts", true, "compare the images of what moves, and ask who pushed it, for -o markdown")
	f.output = outputFlag(cmd, "table", "json", "markdown")
	f.registry = addRegistryFlags(cmd)
	f.offline = offlineFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.lockSet, f.updating = cmd.Flags().Changed("lock"), len(f.update) > 0
		if f.markdown {
			*f.output = "markdown"
		}
		if f.krm {
			if len(args) > 0 {
				return usage("--krm reads stdin; leave out %s", args[0])
			}
			return f.function(cmd, env)
		}
		if err := f.valid(args); err != nil {
			return err
		}
		return f.run(cmd.Context(), env, args)
	}
	return cmd
}

// valid checks what belongs together.
func (f *pinFlags) valid(args []string) error {
	switch {
	case len(args) == 0:
		return usage("what is to be pinned? give a PATH, . for the working directory, or - for stdin")
	case slices.Contains(args, "-") && len(args) > 1:
		return usage("'-' reads stdin; give it alone")
	case args[0] == "-" && f.write:
		return usage("--write changes files; stdin goes to stdout without it")
	case args[0] == "-" && f.requireClean:
		return usage("--require-clean is for files, not for stdin")
	case f.diff && *f.output != "table":
		return usage("--diff prints a patch; leave out -o %s", *f.output)
	case f.renovate && *f.style == "comment":
		return usage("--renovate and --style comment exclude each other: Renovate takes a digest without a tag to follow latest")
	case f.locked && f.updating:
		return usage("--locked takes digests from the lock file alone, and --update looks them up; give one of them")
	case f.fromHistory && *f.ran.store == "":
		return usage("--from-history needs --store FILE, which \"tagwarden watch --store\" writes")
	case f.updating && (f.fromHistory || f.fromCluster):
		return usage("--update looks digests up in registries; leave out --from-history and --from-cluster")
	case f.check && (f.fromHistory || f.fromCluster):
		return usage("--check asks nobody; leave out --from-history and --from-cluster")
	case f.updating && *f.offline:
		return usage("--update asks registries, and --offline asks none; give one of them")
	}
	for _, pattern := range f.update {
		if _, err := path.Match(pattern, ""); err != nil {
			return usage("--update=%s: %w", pattern, err)
		}
	}
	return f.ran.valid(f.fromHistory, f.fromCluster, len(f.registry.secrets) > 0)
}

// A pinRun is one run of the command.
type pinRun struct {
	*pinFlags
	env      Env
	con      *console
	client   *registry.Client
	resolver *pin.Resolver
	lock     *lockfile.File // nil for none
	close    func() error
	report   pinReport
}

// A pinnedFile is what became of a file.
type pinnedFile struct {
	name        string
	items       []pin.Item
	unscannable []manifest.Unscannable
	changed     bool
	diff        []byte
	looks       int
	lookalikes  []pin.Lookalike
	err         error // that of the context
}

func (f *pinFlags) start(ctx context.Context, env Env) (*pinRun, error) {
	r := &pinRun{pinFlags: f, env: env, con: newConsole(env), close: func() error { return nil }}
	var on image.Platform
	if f.platform != "" {
		var err error
		if on, err = image.ParsePlatform(f.platform); err != nil {
			return nil, usage("--platform: %w", err)
		}
	}
	client, err := f.registry.client(newLog(r.con), nil)
	if err != nil {
		return nil, err
	}
	if r.lock, err = f.readLock(); err != nil {
		return nil, err
	}
	r.client = client
	forge := pin.NewForge(f.actionsMirror, f.actionsServer)
	r.resolver = &pin.Resolver{
		Lock: r.lock, Locked: f.locked, Offline: *f.offline, Dry: f.check,
		Image:  pin.Ask(client, on, f.platforms, f.registry.origin),
		Commit: forge.Commit,
	}
	if f.updating {
		r.resolver.Update = f.matches
	}
	if f.fromHistory || f.fromCluster {
		if err := f.ran.start(ctx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// matches reports whether --update is about a reference.
func (f *pinFlags) matches(a *pin.Asked) bool {
	names := []string{a.Name, a.Follows}
	if !a.Action {
		names = append(names, a.Image.Familiar())
		if tag := a.Image.Tag(); tag != "" {
			names = append(names, a.Image.Familiar()+":"+tag)
		}
	}
	return slices.ContainsFunc(f.update, func(pattern string) bool {
		return pattern == "*" || slices.ContainsFunc(names, func(name string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		})
	})
}

// readLock reads the lock file. One that nobody named and is not there is none.
func (f *pinFlags) readLock() (*lockfile.File, error) {
	data, err := readFile(f.lock, lockfile.MaxSize)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.locked:
		return nil, fmt.Errorf("--locked: there is no %s; make it with: tagwarden pin PATH --lock %s --write", f.lock, f.lock)
	case errors.Is(err, fs.ErrNotExist) && f.lockSet:
		return &lockfile.File{}, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // There need not be one.
	case err != nil:
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	lock, err := lockfile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", f.lock, err)
	}
	return lock, nil
}

func (f *pinFlags) run(ctx context.Context, env Env, args []string) (err error) {
	if f.requireClean {
		if err := clean(ctx, args); err != nil {
			return err
		}
	}
	r, err := f.start(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if args[0] == "-" {
		return r.filter(ctx)
	}
	out := bufio.NewWriter(env.Stdout)
	r.report = newPinReport(*f.output, f.diff, r.told())
	progress := newProgress(env)
	total := &pinTotal{}
	err = scan.InOrder(ctx, pinWorkers, scan.Walk(args), func(ctx context.Context) func([]scan.File) []*pinnedFile {
		e := r.editor()
		return func(some []scan.File) []*pinnedFile {
			done := make([]*pinnedFile, 0, len(some))
			for _, file := range some {
				done = append(done, r.file(ctx, e, file.Name))
			}
			return done
		}
	}, func(done []*pinnedFile) error {
		for _, p := range done {
			if p.err != nil {
				return p.err
			}
			r.resolver.Note(p.items, f.write)
			total.add(p)
			if err := r.report.add(out, p); err != nil {
				return err
			}
			r.say(p)
		}
		progress.show(func() string { return total.line(f.write) })
		return out.Flush()
	})
	progress.clear()
	if err != nil {
		return errors.Join(err, out.Flush())
	}
	disagree, err := r.settle()
	if err != nil {
		return errors.Join(err, out.Flush())
	}
	total.Disagreements = len(disagree)
	err = errors.Join(r.report.end(ctx, out, total, disagree, f), out.Flush())
	if err != nil {
		return err
	}
	return f.status(total)
}

// told finds what else is known of a move, unless nobody is to be asked.
func (r *pinRun) told() func(context.Context, *pinMove) []string {
	if *r.offline || r.check || !r.withFacts {
		return nil
	}
	return r.facts
}

// pinWorkers is how many files are looked at at a time: most wait for registries.
const pinWorkers = 16

func (r *pinRun) editor() *pin.Editor {
	return &pin.Editor{Style: pin.Style{Comment: *r.style == "comment", Renovate: r.renovate}, Decide: r.resolver.Decide}
}

// clean refuses changes that nobody could tell from those that are there.
func clean(ctx context.Context, args []string) error {
	dirty, err := scan.Dirty(ctx, args)
	if err != nil {
		return fmt.Errorf("--require-clean: %w", err)
	}
	if len(dirty) > 0 {
		return fmt.Errorf("--require-clean: %s not committed, such as %s; nothing was changed", plural(len(dirty), "file")+map[bool]string{true: " is", false: " are"}[len(dirty) == 1], inLine(dirty[0]))
	}
	return nil
}

// file looks at one file, and changes it if that was asked for.
func (r *pinRun) file(ctx context.Context, e *pin.Editor, name string) *pinnedFile {
	p := &pinnedFile{name: name}
	src, err := pin.Read(filepath.FromSlash(name))
	if err != nil {
		p.unscannable = []manifest.Unscannable{{Reason: reasonOf(err)}}
		return p
	}
	format := manifest.Detect(name)
	if format == "" {
		format = manifest.Kubernetes // It was named on the command line.
	}
	edited := r.edit(ctx, e, p, format, src.Data)
	if p.err != nil || !edited.Changed || !r.write {
		return p
	}
	if err := src.Replace(edited.Text); err != nil {
		for i := range p.items {
			if item := &p.items[i]; item.State == pin.Pinned || item.State == pin.Moved {
				item.State, item.After, item.New = pin.Left, item.Before, item.Old
				item.Err = fmt.Errorf("the file could not be written: %s", reasonOf(err))
			}
		}
	}
	return p
}

// edit makes the new text of a file, and what is said of it.
func (r *pinRun) edit(ctx context.Context, e *pin.Editor, p *pinnedFile, format manifest.Format, data []byte) *pin.Edited {
	edited, err := e.Edit(ctx, p.name, format, data)
	if err != nil {
		p.err = err
		return nil
	}
	p.items, p.unscannable, p.changed = edited.Items, edited.Unscannable, edited.Changed
	if r.coverage {
		p.looks, p.lookalikes = pin.Coverage(data, &edited.Found)
	}
	if r.diff && edited.Changed {
		p.diff = diff.Diff("a/"+p.name, data, "b/"+p.name, edited.Text)
		// Its own first line is none of a patch.
		if _, after, ok := bytes.Cut(p.diff, []byte("\n")); ok {
			p.diff = after
		}
	}
	return edited
}

// reasonOf is an error without the name of the file, which stands before it.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// say writes warnings, and what was left where the report does not say it.
func (r *pinRun) say(p *pinnedFile) {
	for i := range p.items {
		item := &p.items[i]
		for _, w := range item.Warnings {
			say(r.env, "tagwarden: %s:%d: %s: warning: %s\n", inLine(p.name), item.Line, inLine(item.Before), inLine(w))
		}
		if r.diff && item.State == pin.Left {
			say(r.env, "tagwarden: %s:%d: %s: not pinned: %s\n", inLine(p.name), item.Line, inLine(item.Before), inLine(item.Err.Error()))
		}
	}
	if r.diff {
		for _, u := range p.unscannable {
			say(r.env, "tagwarden: %s\n", inLine(placed(scan.Unscannable{File: p.name, Line: u.Line, Reason: u.Reason})))
		}
	}
}

// settle compares files and lock file, and writes that if it is to be kept.
func (r *pinRun) settle() ([]pin.Disagreement, error) {
	if !r.write || r.lock == nil {
		if r.check {
			return r.resolver.Disagreements(), nil
		}
		return nil, nil
	}
	if !r.locked {
		known := r.lock.Len()
		if r.resolver.Relock(r.env.Now()) || known == 0 {
			if err := pin.WriteFile(r.pinFlags.lock, r.lock.Bytes()); err != nil {
				return nil, fmt.Errorf("write lock file: %w", err)
			}
		}
	}
	return r.resolver.Disagreements(), nil
}

// status is the exit status. What could not be told goes before what was found.
func (f *pinFlags) status(t *pinTotal) error {
	unknown := t.Left + t.Unscannable
	if f.check && f.coverage {
		unknown += t.Lookalikes
	}
	if f.write {
		unknown += t.Disagreements
	}
	switch {
	case unknown > 0 && !f.allowUnpinned:
		return &statusError{status: exitFailed}
	case f.check && t.Pending+t.Pinned+t.Moved+t.Disagreements > 0:
		return &statusError{status: exitFindings}
	}
	return nil
}

// filter pins what comes from stdin and writes it to stdout.
func (r *pinRun) filter(ctx context.Context) error {
	data, err := r.stdin(ctx)
	if err != nil {
		return err
	}
	p := &pinnedFile{name: "stdin"}
	edited := r.edit(ctx, r.editor(), p, manifest.Kubernetes, data)
	if p.err != nil {
		return p.err
	}
	total := &pinTotal{}
	total.add(p)
	r.resolver.Note(p.items, false)
	var disagree []pin.Disagreement
	out := bufio.NewWriter(r.env.Stdout)
	switch {
	case r.check, *r.output != "table":
		r.report = newPinReport(*r.output, false, r.told())
		if r.check {
			disagree = r.resolver.Disagreements()
		}
		total.Disagreements = len(disagree)
		err = errors.Join(r.report.add(out, p), r.report.end(ctx, out, total, disagree, r.pinFlags))
	case r.diff:
		r.say(p)
		_, err = out.Write(p.diff)
	default:
		r.diff = true // What was left is said on stderr.
		r.say(p)
		_, err = out.Write(edited.Text)
	}
	if err := errors.Join(err, out.Flush()); err != nil {
		return err
	}
	return r.status(total)
}

// stdin reads all of stdin, within the bounds of a file.
func (r *pinRun) stdin(ctx context.Context) ([]byte, error) {
	in := interruptible(r.env.Stdin)
	stop := context.AfterFunc(ctx, func() { _ = in.Close() })
	defer stop()
	data, err := io.ReadAll(io.LimitReader(in, manifest.MaxSize+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("read stdin: %w", err)
	case len(data) > manifest.MaxSize:
		return nil, fmt.Errorf("read stdin: larger than %d MiB", manifest.MaxSize>>20)
	}
	return data, nil
}

// origin is what a lock file says of an answer about a reference.
func (f *registryFlags) origin(ref image.Reference) string {
	for _, m := range f.mirrors {
		if from, to, _ := strings.Cut(m, "="); from == ref.Registry() {
			return "registry:" + to
		}
	}
	return "registry:" + ref.Registry()
}
