package gobuild

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/lab/internal/progress"
)

func TestFollowKeepsWhatIsNoPackage(t *testing.T) {
	in := "go: downloading k8s.io/api v0.37.2\nk8s.io/api/core/v1\n# k8s.io/api/core/v1\nx.go:1:2: undefined: y\nlast/package\n"
	got := follow(strings.NewReader(in), 3, progress.New(io.Discard))
	want := "# k8s.io/api/core/v1\nx.go:1:2: undefined: y"
	if got != want {
		t.Errorf("follow = %q, want %q", got, want)
	}
}

func TestLinkerFlagsNameTheVersion(t *testing.T) {
	for _, want := range []string{"version.gitVersion=" + KubernetesVersion, "version.gitMajor=1 ", "version.gitMinor=37 "} {
		if got := linkerFlags(); !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

// go.mod and the version that is reported must not drift apart.
func TestVersionIsThatOfGoMod(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "k8s.io/kubernetes " + KubernetesVersion + "\n"; !strings.Contains(string(data), want) {
		t.Errorf("go.mod does not require %s", want)
	}
}

func TestStampFollowsTheSource(t *testing.T) {
	dir := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stamp := func() string {
		t.Helper()
		s, err := stampOf(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write("go.mod", "module m")
	write("node/main.go", "package main")
	first := stamp()
	if again := stamp(); again != first {
		t.Error("the same source has two stamps")
	}
	write("node/main.go", "package main // changed")
	if stamp() == first {
		t.Error("a changed source has the same stamp")
	}
}
