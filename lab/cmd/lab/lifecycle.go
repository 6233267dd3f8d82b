package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/lab/internal/cluster"
)

func upCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "Start the cluster in the background", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, dir, err := o.driver()
			if err != nil {
				return err
			}
			s, err := bringUp(cmd.Context(), d, dir, o)
			if err != nil && !errors.Is(err, cluster.ErrUp) {
				return err
			}
			if errors.Is(err, cluster.ErrUp) {
				d.Out.Step("the lab in %s is up already", dir)
			}
			printAccess(cmd.OutOrStdout(), s)
			return nil
		},
	}
	addModeFlags(cmd, o)
	return cmd
}

func addModeFlags(cmd *cobra.Command, o *options) {
	cmd.Flags().BoolVar(&o.simulated, "simulated", false, "control plane only, with a simulated node")
	cmd.Flags().BoolVar(&o.noInstall, "no-install", false, "do not install missing packages")
}

// bringUp starts a lab in the mode this machine allows. When that fails, what
// was started is ended again; the logs are shown by the error.
func bringUp(ctx context.Context, d cluster.Driver, dir string, o *options) (*cluster.State, error) {
	mode, err := chooseMode(ctx, d.Out, o)
	if err != nil {
		return nil, err
	}
	s, err := d.Up(ctx, dir, mode)
	if err == nil || errors.Is(err, cluster.ErrUp) {
		return s, err
	}
	if _, downErr := d.Down(ctx, dir); downErr != nil {
		err = errors.Join(err, downErr)
	}
	return nil, err
}

// printAccess writes how to reach the cluster, as lines for a shell.
func printAccess(w io.Writer, s *cluster.State) {
	fmt.Fprintf(w, "export KUBECONFIG=%s\n", s.Kubeconfig())
	if s.Mode == cluster.Real {
		fmt.Fprintf(w, "export CONTAINERD_ADDRESS=%s\n", s.ContainerdSocket())
	} else {
		fmt.Fprintf(w, "# SIMULATED NODE: there is no containerd\n")
	}
}

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End the cluster and remove all it left, also after a crash", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, dir, err := o.driver()
			if err != nil {
				return err
			}
			return bringDown(cmd.Context(), d, dir)
		},
	}
}

func bringDown(ctx context.Context, d cluster.Driver, dir string) error {
	found, err := d.Down(ctx, dir)
	switch {
	case err != nil:
		return err
	case found:
		d.Out.Step("the lab is down, %s removed", dir)
	default:
		d.Out.Step("no lab in %s", dir)
	}
	return nil
}

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what runs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, s, err := o.loaded()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%-20s %-8s %8s %8s%s\n", "PART", "STATE", "PID", "RSS", s.Label())
			for _, p := range s.Status() {
				state, pid, rss := "stopped", "-", "-"
				if p.Alive {
					state, pid, rss = "running", strconv.Itoa(p.PID), fmt.Sprintf("%d MB", p.RSS>>20)
				}
				fmt.Fprintf(w, "%-20s %-8s %8s %8s\n", p.Name, state, pid, rss)
			}
			printAccess(w, s)
			return nil
		},
	}
}

func stopCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "stop PART", Short: "Kill one part, as a crash would", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, s, err := o.loaded()
			if err != nil {
				return err
			}
			return d.Stop(cmd.Context(), s, args[0])
		},
	}
}

func startCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "start PART", Short: "Start a stopped part again, with the same data", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, s, err := o.loaded()
			if err != nil {
				return err
			}
			return d.Start(cmd.Context(), s, args[0])
		},
	}
}

func pushCommand(o *options) *cobra.Command {
	var content string
	cmd := &cobra.Command{
		Use: "push IMAGE", Short: "Overwrite a tag in the registry with other bytes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, s, err := o.loaded()
			if err != nil {
				return err
			}
			digest, err := d.Push(cmd.Context(), s, args[0], content)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s@%s\n", args[0], digest)
			return nil
		},
	}
	cmd.Flags().StringVar(&content, "content", "replaced", "what makes the image differ from others")
	return cmd
}
