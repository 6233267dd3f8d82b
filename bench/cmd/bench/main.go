// Command bench measures Tagwarden beside its peers, in one run on one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
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
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("bench "+args[0], flag.ContinueOnError)
	runs := flags.Int("runs", 3, "how often each program runs; the median counts")
	tagwarden := flags.String("tagwarden", "../bin/tagwarden", "the built program")
	bin := flags.String("bin", "bin", "where the peers are built")
	switch args[0] {
	case "scan":
		files := flags.Int("files", 20_000, "how many manifests")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		b := scanBench{files: *files, runs: *runs, tagwarden: *tagwarden, bin: *bin}
		return b.run(ctx)
	case "pin":
		files := flags.Int("files", 1_000, "how many manifests")
		images := flags.Int("images", 200, "how many images")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		b := pinBench{files: *files, images: *images, runs: *runs, tagwarden: *tagwarden, bin: *bin}
		return b.run(ctx)
	case "admission":
		benchtime := flags.Duration("benchtime", time.Second, "how long each engine answers each review; 0 leaves the engines out")
		rate := flags.Int("rate", 5_000, "reviews a second for Tagwarden's server; 0 leaves it out")
		connections := flags.Int("connections", 64, "over how many connections")
		duration := flags.Duration("duration", 10*time.Second, "how long")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *benchtime < 0 || *rate < 0 || *connections <= 0 || *duration < time.Second {
			return errUsage
		}
		b := admissionBench{
			tagwarden: *tagwarden, bin: *bin, benchtime: *benchtime, rate: *rate, connections: *connections, duration: *duration,
		}
		return b.run(ctx)
	}
	return errUsage
}

var errUsage = errors.New("usage: bench scan|pin|admission [-files N] [-images N] [-runs N] [-benchtime D] [-rate N] [-connections N] [-duration D] [-tagwarden FILE] [-bin FOLDER]")
