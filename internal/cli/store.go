package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/internal/store"
)

func newStore(env Env) *cobra.Command {
	return group("store", "Look after the history", newStoreCheck(env), newStoreCompact(env))
}

// checked is "store check -o json", a published format.
type checked struct {
	Schema   string         `json:"schema"`
	Path     string         `json:"path"`
	Sound    bool           `json:"sound"`
	Problems []storeProblem `json:"problems"`
	Stats    storeStats     `json:"stats"`
}

type storeProblem struct {
	Check  string `json:"check"`
	Detail string `json:"detail"`
}

type storeStats struct {
	Schema      int            `json:"schema"`
	Bytes       int64          `json:"bytes"`
	Containers  int            `json:"containers"`
	Revisions   int            `json:"revisions"`
	Intervals   int            `json:"intervals"`
	Running     int            `json:"running"`
	Findings    int            `json:"findings"`
	Undelivered int            `json:"undelivered"`
	Baselines   int            `json:"baselines"`
	Pushes      int            `json:"pushes"`
	Oldest      time.Time      `json:"oldest,omitzero"`
	Clusters    []storeCluster `json:"clusters"`
}

type storeCluster struct {
	Name      string    `json:"name"`
	Heartbeat time.Time `json:"heartbeat"`
}

func newStoreCheck(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check PATH",
		Short: "Say whether a history file is sound, and what it has",
		Long: `Check reads a whole history file and reports damage to the file, rows that
name rows that are not there, and history that cannot be. It changes nothing
and may run while a watch writes.

Exit status 1 when something is wrong with it.`,
		Example: `  tagwarden store check history.db
  tagwarden store check history.db -o json`,
		Args: cobra.ExactArgs(1),
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := checkStore(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		write := writeChecked
		if *output == "json" {
			write = writeJSON
		}
		if err := write(env.Stdout, c); err != nil {
			return err
		}
		if !c.Sound {
			return &statusError{status: exitFindings}
		}
		return nil
	}
	return cmd
}

func checkStore(ctx context.Context, path string) (c *checked, err error) {
	s, err := store.Open(ctx, path, store.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	problems, err := s.Check(ctx)
	if err != nil {
		return nil, err
	}
	c = &checked{Schema: "tagwarden.store-check/v1", Path: path, Sound: len(problems) == 0, Problems: []storeProblem{}}
	for _, p := range problems {
		c.Problems = append(c.Problems, storeProblem(p))
	}
	st, err := s.Stats(ctx)
	if err != nil && c.Sound {
		return nil, err // In a damaged file, not everything can be counted.
	}
	c.Stats = storeStats{
		Schema: st.Schema, Bytes: st.Bytes, Containers: st.Subjects, Revisions: st.Revisions, Intervals: st.Intervals, Running: st.Running,
		Findings: st.Findings, Undelivered: st.Undelivered, Baselines: st.Baselines, Pushes: st.Pushes, Oldest: st.Oldest, Clusters: []storeCluster{},
	}
	for _, cl := range st.Clusters {
		c.Stats.Clusters = append(c.Stats.Clusters, storeCluster(cl))
	}
	return c, nil
}

func writeChecked(w io.Writer, c *checked) error {
	for _, p := range c.Problems {
		if _, err := fmt.Fprintf(w, "%s: %s: %s\n", c.Path, p.Check, p.Detail); err != nil {
			return err
		}
	}
	verdict := "sound"
	if !c.Sound {
		verdict = "not sound; put back a copy of it, or move it away to begin anew"
	}
	st := c.Stats
	if _, err := fmt.Fprintf(w, "%s: %s\n%s, schema %d: %s of %s, %d running, %s (%d undelivered), %s\n", c.Path, verdict,
		megabytes(st.Bytes), st.Schema, plural(st.Intervals, "interval"), plural(st.Containers, "container"), st.Running,
		plural(st.Findings, "finding"), st.Undelivered, plural(st.Baselines, "baseline")); err != nil {
		return err
	}
	for _, cl := range st.Clusters {
		name := cl.Name
		if name == "" {
			name = "without a name"
		}
		if _, err := fmt.Fprintf(w, "cluster %s: known until %s\n", name, cl.Heartbeat.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

func newStoreCompact(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact PATH",
		Short: "Give the space of removed history back",
		Long: `Compact rewrites a history file without the space that removed history has
left. It needs as much free space beside the file as the file has, and no watch
may write meanwhile.`,
		Example: `  tagwarden store compact history.db`,
		Args:    cobra.ExactArgs(1),
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := compactStore(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeJSON(env.Stdout, struct {
				Schema string `json:"schema"`
				Path   string `json:"path"`
				Before int64  `json:"before"`
				After  int64  `json:"after"`
			}{"tagwarden.store-compact/v1", args[0], c.Before, c.After})
		}
		_, err = fmt.Fprintf(env.Stdout, "%s: %s before, %s after\n", args[0], megabytes(c.Before), megabytes(c.After))
		return err
	}
	return cmd
}

func compactStore(ctx context.Context, path string) (c store.Compacted, err error) {
	// Opened for writing, a file that is missing would be made.
	old, err := store.Open(ctx, path, store.Options{ReadOnly: true})
	if err != nil {
		return c, err
	}
	if err := old.Close(); err != nil {
		return c, err
	}
	s, err := store.Open(ctx, path, store.Options{})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Compact(ctx)
}

func writeJSON[T any](w io.Writer, v T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
