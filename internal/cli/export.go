package cli

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tagwarden/tagwarden/internal/export"
)

type exportFlags struct {
	policy, output string
	force          bool
}

func newExport(env Env) *cobra.Command {
	var f exportFlags
	var list strings.Builder
	var names []string
	for _, e := range export.Engines() {
		names = append(names, e.Name)
		fmt.Fprintf(&list, "  %-18s %s\n", e.Name, e.Summary)
	}
	cmd := &cobra.Command{
		Use:   "export ENGINE",
		Short: "Write the policy for Kyverno, Gatekeeper, Falco and others",
		Long: `Export writes tagwarden.yaml for what enforces or detects in a cluster already:

` + list.String() + `
All of it means the same, and tests hold it to that. What an engine cannot express
stands at the head of each file, and is said on stderr.

With -o DIR the files are written into that folder. If one is there that this
command did not write, nothing is written, unless --force. With "-o -" the files go
to stdout as one stream, where all of them are meant to be used together: falco,
kyverno and pack have several ways to say the same, and need a folder.

Exceptions that have expired are left out. For engines without a clock the head of
the file says when it must be written again.`,
		Example: `  tagwarden export kyverno -o policies/
  tagwarden export vap -o - | kubectl apply --dry-run=server -f -
  tagwarden export pack --policy tagwarden.yaml -o pack/
  tagwarden export runbook -o -`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(_ *cobra.Command, args []string) error {
			return f.run(env, args[0], names)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "policy `file` (default tagwarden.yaml, if it exists)")
	flags.StringVarP(&f.output, "output", "o", "", "`folder` to write into, or - for stdout (required)")
	flags.BoolVar(&f.force, "force", false, "write over files that this command did not write")
	return cmd
}

func (f *exportFlags) run(env Env, engine string, names []string) error {
	if !slices.Contains(names, engine) {
		return usage("unknown engine %q, there are %s", engine, strings.Join(names, ", "))
	}
	if f.output == "" {
		return usage("-o is missing: name a folder, or - for stdout")
	}
	if f.force && f.output == "-" {
		return usage("--force is for a folder; stdout has nothing to write over")
	}
	pol, err := loadPolicy(f.policy, env.Now())
	if err != nil {
		return err
	}
	out, err := export.Export(engine, pol, env.Now())
	if err != nil {
		return err
	}
	switch {
	case f.output == "-" && out.Choice:
		return usage("%s has several files that say the same: write them with -o DIR, and use what you need", engine)
	case f.output == "-":
		err = printFiles(env, out.Files)
	default:
		err = out.Write(f.output, f.force)
		if errors.Is(err, export.ErrForeign) {
			return fmt.Errorf("%w; nothing was changed, write into another folder or use --force", err)
		}
	}
	if err != nil {
		return err
	}
	for _, n := range out.Notes {
		say(env, "note: %s\n", n)
	}
	if f.output != "-" {
		for _, file := range out.Files {
			say(env, "wrote %s\n", filepath.Join(f.output, file.Name))
		}
	}
	return nil
}

// printFiles prints files as one stream that kubectl takes.
func printFiles(env Env, files []export.File) error {
	var b bytes.Buffer
	for i, f := range files {
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(f.Data)
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}
