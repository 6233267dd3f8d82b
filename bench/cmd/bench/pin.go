package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tagwarden/tagwarden/bench/internal/corpus"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// pinBench measures programs that pin references, against a registry in this
// process, over files of which it is known what they are to be.
type pinBench struct {
	files, images, runs int
	tagwarden, bin      string

	top    string
	reg    *registrytest.Registry
	names  []corpus.Image
	before []corpus.PinFile
	// latency is waited before each answer; refuse is how many are refused first.
	latency time.Duration
	refuse  atomic.Int64
}

// A pinner is a program to measure.
type pinner struct {
	name, file, module string
	// commands are run one after the other, and count as one run.
	commands func(b *pinBench, program, dir string) [][]string
	// edits is whether it changes files.
	edits bool
	note  string
}

// The peers, with the versions that were measured. kbld and k8s-digester are not in
// the list: the module proxy does not serve them.
var pinners = []pinner{
	{
		name: "tagwarden pin --write", edits: true,
		commands: func(_ *pinBench, program, dir string) [][]string { return [][]string{{program, "pin", dir, "--write"}} },
		note:     "all formats",
	},
	{
		name: "frizbee image", file: "frizbee", module: "github.com/stacklok/frizbee@v0.1.11", edits: true,
		commands: func(_ *pinBench, program, dir string) [][]string { return [][]string{{program, "image", dir}} },
		note:     "YAML and Dockerfiles",
	},
	{
		name: "crane digest, in a loop", file: "crane", module: "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
		commands: func(b *pinBench, program, _ string) (all [][]string) {
			for _, i := range b.names {
				all = append(all, []string{program, "digest", i.Name + ":" + i.Tag})
			}
			return all
		},
		note: "a process a reference; changes no file",
	},
}

// A pinned is what one run came to.
type pinned struct {
	used
	requests, gets int
	// found of all references have their digest afterwards; unrelated are lines
	// that differ without having one, and their bytes.
	found, lines, bytes, wrong int
}

func (b *pinBench) run(ctx context.Context) (err error) {
	if b.top, err = os.MkdirTemp("", "tagwarden-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.top)
	b.reg = registrytest.New()
	server := httptest.NewServer(http.HandlerFunc(b.serve))
	defer server.Close()
	b.fill(strings.TrimPrefix(server.URL, "http://"))
	references := 0
	if b.before, err = corpus.WritePin(filepath.Join(b.top, "x"), b.files, b.names, 1); err != nil {
		return err
	}
	for _, f := range b.before {
		references += len(f.Digests)
	}
	fmt.Printf("%d files, %d references to %d images; %d CPUs; median of %d runs\n\n", b.files, references, b.images, runtime.NumCPU(), b.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROGRAM\tWALL\tCPU\tPEAK\tREQUESTS\tGET\tFOUND\tUNRELATED LINES\tBYTES\tAS EXPECTED\t")
	var failed []string
	for _, p := range pinners {
		program, err := b.program(ctx, p)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: not built: %v", p.name, err))
			continue
		}
		if err := b.rows(ctx, w, p, program, references); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = append(failed, fmt.Sprintf("%s: %v", p.name, err))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range failed {
		fmt.Println("failed:", f)
	}
	return nil
}

func (b *pinBench) program(ctx context.Context, p pinner) (string, error) {
	if p.module == "" {
		return filepath.Abs(b.tagwarden)
	}
	return build(ctx, b.bin, p.file, p.module)
}

// serve is the registry.
func (b *pinBench) serve(w http.ResponseWriter, r *http.Request) {
	time.Sleep(b.latency)
	if strings.Contains(r.URL.Path, "/manifests/") && b.refuse.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	b.reg.ServeHTTP(w, r)
}

// fill pushes the images: of five, two are indexes.
func (b *pinBench) fill(host string) {
	for i := range b.images {
		repository := fmt.Sprintf("team-%d/app-%d", i%7, i)
		tag := []string{"v1.2.3", "2024-01-05", "1.20", "stable-alpine"}[i%4]
		one := b.reg.Image(repository, tag, "linux", "amd64", fmt.Sprint(i))
		if i%5 < 2 {
			other := b.reg.Image(repository, "", "linux", "arm64", fmt.Sprint(i))
			one = b.reg.Index(repository, tag, one, other)
		}
		b.names = append(b.names, corpus.Image{Name: host + "/" + repository, Tag: tag, Digest: one.Digest})
	}
}

// rows measures a program: once, again, with a slow registry and with one that
// refuses at first.
func (b *pinBench) rows(ctx context.Context, w io.Writer, p pinner, program string, references int) error {
	row := func(name string, m pinned, judged bool) {
		found, lines, size, expected := "-", "-", "-", "-"
		if judged {
			found, lines, size = fmt.Sprintf("%d of %d", m.found, references), fmt.Sprint(m.lines), fmt.Sprint(m.bytes)
		}
		if judged && p.module == "" { // Others write digests in other places.
			expected = fmt.Sprintf("%d of %d files", b.files-m.wrong, b.files)
		}
		fmt.Fprintf(w, "%s\t%.2f s\t%.2f s\t%d MB\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", name, m.Wall.Seconds(), m.CPU.Seconds(), m.Peak>>20,
			m.requests, m.gets, found, lines, size, expected, p.note)
	}
	var all []pinned
	var dir string
	for i := range b.runs {
		dir = filepath.Join(b.top, fmt.Sprintf("%s-%d", p.file, i))
		if _, err := corpus.WritePin(dir, b.files, b.names, 1); err != nil {
			return err
		}
		m, err := b.once(ctx, p, program, dir)
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(x, y pinned) int { return cmp.Compare(x.CPU, y.CPU) })
	row(p.name, all[len(all)/2], p.edits)
	if !p.edits {
		return nil
	}
	m, err := b.once(ctx, p, program, dir)
	if err != nil {
		return err
	}
	row("  a second time", m, true)
	for _, trial := range []struct {
		name    string
		latency time.Duration
		refuse  int64
	}{{"  20 ms to an answer", 20 * time.Millisecond, 0}, {"  20 answers of 429, Retry-After: 2", 0, 20}} {
		dir := filepath.Join(b.top, p.file+"-trial")
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if _, err := corpus.WritePin(dir, b.files, b.names, 1); err != nil {
			return err
		}
		b.latency = trial.latency
		b.refuse.Store(trial.refuse)
		m, err := b.once(ctx, p, program, dir)
		b.latency = 0
		b.refuse.Store(0)
		if err != nil {
			return err
		}
		row(trial.name, m, true)
	}
	return nil
}

// once runs a program once and looks at what it has done.
func (b *pinBench) once(ctx context.Context, p pinner, program, dir string) (pinned, error) {
	b.reg.Forget()
	var m pinned
	for _, args := range p.commands(b, program, dir) {
		one, _, err := measured(ctx, io.Discard, args)
		if err != nil {
			return m, err
		}
		m.Wall += one.Wall
		m.CPU += one.CPU
		m.Peak = max(m.Peak, one.Peak)
	}
	for _, r := range b.reg.Requests() {
		m.requests++
		if strings.HasPrefix(r, "GET ") && strings.Contains(r, "/manifests/") {
			m.gets++
		}
	}
	if p.edits {
		return m, b.judge(dir, &m)
	}
	return m, nil
}

// judge compares the files with what they are to be.
func (b *pinBench) judge(dir string, m *pinned) error {
	for _, f := range b.before {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return err
		}
		after := string(data)
		if after != f.After {
			m.wrong++
		}
		want := map[string]int{}
		for _, d := range f.Digests {
			want[d]++
		}
		for d, n := range want {
			m.found += min(n, strings.Count(after, d))
		}
		was := map[string]int{}
		for line := range strings.SplitAfterSeq(f.Before, "\n") {
			was[line]++
		}
		for line := range strings.SplitAfterSeq(after, "\n") {
			if was[line]--; was[line] >= 0 || line == "" {
				continue
			}
			has := slices.ContainsFunc(f.Digests, func(d string) bool { return strings.Contains(line, d) })
			// A line that got its end because one was put behind it is not counted.
			if !has && was[strings.TrimRight(line, "\r\n")] <= 0 {
				m.lines++
				m.bytes += len(line)
			}
		}
	}
	return nil
}
