// Command lab runs a real one-node Kubernetes cluster on this machine, plays
// the attack with mutable image tags in it, and checks what Tagwarden saw.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, the same as Tagwarden's own.
const (
	exitFindings = 1 // the result is not the expected one
	exitUsage    = 2
	exitFailed   = 3 // the lab could not do its work
)

func main() {
	// A reader that went away must not keep the lab from being taken down.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx))
}

func run(ctx context.Context) int {
	root, understood := newRoot(), false //nolint:contextcheck // cobra hands the context to the commands
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !understood {
		err = &usageError{err}
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUnexpected):
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitFindings
	case errors.As(err, new(*usageError)):
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		return exitFailed
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		return exitFailed
	}
}

// errUnexpected ends a run whose result is not the expected one.
var errUnexpected = errors.New("the result is not the expected one")

// A usageError is a command line that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A one-node Kubernetes cluster on this machine, and the attack with mutable image tags",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&o.state, "state", "", "folder for everything the lab writes (default .lab in the repository)")
	root.AddCommand(
		upCommand(o), downCommand(o), statusCommand(o), stopCommand(o), startCommand(o), pushCommand(o),
		attackCommand(o), runCommand(o), recordCommand(o),
		holdCommand(), enterCommand(), registryCommand(),
	)
	return root
}
