// Package cli is the command line: one file a command, which wires the other
// packages together and turns their errors into exit statuses.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Env is what a process gets from its surroundings.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Now is the clock that exceptions expire by.
	Now func() time.Time
}

// Exit statuses, a contract with scripts.
const (
	exitOK = iota
	// exitFindings says that something at or above --fail-on was found.
	exitFindings
	// exitUsage says that the command line was wrong.
	exitUsage
	// exitFailed says that the work, or a part of it, could not be done.
	exitFailed
)

// statusError is an error with an exit status of its own.
type statusError struct {
	status int
	err    error // nil when everything has been said
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// usage makes an error for a wrong command line.
func usage(format string, args ...any) error {
	return &statusError{exitUsage, fmt.Errorf(format, args...)}
}

// Main runs one command line and returns the exit status: 0 nothing found,
// 1 findings at or above --fail-on, 2 wrong usage, 3 could not do the work.
func Main(ctx context.Context, args []string, env Env) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var status *statusError
	if !errors.As(err, &status) {
		// What cobra itself finds is always about the command line; what our
		// commands find has a status or is work that could not be done.
		status = &statusError{exitFailed, err}
		if cmd.ValidateFlagGroups() != nil || cmd.ValidateRequiredFlags() != nil {
			status.status = exitUsage // Cobra gives these no type of their own.
		}
	}
	if status.err != nil {
		say(env, "tagwarden: %v\n", oneLine(err))
		if status.status == exitUsage {
			say(env, "Run '%s --help' for usage and examples.\n", cmd.CommandPath())
		}
	}
	return status.status
}

// oneLine joins the lines of a joined error, so that each problem is still a
// line of its own with the program's name before it.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "\ntagwarden: ")
}

// say writes to stderr. Nobody can be told when that fails.
func say(env Env, format string, args ...any) {
	_, _ = fmt.Fprintf(env.Stderr, format, args...)
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "tagwarden",
		Short: "Tell whether what runs in Kubernetes is still what was deployed",
		Long: `Tagwarden sees every container start, says which ones run from a mutable
image tag, and alerts in Falco's format. It tells when the bytes behind a tag
changed without a deployment, pins references to digests, and keeps mutable
ones out.

Results go to stdout, everything else to stderr. Exit status: 0 nothing found,
1 findings at or above --fail-on, 2 wrong usage, 3 the work, or a part of it,
could not be done.`,
		Example: `  tagwarden demo                      # a recorded attack, caught, in five seconds
  tagwarden scan                      # mutable references in the files here
  tagwarden pin . --diff              # their digests, as a patch
  tagwarden watch                     # container starts of the current cluster
  tagwarden triage shop/deploy/api    # what does an alert mean?
  tagwarden image classify nginx:1.25 # is this reference mutable, and why?
  tagwarden image resolve nginx:1.25  # which bytes does it stand for now?
  tagwarden rules explain FILE        # what a Falco rules file really says`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &statusError{exitUsage, err}
	})
	root.AddCommand(
		newScan(env),
		newPin(env),
		newRender(env),
		newTriage(env),
		newWatch(env),
		newHistory(env),
		newDrift(env),
		newBaseline(env),
		newDemo(env),
		newExport(env),
		newImage(env),
		newRules(env),
		newPolicy(env),
		newAdmission(env),
		newStore(env),
		newVersion(env),
	)
	// A wrong number of arguments, and flags that exclude each other, are wrong
	// usage, wherever it is found.
	var wrap func(*cobra.Command)
	wrap = func(cmd *cobra.Command) {
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				err := check(cmd, args)
				if err == nil {
					err = cmd.ValidateFlagGroups()
				}
				if err != nil {
					return &statusError{exitUsage, err}
				}
				return nil
			}
		}
		for _, sub := range cmd.Commands() {
			wrap(sub)
		}
	}
	wrap(root)
	return root
}

// group is a command that only has sub-commands.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), nearest(cmd, args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

func nearest(cmd *cobra.Command, name string) string {
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		return fmt.Sprintf("; did you mean %q?", s[0])
	}
	return ""
}

// outputFlag adds -o with the formats that the command has, the first being
// the default, and says at parse time what is not one.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	format := &choice{value: formats[0], of: formats}
	cmd.Flags().VarP(format, "output", "o", "output format: "+strings.Join(formats, ", "))
	complete(cmd, "output", formats...)
	return &format.value
}

// choiceFlag adds a flag that takes one of some words, the first being the
// default.
func choiceFlag(cmd *cobra.Command, name, help string, words ...string) *string {
	c := &choice{value: words[0], of: words}
	cmd.Flags().Var(c, name, help+": "+strings.Join(words, ", "))
	complete(cmd, name, words...)
	return &c.value
}

func complete(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag was added a line before.
	}
}

type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(s string) error {
	if slices.Contains(c.of, s) {
		c.value = s
		return nil
	}
	return fmt.Errorf("want one of %s", strings.Join(c.of, ", "))
}

// isTerminal reports whether w is a terminal that a line can be redrawn on.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// textWidth is how wide lines of text are: as the terminal, but not much wider
// or narrower than people read with ease.
func textWidth(env Env) int {
	const least, most = 40, 78
	f, ok := env.Stdout.(*os.File)
	if !ok {
		return most
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return most
	}
	return min(max(width, least), most)
}
