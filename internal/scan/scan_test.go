package scan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/policy"
	"github.com/tagwarden/tagwarden/internal/scan"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func config(t *testing.T, text string) *scan.Config {
	t.Helper()
	p, err := policy.Parse("policy", []byte(text), now)
	if err != nil {
		t.Fatal(err)
	}
	return &scan.Config{Policy: p, Now: now}
}

// tree writes files, by their paths, and returns the folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// names are the files of a walk, below the folder.
func names(dir string) []string {
	var got []string
	for f := range scan.Walk([]string{dir}) {
		got = append(got, strings.TrimPrefix(f.Name, filepath.ToSlash(dir)+"/"))
	}
	return got
}

func TestWalk(t *testing.T) {
	t.Parallel()
	const some = "x"
	for _, tc := range []struct {
		why   string
		files map[string]string
		want  []string
	}{
		{"by name, folder by folder", map[string]string{"b.yaml": some, "a/c.yml": some, "a.yaml": some}, []string{"a/c.yml", "a.yaml", "b.yaml"}},
		{"only what can have references", map[string]string{"a.go": some, "README.md": some, "Dockerfile": some}, []string{"Dockerfile"}},
		{"not what others wrote", map[string]string{"node_modules/a.yaml": some, "vendor/a.yaml": some, ".git/a.yaml": some, "x/.terraform/m.tf": some, "a.yaml": some}, []string{"a.yaml"}},
		{"hidden folders, too", map[string]string{".github/workflows/a.yml": some}, []string{".github/workflows/a.yml"}},
		{"a name", map[string]string{".gitignore": "a.yaml\n", "a.yaml": some, "x/a.yaml": some, "b.yaml": some}, []string{"b.yaml"}},
		{"a name from the top", map[string]string{".gitignore": "/a.yaml\n", "a.yaml": some, "x/a.yaml": some}, []string{"x/a.yaml"}},
		{"a folder", map[string]string{".gitignore": "out/\n", "out/a.yaml": some, "x/out/a.yaml": some, "b.yaml": some}, []string{"b.yaml"}},
		{"a pattern, and what is taken back", map[string]string{".gitignore": "*.yaml\n!b.yaml\n", "a.yaml": some, "b.yaml": some}, []string{"b.yaml"}},
		{"a file of a folder below", map[string]string{"x/.gitignore": "a.yaml\n", "a.yaml": some, "x/a.yaml": some}, []string{"a.yaml"}},
		{"two stars", map[string]string{".gitignore": "x/**/a.yaml\n", "x/a.yaml": some, "x/y/z/a.yaml": some, "y/a.yaml": some}, []string{"y/a.yaml"}},
		{"a class of characters", map[string]string{".gitignore": "[ab].yaml\n[!x].yml\n", "a.yaml": some, "c.yaml": some, "x.yml": some, "y.yml": some}, []string{"c.yaml", "x.yml"}},
		{"a comment, a blank line, windows line ends", map[string]string{".gitignore": "# c\r\n\r\na.yaml\r\n", "a.yaml": some, "b.yaml": some}, []string{"b.yaml"}},
		{"an escaped mark", map[string]string{".gitignore": "\\#a.yaml\n\\!b.yaml\n", "#a.yaml": some, "!b.yaml": some, "c.yaml": some}, []string{"c.yaml"}},
		{"a pattern that is none", map[string]string{".gitignore": "[\n", "a.yaml": some}, []string{"a.yaml"}},
		{"what git leaves out here alone", map[string]string{".git/info/exclude": "a.yaml\n", "a.yaml": some, "b.yaml": some}, []string{"b.yaml"}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, names(tree(t, tc.files))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWalkBelow: the .gitignore files above a root count.
func TestWalkBelow(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{".git/HEAD": "x", ".gitignore": "a.yaml\n/x/c.yaml\n", "x/a.yaml": "x", "x/b.yaml": "x", "x/c.yaml": "x"})
	if diff := cmp.Diff([]string{"b.yaml"}, names(filepath.Join(dir, "x"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// summary is what a scan of files found, a line each.
func summary(t *testing.T, c *scan.Config, files []scan.File) []string {
	t.Helper()
	var got []string
	err := c.Files(t.Context(), slices.Values(files), func(r *scan.Report) error {
		for _, f := range r.Findings {
			got = append(got, fmt.Sprintf("%s:%d %s %s", f.Location.File, f.Location.Line, f.ID, f.Image))
		}
		for _, u := range r.Unscannable {
			got = append(got, fmt.Sprintf("%s:%d not scanned: %s", u.File, u.Line, u.Reason))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func file(name, text string) scan.File {
	return scan.File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

func podOf(lines ...string) string {
	return "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n" + strings.Join(lines, "\n") + "\n"
}

// TestOrder: reports come in the order of the files, however they are spread
// over workers.
func TestOrder(t *testing.T) {
	t.Parallel()
	var files []scan.File
	var want []string
	for i := range 500 {
		name := fmt.Sprintf("%03d.yaml", i)
		if i%7 == 0 {
			files = append(files, scan.File{Name: name, Open: func() (io.ReadCloser, error) { return nil, os.ErrPermission }})
			continue
		}
		files = append(files, file(name, podOf("  - image: a")))
		want = append(want, name+":5 F-01 a")
	}
	got := slices.DeleteFunc(summary(t, config(t, ""), files), func(s string) bool { return strings.HasSuffix(s, "permission denied") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFilesEnds: the first error of the receiver ends it, and so does the
// context.
func TestFilesEnds(t *testing.T) {
	t.Parallel()
	endless := func(yield func(scan.File) bool) {
		for yield(file("a.yaml", podOf("  - image: a"))) {
		}
	}
	mine := errors.New("mine")
	if err := config(t, "").Files(t.Context(), endless, func(*scan.Report) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("got %v, want the receiver's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := config(t, "").Files(ctx, endless, func(*scan.Report) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	got := summary(t, config(t, ""), []scan.File{
		{Name: "a.yaml", Open: func() (io.ReadCloser, error) {
			return nil, &os.PathError{Op: "open", Path: "/x", Err: os.ErrPermission}
		}},
		{Name: "b.yaml", Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("image: a\n"), broken{})), nil
		}},
		{Name: "c.yaml", Open: func() (io.ReadCloser, error) { return io.NopCloser(endless{}), nil }},
		file("d.yaml", podOf("  - image: a")),
	})
	want := []string{
		"d.yaml:5 F-01 a", "a.yaml:0 not scanned: permission denied", "b.yaml:0 not scanned: the disk is gone", "c.yaml:0 not scanned: larger than 64 MiB",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestJudge: what is wrong with a reference, and what accepts it.
func TestJudge(t *testing.T) {
	t.Parallel()
	const digest = "@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	const excepted = "exceptions:\n- {finding: F-01, image: nginx, owner: o, ticket: t, reason: r, expires: 2026-12-01}\n"
	for _, tc := range []struct{ why, policy, line, want string }{
		{"no tag", "", "  - image: nginx", "F-01"},
		{"latest", "", "  - image: nginx:latest", "F-01"},
		{"floating", "", "  - image: nginx:1", "F-01"},
		{"fixed", "", "  - image: nginx:1.25.3", "TW-02"},
		{"pinned", "", "  - image: nginx" + digest, ""},
		{"pinned with a tag", "", "  - image: nginx:1.25.3" + digest, ""},
		{"no digest", "", "  - image: nginx@sha256:abc", "TW-09"},
		{"no image", "", "  - image: \"\"", "TW-09"},
		{"a comment on the line", "", "  - image: nginx # tagwarden:ignore F-01 until=2026-12-01", ""},
		{"on its last day", "", "  - image: nginx # tagwarden:ignore F-01 until=2026-11-23", ""},
		{"a day later", "", "  - image: nginx # tagwarden:ignore F-01 until=2026-11-22", "F-01"},
		{"for another finding", "", "  - image: nginx # tagwarden:ignore TW-02 until=2026-12-01", "F-01"},
		{"for several", "", "  - image: nginx # tagwarden:ignore TW-02,F-01 until=2026-12-01 reason=\"x\"", ""},
		{"without an end", "", "  - image: nginx # tagwarden:ignore F-01", "F-01"},
		{"with a day that is none", "", "  - image: nginx # tagwarden:ignore F-01 until=2026-02-31", "F-01"},
		{"on the line above", "", "  # tagwarden:ignore F-01 until=2026-12-01\n  - image: nginx", ""},
		{"two lines above", "", "  # tagwarden:ignore F-01 until=2026-12-01\n\n  - image: nginx", "F-01"},
		{"behind another value above", "", "  - name: c # tagwarden:ignore F-01 until=2026-12-01\n    image: nginx", "F-01"},
		{"an exception", excepted, "  - image: nginx", ""},
		{"an exception for another image", excepted, "  - image: redis", "F-01"},
		{"an ephemeral container is listed", "", "  - image: x@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1\n  ephemeralContainers:\n  - image: nginx", "F-01"},
		{"a platform image is lowered, not hidden", "", "  - image: registry.k8s.io/pause", "F-01"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			var ids []string
			err := config(t, tc.policy).Files(t.Context(), slices.Values([]scan.File{file("a.yaml", podOf(tc.line))}), func(r *scan.Report) error {
				for _, f := range r.Findings {
					ids = append(ids, string(f.ID))
				}
				if want := 1 - len(r.Findings); tc.want == "" && !strings.Contains(tc.line, "sha256") && r.Summary.Suppressed != want {
					t.Errorf("%d accepted, want %d", r.Summary.Suppressed, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ids, " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestFix: what to write instead, with and without a registry.
func TestFix(t *testing.T) {
	t.Parallel()
	digest, err := image.ParseDigest("sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1")
	if err != nil {
		t.Fatal(err)
	}
	c := config(t, "")
	fix := func(ref string) (got string) {
		err := c.Files(t.Context(), slices.Values([]scan.File{file("a.yaml", podOf("  - image: "+ref))}), func(r *scan.Report) error {
			got = r.Findings[0].Fix
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := "write nginx:1.25.3@sha256:DIGEST; tagwarden image resolve nginx:1.25.3 prints the digest"
	if got := fix("nginx:1.25.3"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Resolve = func(_ context.Context, ref image.Reference) (image.Digest, error) {
		if ref.Tag() == "gone" {
			return "", errors.New("not found")
		}
		return digest, nil
	}
	for ref, want := range map[string]string{
		"nginx:1.25.3": "write nginx:1.25.3@" + digest.String(),
		"nginx":        "write nginx@" + digest.String(),
		"nginx:gone":   "write nginx:gone@sha256:DIGEST; the digest could not be had: not found",
	} {
		if got := fix(ref); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	c := config(t, "")
	files := []scan.File{file("a.yaml", podOf("  - image: a", "  - image: b"))}
	err := c.Files(t.Context(), slices.Values(files), func(r *scan.Report) error {
		c2 := config(t, "")
		c2.Known = map[string]bool{r.Findings[0].Fingerprint(): true}
		return c2.Files(t.Context(), slices.Values(files), func(r *scan.Report) error {
			if !r.Findings[0].Known || r.Findings[1].Known || r.Summary.Known != 1 || r.Summary.Findings != 1 {
				t.Errorf("got %+v", r)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	got := summary(t, config(t, ""), []scan.File{file(".github/workflows/a.yml", `jobs:
  a:
    steps:
    - uses: actions/checkout@v4
    - uses: actions/cache@0123456789012345678901234567890123456789 # v4
    - uses: actions/x
`)})
	want := []string{".github/workflows/a.yml:4 TW-11 actions/checkout@v4", ".github/workflows/a.yml:6 TW-11 actions/x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRevision reads what git has, not what lies in the folder.
func TestRevision(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	if _, err := scan.Revision(t.Context(), "--output=x", ""); err == nil {
		t.Error("an option was taken for a revision")
	}
	if _, err := scan.ChangedSince(t.Context(), "-x"); err == nil {
		t.Error("an option was taken for a revision")
	}
}

const deployments = `{"items":[
 {"metadata":{"name":"api","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx"}]}}}},
 {"metadata":{"name":"idle","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"redis:7"}]}}}}]}`

const replicaSets = `{"items":[
 {"metadata":{"name":"api-1","namespace":"shop","ownerReferences":[{"kind":"Deployment","name":"api","controller":true}]},
  "spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}]}`

func podJSON(name, owner, ref, digest string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"shop","ownerReferences":[%s]},"spec":{"containers":[{"name":"c","image":%q}]},
"status":{"phase":"Running","containerStatuses":[{"name":"c","image":"docker.io/library/other:1","imageID":"docker.io/library/nginx@%s"}]}}`, name, owner, ref, digest)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	d1, d2 := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	const byRS = `{"kind":"ReplicaSet","name":"api-1","controller":true}`
	c := &scan.Cluster{Name: "prod"}
	for _, page := range []struct{ kind, api, text string }{
		{"Deployment", "apps/v1", deployments},
		{"ReplicaSet", "apps/v1", replicaSets},
		{"Pod", "v1", `{"items":[` + podJSON("api-1-a", byRS, "nginx", d1) + "," + podJSON("api-1-b", byRS, "nginx", d2) + `]}`},
		{"Pod", "v1", `{"items":[` + podJSON("bare", "", "busybox:1.36.1", d1) + "," + podJSON("pinned", "", "busybox@"+d1, d1) + `]}`},
	} {
		if err := c.Add(page.kind, page.api, []byte(page.text)); err != nil {
			t.Fatal(err)
		}
	}
	c.Gap("Job in kube-system", "forbidden")
	r := config(t, "").Report(t.Context(), c)
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%s %s/%s %s %s: %s", f.ID, f.Subject.Namespace, f.Subject.Workload, f.Subject.Container, f.Image, f.Message))
	}
	want := []string{
		`F-01 shop/Deployment/api c nginx: nginx is mutable: no tag, so the runtime takes "latest"; pods: 2, with 2 different digests, see: tagwarden drift -n shop`,
		`F-01 shop/Deployment/idle c redis:7: redis:7 is mutable: the version is not complete, so the tag moves with each release of it; the template says so, no pod runs it now`,
		`TW-02 shop/Pod/bare c busybox:1.36.1: busybox:1.36.1 is not pinned to a digest: a full version; a registry may still let it be overwritten; pods: 1, all with ` + d1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Summary.Workloads != 4 || r.Summary.Unscannable != 1 || r.Summary.References != 4 {
		t.Errorf("got %+v", r.Summary)
	}
	if err := c.Add("Pod", "v1", []byte("{")); err == nil {
		t.Error("half a list was taken")
	}
}

func BenchmarkFiles(b *testing.B) {
	p, err := policy.Parse("policy", nil, now)
	if err != nil {
		b.Fatal(err)
	}
	c := &scan.Config{Policy: p, Now: now}
	files := make([]scan.File, 1000)
	for i := range files {
		files[i] = file(fmt.Sprintf("%d.yaml", i), podOf("  - name: c", "    image: nginx:1", "    ports: [{containerPort: 80}]"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Files(b.Context(), slices.Values(files), func(*scan.Report) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(files))/b.Elapsed().Seconds()/float64(runtime.GOMAXPROCS(0)), "files/CPU-s")
}
