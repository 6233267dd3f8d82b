package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tagwarden/tagwarden/bench/internal/corpus"
)

// scanBench measures scanners over a corpus whose references are known.
type scanBench struct {
	files, runs    int
	tagwarden, bin string
	dir            string
	corpus         []corpus.File
}

// A place is a reference in a file.
type place struct {
	file, image string
	line        int
}

// A scanner is a program to measure.
type scanner struct {
	name string
	// module is what to install, or "" for Tagwarden itself.
	module string
	// commands are run one after the other, and count as one run.
	commands func(b *scanBench, program string) [][]string
	// judge compares what it found with the truth; nil for a program that only
	// parses.
	judge func(b *scanBench, out []byte) (missed, extra int, err error)
	note  string
}

// The peers, with the versions that were measured. kube-linter is not in the
// list: the module proxy does not serve it.
var scanners = []scanner{
	{
		name: "tagwarden scan", judge: judgeTagwarden,
		commands: func(b *scanBench, program string) [][]string {
			return [][]string{{program, "scan", b.dir, "-o", "json"}}
		},
		note: "all classes of mutable references",
	},
	{
		name: "kube-score", module: "github.com/zegl/kube-score/cmd/kube-score@v1.20.0", judge: judgeKubeScore,
		commands: func(b *scanBench, program string) (all [][]string) {
			// It reads all files of a call before it begins, and one that it cannot
			// read ends the call.
			for some := range slices.Chunk(b.paths(), 500) {
				all = append(all, append([]string{program, "score", "-o", "json"}, some...))
			}
			return all
		},
		note: "no tag or latest, in its own kinds; all its checks run",
	},
	{
		name: "kubeconform", module: "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0",
		commands: func(b *scanBench, program string) [][]string {
			return [][]string{{program, "-n", "2", "-summary", "-ignore-missing-schemas", "-schema-location", b.dir + "/no-schemas", b.dir}}
		},
		note: "parses only: no schemas here",
	},
	{
		name: "conftest", module: "github.com/open-policy-agent/conftest@v0.71.1", judge: judgeConftest,
		commands: func(b *scanBench, program string) [][]string {
			return [][]string{{program, "test", "--no-color", "-p", b.dir + "/../policy", "-o", "json", b.dir}}
		},
		note: "no tag or latest by ten lines of Rego, in pod templates",
	},
}

// policy is what conftest is given: images of pod templates without a tag, or
// with the tag latest.
const policy = `package main

import rego.v1

specs contains input.spec if input.kind == "Pod"
specs contains input.spec.template.spec
specs contains input.spec.jobTemplate.spec.template.spec

deny contains msg if {
	some spec in specs
	some list in ["containers", "initContainers"]
	some container in spec[list]
	last := regex.replace(container.image, "^.*/", "")
	not contains(last, "@")
	not regex.match(":.", last)
	msg := container.image
}

deny contains msg if {
	some spec in specs
	some list in ["containers", "initContainers"]
	some container in spec[list]
	endswith(container.image, ":latest")
	msg := container.image
}
`

func (b *scanBench) paths() []string {
	out := make([]string, len(b.corpus))
	for i, f := range b.corpus {
		out[i] = filepath.Join(b.dir, filepath.FromSlash(f.Name))
	}
	return out
}

func (b *scanBench) run(ctx context.Context) error {
	top, err := os.MkdirTemp("", "tagwarden-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	b.dir = filepath.Join(top, "corpus")
	if err := os.MkdirAll(filepath.Join(top, "policy"), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(top, "policy", "main.rego"), []byte(policy), 0o600); err != nil {
		return err
	}
	if b.corpus, err = corpus.Write(b.dir, b.files, 1); err != nil {
		return err
	}
	bytes, references := int64(0), 0
	for _, f := range b.corpus {
		references += len(f.References)
		if info, err := os.Stat(filepath.Join(b.dir, filepath.FromSlash(f.Name))); err == nil {
			bytes += info.Size()
		}
	}
	fmt.Printf("%d files, %.1f MB, %d references; %d CPUs; median of %d runs\n\n", len(b.corpus), float64(bytes)/1e6, references, runtime.NumCPU(), b.runs)

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROGRAM\tWALL\tCPU\tFILES/CPU-S\tPEAK\tMISSED\tEXTRA\tCPU AGAINST TAGWARDEN\t")
	var base float64
	var failed []string
	for _, s := range scanners {
		program, err := b.program(ctx, s)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: not built: %v", s.name, err))
			continue
		}
		m, err := b.measure(ctx, s, program)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = append(failed, fmt.Sprintf("%s: %v", s.name, err))
			continue
		}
		if base == 0 {
			base = m.cpu.Seconds()
		}
		missed, extra := "-", "-"
		if s.judge != nil {
			missed, extra = fmt.Sprint(m.missed), fmt.Sprint(m.extra)
		}
		fmt.Fprintf(w, "%s\t%.2f s\t%.2f s\t%.0f\t%d MB\t%s\t%s\t%.1fx\t%s\n", s.name, m.wall.Seconds(), m.cpu.Seconds(),
			float64(b.files)/m.cpu.Seconds(), m.peak>>20, missed, extra, m.cpu.Seconds()/base, s.note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println("\nkube-linter is not served by the module proxy. Quoted, from 15,539 files of public repositories:\n1,800 files a CPU second, 752 MB.")
	first, err := b.firstFinding(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("tagwarden: first finding after %.0f ms (median of %d)\n", first.Seconds()*1000, b.runs)
	for _, f := range failed {
		fmt.Println("failed:", f)
	}
	return nil
}

// program finds or builds a program.
func (b *scanBench) program(ctx context.Context, s scanner) (string, error) {
	if s.module == "" {
		return filepath.Abs(b.tagwarden)
	}
	return build(ctx, b.bin, s.name, s.module)
}

// build finds a program in a folder, or builds it there.
func build(ctx context.Context, bin, name, module string) (string, error) {
	dir, err := filepath.Abs(bin)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintf(os.Stderr, "building %s\n", module)
	cmd := exec.CommandContext(ctx, "go", "install", module)
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return path, nil
}

// measureCommand runs a program and writes what it has used, as JSON, as the
// last line on stderr. It is a process of its own because Linux counts the
// memory of the process that starts a program among the program's peak.
const measureCommand = "measure"

// used is what a process has used.
type used struct {
	Wall, CPU time.Duration
	Peak      int64 // bytes
}

func measureOne(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok { // Findings make an exit status.
		return err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("the system does not tell what a process has used")
	}
	return json.NewEncoder(os.Stderr).Encode(used{
		wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss * 1024,
	})
}

// measured runs a program in a process that measures it. said are its lines on
// stderr.
func measured(ctx context.Context, out io.Writer, args []string) (one used, said []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return used{}, nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{measureCommand}, args...)...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := cmd.Run(); err != nil {
		return used{}, nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	said = strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := len(said) - 1
	err = json.Unmarshal([]byte(said[last]), &one)
	return one, said[:last], err
}

// A measurement is the median of several runs.
type measurement struct {
	wall, cpu     time.Duration
	peak          int64 // bytes
	missed, extra int
}

func (b *scanBench) measure(ctx context.Context, s scanner, program string) (measurement, error) {
	var all []measurement
	var out bytes.Buffer
	for range b.runs {
		out.Reset()
		var m measurement
		for _, args := range s.commands(b, program) {
			one, said, err := measured(ctx, &out, args)
			if err != nil {
				return m, err
			}
			m.wall += one.Wall
			m.cpu += one.CPU
			m.peak = max(m.peak, one.Peak)
			if out.Len() == 0 {
				return m, fmt.Errorf("it wrote nothing: %s", strings.Join(said, "; "))
			}
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(x, y measurement) int { return cmp.Compare(x.cpu, y.cpu) })
	m := all[len(all)/2]
	var err error
	if s.judge != nil {
		m.missed, m.extra, err = s.judge(b, out.Bytes())
	}
	return m, err
}

// firstFinding is how long it takes until the first finding is written.
func (b *scanBench) firstFinding(ctx context.Context) (time.Duration, error) {
	program, err := filepath.Abs(b.tagwarden)
	if err != nil {
		return 0, err
	}
	var all []time.Duration
	for range b.runs {
		ctx, cancel := context.WithCancel(ctx)
		cmd := exec.CommandContext(ctx, program, "scan", b.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			cancel()
			return 0, err
		}
		began := time.Now()
		if err := cmd.Start(); err != nil {
			cancel()
			return 0, err
		}
		_, err = out.Read(make([]byte, 1))
		all = append(all, time.Since(began))
		cancel()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // It was ended.
		if err != nil {
			return 0, err
		}
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// compare counts what is in want and not in got, and the other way round. The
// same thing can be there several times.
func compare[T comparable](want, got map[T]int) (missed, extra int) {
	for p, n := range want {
		missed += max(0, n-got[p])
	}
	for p, n := range got {
		extra += max(0, n-want[p])
	}
	return missed, extra
}

func (b *scanBench) below(path string) string {
	rel, err := filepath.Rel(b.dir, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

// judgeTagwarden wants every reference that is not pinned, at its line.
func judgeTagwarden(b *scanBench, out []byte) (missed, extra int, err error) {
	want, got := map[place]int{}, map[place]int{}
	for _, f := range b.corpus {
		for _, r := range f.References {
			if r.Class != corpus.Pinned {
				want[place{f.Name, r.Text, r.Line}]++
			}
		}
	}
	var report struct {
		Findings []struct {
			File, Image string
			Line        int
		}
		Unscannable []struct{ File, Reason string }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return 0, 0, err
	}
	for _, f := range report.Findings {
		got[place{b.below(f.File), f.Image, f.Line}]++
	}
	if n := len(report.Unscannable); n > 0 {
		return 0, 0, fmt.Errorf("%d places not scanned, the first: %+v", n, report.Unscannable[0])
	}
	missed, extra = compare(want, got)
	return missed, extra, nil
}

// untagged counts, by file, the references without a tag or with latest that
// stand where every scanner looks.
func (b *scanBench) untagged() map[string]int {
	want := map[string]int{}
	for _, f := range b.corpus {
		for _, r := range f.References {
			if r.Core && (r.Class == corpus.Untagged || r.Class == corpus.Latest) {
				want[f.Name]++
			}
		}
	}
	return want
}

// judgeKubeScore counts, by file, the containers that its check of tags names.
func judgeKubeScore(b *scanBench, out []byte) (missed, extra int, err error) {
	got := map[string]int{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var objects []struct {
			FileName string `json:"file_name"`
			Checks   []struct {
				Check    struct{ ID string }
				Comments []struct{ Summary string }
			}
		}
		if err := dec.Decode(&objects); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, 0, err
		}
		for _, o := range objects {
			for _, c := range o.Checks {
				if c.Check.ID == "container-image-tag" {
					got[b.below(o.FileName)] += len(c.Comments)
				}
			}
		}
	}
	missed, extra = compare(b.untagged(), got)
	return missed, extra, nil
}

func judgeConftest(b *scanBench, out []byte) (missed, extra int, err error) {
	var files []struct {
		Filename string
		Failures []struct{ Msg string }
	}
	if err := json.Unmarshal(out, &files); err != nil {
		return 0, 0, err
	}
	got := map[string]int{}
	for _, f := range files {
		got[b.below(f.Filename)] += len(f.Failures)
	}
	missed, extra = compare(b.untagged(), got)
	return missed, extra, nil
}
