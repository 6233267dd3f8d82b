package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/play"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
	"github.com/tagwarden/tagwarden/lab/internal/watch"
)

// attackScenario is the one the lab is named after.
const attackScenario = "lab010"

func attackCommand(o *options) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "attack", Short: "Start the three pods: two from mutable tags, one from a fixed one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sc, err := scenario.Find(name)
			if err != nil {
				return &usageError{err}
			}
			d, s, err := o.loaded()
			if err != nil {
				return err
			}
			on, err := scenario.NewStage(d, s, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			if sc.Drift != nil {
				expects, err := on.PlayDrift(cmd.Context(), sc)
				for _, e := range expects {
					fmt.Fprintf(on.Out, "# Tagwarden must report: %s\n", e)
				}
				return err
			}
			_, err = sc.Play(cmd.Context(), on)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "scenario", attackScenario, "another scenario to play, see lab run --help")
	return cmd
}

// A session is a lab for one command: up, watched, and down again.
type session struct {
	*options
	tagwarden string
	rules     []string
	scenarios []string
	keep      bool
}

func (r *session) flags(cmd *cobra.Command) {
	addModeFlags(cmd, r.options)
	cmd.Flags().StringVar(&r.tagwarden, "tagwarden", "", "the program under test (default: built from this repository)")
	cmd.Flags().StringArrayVar(&r.rules, "rules", nil, "Falco rules `file` for it, instead of its own rules (may repeat)")
	cmd.Flags().BoolVar(&r.keep, "keep", false, "leave the lab up")
}

func runCommand(o *options) *cobra.Command {
	r := &session{options: o}
	cmd := &cobra.Command{
		Use: "run", Short: "Bring the lab up, attack, compare Tagwarden's alerts with the expected ones, bring it down",
		Long: "Run brings the lab up, starts Tagwarden on each source, plays the scenario, compares what was reported\n" +
			"with what happened, and brings the lab down.\n\nScenarios:\n" + scenarioList() +
			"\nExit status: 0 as expected, 1 not as expected, 2 wrong usage, 3 the lab cannot run.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var failed []string
			err := r.do(cmd.Context(), cmd.OutOrStdout(), func(ctx context.Context, on *scenario.Stage, w *watch.Watchers, sc scenario.Scenario) error {
				result, err := play.Scenario(ctx, on, w, sc)
				if err != nil {
					return err
				}
				printResult(on.Out, result)
				if len(result.Problems) > 0 {
					failed = append(failed, sc.Name)
				}
				return nil
			})
			if err == nil && len(failed) > 0 {
				err = fmt.Errorf("scenario %s: %w", strings.Join(failed, ", "), errUnexpected)
			}
			return err
		},
	}
	r.flags(cmd)
	cmd.Flags().StringSliceVar(&r.scenarios, "scenario", []string{attackScenario}, "scenario to play, or all (may repeat)")
	return cmd
}

func scenarioList() string {
	var b strings.Builder
	for _, sc := range scenario.All() {
		fmt.Fprintf(&b, "  %-18s %s\n", sc.Name, sc.Story)
	}
	return b.String()
}

// printResult writes the alerts, the table, and what was wrong.
func printResult(w io.Writer, r play.Result) {
	for _, a := range r.Alerts {
		fmt.Fprintln(w, a)
	}
	fmt.Fprintf(w, "\n%s", r.Table)
	for _, p := range r.Problems {
		fmt.Fprintln(w, "  "+p)
	}
}

// do brings a lab up with watchers, calls use for each scenario, and ends
// everything again, whatever happened.
func (r *session) do(ctx context.Context, out io.Writer, use func(context.Context, *scenario.Stage, *watch.Watchers, scenario.Scenario) error) (err error) {
	scenarios, err := r.find()
	if err != nil {
		return &usageError{err}
	}
	d, dir, err := r.driver()
	if err != nil {
		return err
	}
	program, err := r.program(ctx, d)
	if err != nil {
		return err
	}
	s, err := bringUp(ctx, d, dir, r.options)
	if errors.Is(err, cluster.ErrUp) {
		return fmt.Errorf("%w in %s: end it with lab down, or choose another folder with --state", err, dir)
	}
	if err != nil {
		return err
	}
	if r.keep {
		defer func() { printAccess(out, s) }()
	} else {
		defer func() { err = errors.Join(err, bringDown(ctx, d, dir)) }()
	}

	w, err := watch.Start(ctx, s, program)
	if w != nil {
		defer func() {
			said := w.Stop(ctx)
			if err != nil && ctx.Err() == nil {
				printSaid(out, said)
			}
		}()
	}
	if err != nil {
		return err
	}
	d.Out.Step("tagwarden watches: %s%s", strings.Join(w.Sources, ", "), s.Label())
	on, err := scenario.NewStage(d, s, out)
	if err != nil {
		return err
	}
	for _, sc := range scenarios {
		if sc.Real && s.Mode != cluster.Real && len(scenarios) > 1 {
			d.Out.Step("scenario %s left out: it needs a real node", sc.Name)
			continue
		}
		if sc.Triage != nil && !s.Accounts() && len(scenarios) > 1 {
			d.Out.Step("scenario %s left out: it needs docker-registry", sc.Name)
			continue
		}
		if err := use(ctx, on, w, sc); err != nil {
			return err
		}
	}
	return nil
}

// program returns the program under test. It will run in another folder, so
// all its files are named absolutely.
func (r *session) program(ctx context.Context, d cluster.Driver) (p watch.Program, err error) {
	for _, file := range r.rules {
		if _, err := os.Stat(file); err != nil {
			return p, &usageError{err}
		}
		if file, err = filepath.Abs(file); err != nil {
			return p, err
		}
		p.Rules = append(p.Rules, file)
	}
	if r.tagwarden == "" {
		p.Path, err = play.Tagwarden(ctx, d)
		return p, err
	}
	path, err := exec.LookPath(r.tagwarden)
	if err != nil {
		return p, &usageError{err}
	}
	p.Path, err = filepath.Abs(path)
	return p, err
}

// printSaid shows what the watchers said before something went wrong.
func printSaid(out io.Writer, said map[string]string) {
	for _, n := range slices.Sorted(maps.Keys(said)) {
		fmt.Fprintf(out, "--- tagwarden (%s) said:\n%s\n", n, said[n])
	}
}

func (r *session) find() ([]scenario.Scenario, error) {
	if slices.Equal(r.scenarios, []string{"all"}) {
		return scenario.All(), nil
	}
	var found []scenario.Scenario
	for _, name := range r.scenarios {
		sc, err := scenario.Find(name)
		if err != nil {
			return nil, err
		}
		found = append(found, sc)
	}
	return found, nil
}
