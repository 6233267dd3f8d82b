// Command bench measures Tagwarden beside its peers, in one run on one machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 1 && args[0] == measureCommand {
		return measureOne(ctx, args[1:])
	}
	if len(args) == 0 || args[0] != "scan" {
		return fmt.Errorf("usage: bench scan [-files N] [-runs N] [-tagwarden FILE] [-bin FOLDER]")
	}
	flags := flag.NewFlagSet("bench scan", flag.ContinueOnError)
	b := scanBench{}
	flags.IntVar(&b.files, "files", 20_000, "how many manifests")
	flags.IntVar(&b.runs, "runs", 3, "how often each program runs; the median counts")
	flags.StringVar(&b.tagwarden, "tagwarden", "../bin/tagwarden", "the built program")
	flags.StringVar(&b.bin, "bin", "bin", "where the peers are built")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	return b.run(ctx)
}
