package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
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
//	registry image REPOSITORY[:TAG] OS/ARCHITECTURE CONTENT [NAME]    the digest goes into $NAME
//	registry index REPOSITORY[:TAG] OS/ARCHITECTURE=CONTENT...
//	registry layers REPOSITORY[:TAG] CONFIG LAYER...    CONFIG is a file of JSON, LAYER one of lines as [layerOf] reads them
//	registry deny REPOSITORY
//	registry refs REPOSITORY:TAG...    writes a line for each, with the registry
//	registry requests    writes what was asked since the last time, sorted
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	reg, _ := ts.Value(registryKey{}).(*scriptRegistry)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry image|index|layers|deny|refs|requests")
	}
	image := func(repository, tag, platform, content string) registrytest.Pushed {
		os, architecture, _ := strings.Cut(platform, "/")
		return reg.Image(repository, tag, os, architecture, content)
	}
	switch what, args := args[0], args[1:]; {
	case what == "image" && (len(args) == 3 || len(args) == 4):
		repository, tag, _ := strings.Cut(args[0], ":")
		pushed := image(repository, tag, args[1], args[2])
		if len(args) == 4 {
			ts.Setenv(args[3], pushed.Digest)
		}
	case what == "index" && len(args) > 1:
		repository, tag, _ := strings.Cut(args[0], ":")
		var images []registrytest.Pushed
		for _, arg := range args[1:] {
			platform, content, _ := strings.Cut(arg, "=")
			images = append(images, image(repository, "", platform, content))
		}
		reg.Index(repository, tag, images...)
	case what == "layers" && len(args) > 1:
		repository, tag, _ := strings.Cut(args[0], ":")
		var config map[string]any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &config))
		var layers []registrytest.Layer
		for _, arg := range args[2:] {
			layers = append(layers, registrytest.Gzip(layerOf(ts, ts.ReadFile(arg))))
		}
		reg.Layered(repository, tag, config, layers...)
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

// layerOf makes a layer of lines "PATH MODE BODY", in which the path and the
// body can have Go's escapes.
func layerOf(ts *testscript.TestScript, text string) []byte {
	var entries []registrytest.Entry
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(fields) != 3 {
			ts.Fatalf("a layer's line is not PATH MODE BODY: %s", line)
		}
		mode, err := strconv.ParseInt(fields[1], 8, 64)
		ts.Check(err)
		name, err := strconv.Unquote(`"` + fields[0] + `"`)
		ts.Check(err)
		body, err := strconv.Unquote(`"` + fields[2] + `"`)
		ts.Check(err)
		entries = append(entries, registrytest.File(name, mode, body))
	}
	return registrytest.Tar(entries...)
}

// expandCommand is the command "expand FILE..." of scripts: it puts the values of
// variables, written ${NAME}, into files.
func expandCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
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
