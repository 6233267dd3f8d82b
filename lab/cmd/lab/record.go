package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
	"github.com/tagwarden/tagwarden/lab/internal/gobuild"
	"github.com/tagwarden/tagwarden/lab/internal/play"
	"github.com/tagwarden/tagwarden/lab/internal/scenario"
	"github.com/tagwarden/tagwarden/lab/internal/watch"
)

func recordCommand(o *options) *cobra.Command {
	r := &session{options: o}
	var file, source string
	var withStory bool
	cmd := &cobra.Command{
		Use: "record -o FILE", Short: "Record the container starts of the attack for tagwarden's replay source",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return &usageError{errors.New("where to? give a file with -o")}
			}
			return r.do(cmd.Context(), cmd.OutOrStdout(), func(ctx context.Context, on *scenario.Stage, w *watch.Watchers, sc scenario.Scenario) error {
				if !slices.Contains(w.Sources, source) {
					return fmt.Errorf("source %s: this lab has only %v", source, w.Sources)
				}
				result, err := play.Scenario(ctx, on, w, sc)
				if err != nil {
					return err
				}
				printResult(on.Out, result)
				if len(result.Problems) > 0 {
					return fmt.Errorf("not recorded: %w", errUnexpected)
				}
				starts, err := os.ReadFile(w.Recording(source))
				if err != nil {
					return err
				}
				if withStory {
					starts = append([]byte(story(on.State, sc)), starts...)
				}
				on.Driver.Out.Step("%s: %d lines", file, bytes.Count(starts, []byte("\n")))
				return os.WriteFile(file, starts, 0o644)
			})
		},
	}
	r.flags(cmd)
	cmd.Flags().StringSliceVar(&r.scenarios, "scenario", []string{attackScenario}, "scenario to record")
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write")
	cmd.Flags().StringVar(&source, "source", "kube", "source whose view is recorded: kube or containerd")
	cmd.Flags().BoolVar(&withStory, "story", false, "begin the file with comment lines that tell the story")
	return cmd
}

// story is the head of a recording: comment lines for whoever opens it.
func story(s *cluster.State, sc scenario.Scenario) string {
	node := "a real node"
	if s.Mode == cluster.Simulated {
		node = "a SIMULATED NODE"
	}
	return fmt.Sprintf("# %s: %s.\n# Recorded by \"lab record\" on %s, Kubernetes %s. Replay: tagwarden watch --source replay --events FILE\n",
		sc.Name, sc.Story, node, gobuild.KubernetesVersion)
}
