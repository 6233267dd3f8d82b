package cli_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

type registryKey struct{}

// scriptRegistry is the registry of a script, at $REGISTRY.
type scriptRegistry struct {
	*registrytest.Registry
	denied sync.Map // the repositories that nobody may see
}

func startRegistry(env *testscript.Env) *scriptRegistry {
	reg := &scriptRegistry{Registry: registrytest.New()}
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		_, denied := reg.denied.Load(repository)
		if denied {
			w.WriteHeader(http.StatusUnauthorized)
		}
		return denied
	}
	server := httptest.NewServer(reg)
	env.Defer(server.Close)
	env.Setenv("REGISTRY", server.Listener.Addr().String())
	return reg
}

// registryCommand is the command "registry" of scripts:
//
//	registry image REPOSITORY[:TAG] OS/ARCHITECTURE CONTENT
//	registry index REPOSITORY[:TAG] OS/ARCHITECTURE=CONTENT...
//	registry deny REPOSITORY
//	registry refs REPOSITORY:TAG...    writes a line for each, with the registry
//	registry requests    writes what was asked since the last time, sorted
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	reg, _ := ts.Value(registryKey{}).(*scriptRegistry)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry image|index|deny|refs|requests")
	}
	image := func(repository, tag, platform, content string) registrytest.Pushed {
		os, architecture, _ := strings.Cut(platform, "/")
		return reg.Image(repository, tag, os, architecture, content)
	}
	switch what, args := args[0], args[1:]; {
	case what == "image" && len(args) == 3:
		repository, tag, _ := strings.Cut(args[0], ":")
		image(repository, tag, args[1], args[2])
	case what == "index" && len(args) > 1:
		repository, tag, _ := strings.Cut(args[0], ":")
		var images []registrytest.Pushed
		for _, arg := range args[1:] {
			platform, content, _ := strings.Cut(arg, "=")
			images = append(images, image(repository, "", platform, content))
		}
		reg.Index(repository, tag, images...)
	case what == "deny" && len(args) == 1:
		reg.denied.Store(args[0], true)
	case what == "refs":
		for _, arg := range args {
			_, err := fmt.Fprintln(ts.Stdout(), ts.Getenv("REGISTRY")+"/"+arg)
			ts.Check(err)
		}
	case what == "requests" && len(args) == 0:
		requests := reg.Requests()
		slices.Sort(requests)
		reg.Forget()
		_, err := ts.Stdout().Write([]byte(strings.Join(append(requests, ""), "\n")))
		ts.Check(err)
	default:
		ts.Fatalf("registry %s: wrong arguments", what)
	}
}

// statusCommand is the command "status N PROGRAM [ARG...]" of scripts: it runs
// the program, which must end with that exit status.
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARG...]")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}
