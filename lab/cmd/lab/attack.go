package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/lab/internal/attack"
	"github.com/tagwarden/tagwarden/lab/internal/cluster"
)

func attackCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "attack", Short: "Start the three pods: two from mutable tags, one from a fixed one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, s, err := o.loaded()
			if err != nil {
				return err
			}
			return playAttack(cmd.Context(), d, s, cmd.OutOrStdout())
		},
	}
}

// playAttack starts the pods, waits until they run, and shows them.
func playAttack(ctx context.Context, d cluster.Driver, s *cluster.State, w io.Writer) error {
	pods := attack.Pods()
	if err := attack.Start(ctx, s, pods, w); err != nil {
		return err
	}
	running, err := attack.WaitRunning(ctx, s, pods)
	if err != nil {
		return err
	}
	d.Out.Step("all %d pods run%s", len(running), s.Label())
	attack.PrintPods(w, running, s.Label())
	return attack.Check(ctx, s, pods[0], w)
}
