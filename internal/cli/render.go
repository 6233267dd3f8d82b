package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/internal/render"
)

// renderCommand is what this program is called with to render for another one
// of its kind.
const renderCommand = "render-for-scan"

func newRender(env Env) *cobra.Command {
	return &cobra.Command{
		Use:    renderCommand,
		Short:  "Render charts and kustomizations for a scan, which runs this",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			return render.Serve(env.Stdin, env.Stdout)
		},
	}
}

// newRenderer renders in processes of this program.
func newRenderer() *render.Renderer {
	return &render.Renderer{Command: func(ctx context.Context) *exec.Cmd {
		program, err := os.Executable()
		if err != nil {
			return &exec.Cmd{Err: fmt.Errorf("find this program: %w", err)}
		}
		cmd := exec.CommandContext(ctx, program, renderCommand) //nolint:gosec // It is this program.
		cmd.Args[0] = "tagwarden"                               // Whatever it was called by.
		return cmd
	}}
}
