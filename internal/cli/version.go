package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/internal/version"
)

func newVersion(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and build date",
		Example: "  tagwarden version -o json",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(*cobra.Command, []string) error {
		info := version.Get()
		if *output == "json" {
			return json.NewEncoder(env.Stdout).Encode(info)
		}
		_, err := fmt.Fprintf(env.Stdout, "tagwarden %s\ncommit    %s\nbuilt     %s\ngo        %s %s\n",
			info.Version, info.Commit, info.Date, info.Go, info.Platform)
		return err
	}
	return cmd
}
