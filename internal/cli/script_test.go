package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tagwarden/tagwarden/internal/cli"
	"github.com/tagwarden/tagwarden/internal/event"
	"github.com/tagwarden/tagwarden/internal/store"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tagwarden": func() {
			now := func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }
			os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: now}))
		},
		"make-store":   makeStore,
		"make-history": makeHistory,
	})
}

// makeStore makes a history with a container that runs and one that ended, and
// damages it when asked to.
func makeStore() {
	ctx, path := context.Background(), os.Args[1]
	at := time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)
	start := func(id string) *event.Start {
		return &event.Start{
			Time: at, Cluster: "prod", Namespace: "shop", Pod: "web-" + id, PodUID: id, Node: "n1", Container: "app", ContainerID: id,
			Workload: event.Workload{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, Revision: "r1", Reference: "nginx",
		}
	}
	s, err := store.Open(ctx, path, store.Options{})
	if err == nil {
		err = s.Write(ctx, &store.Batch{
			Cluster: "prod", Now: at.Add(time.Hour), Starts: []*event.Start{start("a"), start("b")},
			Ends: []*event.End{{Time: at, Cluster: "prod", ContainerID: "b"}},
		})
	}
	if err == nil {
		err = s.Close()
	}
	if err == nil && len(os.Args) > 2 {
		err = damage(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// damage overwrites the last page, which is one of an index or a table.
func damage(path string) error {
	const page = 4096
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	copy(b[len(b)-page:], bytes.Repeat([]byte("damaged "), page/8))
	return os.WriteFile(path, b, 0o600)
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand":   expandCommand,
			"fresh":    freshCommand,
			"registry": registryCommand,
			"sarif":    sarifCommand,
			"status":   statusCommand,
		},
		Setup: func(env *testscript.Env) error {
			// No cluster and no policy of this machine.
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("KUBECONFIG", "")
			env.Values[registryKey{}] = startRegistry(env)
			return nil
		},
	})
}

// freshCommand is the command "fresh FILE..." of scripts: it writes each file as the
// script has it, whatever became of it, with the address of the registry put in.
func freshCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fresh FILE...")
	}
	for _, name := range args {
		kept := ts.MkAbs(".kept-" + strings.ReplaceAll(name, "/", "-"))
		text, err := os.ReadFile(kept)
		if err != nil {
			text = []byte(ts.ReadFile(name))
			ts.Check(os.WriteFile(kept, text, 0o600))
		}
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(strings.ReplaceAll(string(text), "$REGISTRY", ts.Getenv("REGISTRY"))), 0o600))
	}
}
