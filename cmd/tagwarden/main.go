// Command tagwarden tells whether what runs in Kubernetes is still what was
// deployed. See "tagwarden help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tagwarden/tagwarden/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work in order, a second one ends the process.
	context.AfterFunc(ctx, stop)
	code := cli.Main(ctx, os.Args[1:], cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now})
	stop()
	os.Exit(code)
}
