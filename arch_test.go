// Package tagwarden_test holds what must stay true of the whole tree.
package tagwarden_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tagwarden/tagwarden/"

// layers lists our packages from the bottom up. A package may import only
// packages of a lower layer; packages of one layer do not know each other.
var layers = [][]string{
	{"image", "falco", "internal/finding", "internal/lines", "internal/when", "internal/version"},
	{"internal/policy", "internal/event", "internal/jsonevent", "internal/lockfile", "internal/kubeconfig"},
	{"internal/history", "internal/workload"},
	{"internal/drift", "internal/triage", "internal/manifest", "internal/render", "internal/source/kube", "internal/source/falcoalert", "internal/source/containerd", "internal/source/replay", "internal/registry", "internal/registry/registrytest", "internal/admission/admissiontest", "internal/pushes", "internal/store", "rules"},
	{"internal/imagediff"},
	{"internal/engine", "internal/export", "internal/scan", "internal/pin", "internal/admission", "internal/cluster", "internal/store/storetest"},
	{"internal/evidence"},
	{"internal/cli"},
	{"cmd/tagwarden"},
}

// never lists imports that the layers would allow and the design does not.
var never = map[string][]string{
	// Sources fit the engine's interface; the engine does not know them.
	"internal/engine": {"internal/source/kube", "internal/source/containerd", "internal/source/replay", "internal/registry", "rules"},
	// Sources say what they see; what it means is decided elsewhere.
	"internal/source/kube":       {"falco", "internal/policy"},
	"internal/source/containerd": {"falco", "internal/policy"},
	"internal/source/replay":     {"falco", "internal/policy"},
	"internal/source/falcoalert": {"falco", "internal/policy"},
	// Triage decides over evidence, whoever gathered it.
	"internal/triage": {"image", "internal/event", "internal/history", "internal/policy"},
	// A registry says which bytes there are; what they mean is decided
	// elsewhere.
	"internal/registry": {"falco", "internal/policy", "internal/event", "internal/finding"},
	"internal/pushes":   {"falco", "internal/policy", "internal/event", "internal/finding"},
}

// apart are the folders with a module of their own.
var apart = []string{"lab", "bench", "conformance", "tools"}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	layer := map[string]int{}
	for i, names := range layers {
		for _, n := range names {
			layer[n] = i
		}
	}
	seen, doc := map[string]bool{}, map[string]bool{}
	// The files are read in this process, not by a "go list" child: so the
	// test cache knows them, and a changed import runs the test again.
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || slices.Contains(apart, file) || file != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(file, ".go"), strings.HasSuffix(file, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		seen[pkg], doc[pkg] = true, doc[pkg] || f.Doc != nil
		checkImports(t, layer, pkg, f.Imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range seen {
		if !doc[pkg] {
			t.Errorf("%s: no package comment", pkg)
		}
	}
	for pkg := range layer {
		if !seen[pkg] {
			t.Errorf("%s: listed in layers, not in the tree", pkg)
		}
	}
}

func checkImports(t *testing.T, layer map[string]int, pkg string, imports []*ast.ImportSpec) {
	t.Helper()
	at, ok := layer[pkg]
	if !ok {
		t.Errorf("%s: give it a place in layers (arch_test.go)", pkg)
		return
	}
	for _, spec := range imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		rel, ours := strings.CutPrefix(imp, module)
		if !ours {
			continue
		}
		if below, ok := layer[rel]; !ok || below >= at {
			t.Errorf("%s imports %s: only lower layers are allowed", pkg, rel)
		}
		if slices.Contains(never[pkg], rel) {
			t.Errorf("%s imports %s: see never in arch_test.go", pkg, rel)
		}
	}
}
