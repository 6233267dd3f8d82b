package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/lab/internal/images"
	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

// These commands are parts of a running lab; "lab up" starts them.

func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "_hold DIR READY-FILE", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return sandbox.Hold(args[0], args[1]) },
	}
}

func enterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "_enter PID PROGRAM ARG…", Hidden: true, DisableFlagParsing: true, Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[0])
			if err != nil {
				return &usageError{err}
			}
			return sandbox.Enter(pid, args[1:])
		},
	}
}

func registryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "_registry ADDRESS", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return images.Serve(args[0]) },
	}
}
