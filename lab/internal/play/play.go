// Package play plays a scenario in a lab that is being watched, and judges
// what the watchers reported.
package play

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
	"github.com/tagwarden/tagwarden/lab/internal/verdict"
	"github.com/tagwarden/tagwarden/lab/internal/watch"
)

const (
	// reportTimeout is how long the watchers may take to report what has
	// happened already.
	reportTimeout = 30 * time.Second
	// quiet is how long nothing more may be reported once all is there: a
	// false or a doubled alert comes late, after a source has listed again.
	quiet = 2500 * time.Millisecond
)

// Tagwarden builds the program under test from the folder above the lab's
// source, and returns its path.
func Tagwarden(ctx context.Context, d cluster.Driver) (string, error) {
	out := filepath.Join(d.Bin, "tagwarden")
	if err := gobuild.Quick(ctx, filepath.Dir(d.Source), "./cmd/tagwarden", out, "CGO_ENABLED=0"); err != nil {
		return "", err
	}
	d.Out.Step("built tagwarden")
	return out, nil
}

// A Result is the outcome of one scenario.
type Result struct {
	Expects  []verdict.Expect
	Table    string
	Problems []string // none: everything was as expected
	// Alerts are the texts of the scenario's alerts, each with its source.
	Alerts []string
}

// Scenario plays one scenario and waits until the watchers have reported it,
// or cannot be expected to any more.
func Scenario(ctx context.Context, on *scenario.Stage, w *watch.Watchers, sc scenario.Scenario) (Result, error) {
	if sc.Real && on.State.Mode != cluster.Real {
		return Result{}, fmt.Errorf("scenario %s needs a real node", sc.Name)
	}
	if sc.Triage != nil && !on.State.Accounts() {
		return Result{}, fmt.Errorf("scenario %s needs docker-registry", sc.Name)
	}
	on.Driver.Out.Step("scenario %s: %s", sc.Name, sc.Story)
	if sc.Drift != nil {
		drifts, err := on.PlayDrift(ctx, sc)
		if err != nil {
			return Result{}, fmt.Errorf("scenario %s: %w", sc.Name, err)
		}
		result, err := await(ctx, on, w, func(reports []verdict.Reports) Result {
			table, problems := verdict.CheckDrift(sc.Name, drifts, reports[0].Alerts, sc.MayDoubt)
			return Result{Table: table, Problems: problems}
		})
		if err == nil && sc.Triage != nil {
			err = triage(ctx, on, w, sc, &result)
		}
		return result, err
	}
	expects, err := sc.Play(ctx, on)
	if err != nil {
		return Result{}, fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	return Judge(ctx, on, w, expects)
}

// triage asks what the alert of a scenario means.
func triage(ctx context.Context, on *scenario.Stage, w *watch.Watchers, sc scenario.Scenario, result *Result) error {
	want := sc.Triage(sc.Name)
	subject := want.Workload
	if want.Of != "" {
		reports, err := w.Reports()
		if err != nil {
			return err
		}
		if subject = verdict.Fingerprint(sc.Name, want.Of, reports[0].Alerts); subject == "" {
			return fmt.Errorf("scenario %s: no alert about %s has a fingerprint", sc.Name, want.Of)
		}
	}
	got, status, err := w.Triage(ctx, on.State, subject)
	if err != nil {
		return fmt.Errorf("scenario %s: %w", sc.Name, err)
	}
	table, problems := verdict.CheckTriage(want, got, status)
	result.Table += table
	result.Problems = append(result.Problems, problems...)
	return nil
}

// Judge waits until the watchers have reported what is expected, and then for
// nothing more to come.
func Judge(ctx context.Context, on *scenario.Stage, w *watch.Watchers, expects []verdict.Expect) (Result, error) {
	return await(ctx, on, w, func(reports []verdict.Reports) Result {
		table, problems := verdict.All(expects, reports, on.State.Label())
		result := Result{Expects: expects, Table: table, Problems: problems}
		for _, r := range reports {
			for _, a := range r.About(expects) {
				// The rules break their texts into lines.
				result.Alerts = append(result.Alerts, r.Source+": "+strings.Join(strings.Fields(a.Output), " "))
			}
		}
		return result
	})
}

// await judges again and again until nothing is wrong with what the watchers
// reported, or they cannot be expected to report more. The first reports are
// those of the Kubernetes API.
func await(ctx context.Context, on *scenario.Stage, w *watch.Watchers, of func([]verdict.Reports) Result) (Result, error) {
	judge := func() (Result, error) {
		if err := w.Alive(); err != nil {
			return Result{}, cluster.Final(err)
		}
		reports, err := w.Reports()
		if err != nil {
			return Result{}, cluster.Final(err)
		}
		return of(reports), nil
	}

	waiting, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	var late error
	err := cluster.Poll(waiting, 50*time.Millisecond, func(context.Context) error {
		r, err := judge()
		if err != nil {
			return err
		}
		if len(r.Problems) > 0 {
			late = fmt.Errorf("%s", strings.Join(r.Problems, "; "))
			return late
		}
		late = nil
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return Result{}, ctx.Err()
	case err != nil && late == nil:
		return Result{}, err
	case err == nil:
		on.Driver.Out.Step("all reported; %.1f s of silence must follow", quiet.Seconds())
		if err := sleep(ctx, quiet); err != nil {
			return Result{}, err
		}
	}
	return judge()
}

// sleep waits, or returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
