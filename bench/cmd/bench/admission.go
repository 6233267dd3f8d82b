package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tagwarden/tagwarden/internal/admission/admissiontest"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// admissionBench measures engines over the same AdmissionReviews, and then
// Tagwarden's server at a rate.
type admissionBench struct {
	tagwarden, bin string
	benchtime      time.Duration
	rate           int // reviews a second
	connections    int
	duration       time.Duration
}

// engines are the folders whose BenchmarkReview measures some, below bench/.
var engines = []struct{ name, dir string }{
	{"conformance", "../conformance"},
	{"kyverno", "kyverno"},
}

func (b *admissionBench) run(ctx context.Context) error {
	fmt.Printf("%d CPUs; one process and GOMAXPROCS=1 for each line; wall times depend on what else the machine does\n\n", runtime.NumCPU())
	if b.benchtime > 0 {
		failed, err := b.sideBySide(ctx)
		if err != nil {
			return err
		}
		for _, f := range failed {
			fmt.Println("failed:", f)
		}
	}
	if b.rate == 0 {
		return nil
	}
	return b.pace(ctx)
}

// A line is what one benchmark has reported, by unit.
type line map[string]float64

func (b *admissionBench) sideBySide(ctx context.Context) (failed []string, err error) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENGINE\tPOLICY AND POD\tCPU\tREVIEWS/CPU-S\tP50 WALL\tP99 WALL\tALLOCS\tBYTES\tANON\tFILE\tCPU AGAINST TAGWARDEN\t")
	ours := map[string]float64{} // CPU by case
	for _, e := range engines {
		program, err := b.compile(ctx, e.name, e.dir)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			failed = append(failed, fmt.Sprintf("%s: not built: %v", e.name, err))
			continue
		}
		names, err := leaves(ctx, program, e.dir)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", e.name, err))
			continue
		}
		for _, name := range names {
			l, err := b.one(ctx, program, e.dir, name)
			if err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				failed = append(failed, fmt.Sprintf("%s: %v", name, err))
				continue
			}
			engine, which, _ := strings.Cut(strings.TrimPrefix(name, benchmark+"/"), "/")
			cpu, against := l["cpu-µs/review"], "-"
			if engine == "tagwarden" {
				ours[which] = cpu
			}
			if ours[which] > 0 {
				against = fmt.Sprintf("%.1fx", cpu/ours[which])
			}
			fmt.Fprintf(w, "%s\t%s\t%.0f µs\t%.0f\t%.0f µs\t%.0f µs\t%.0f\t%.0f\t%.0f MB\t%.0f MB\t%s\t\n", engine, which, cpu, l["reviews/cpu-s"],
				l["p50-wall-µs"], l["p99-wall-µs"], l["allocs/op"], l["B/op"], l["anon-MB"], l["file-MB"], against)
		}
	}
	return failed, w.Flush()
}

const benchmark = "BenchmarkReview"

// compile builds the benchmarks of a folder.
func (b *admissionBench) compile(ctx context.Context, name, dir string) (string, error) {
	bin, err := filepath.Abs(b.bin)
	if err != nil {
		return "", err
	}
	program := filepath.Join(bin, name+".test")
	fmt.Fprintf(os.Stderr, "building the benchmark of %s\n", name)
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return program, nil
}

// leaves are the names of the benchmarks that are not groups.
func leaves(ctx context.Context, program, dir string) ([]string, error) {
	out, err := output(ctx, dir, program, "-test.run=^$", "-test.bench=^"+benchmark+"$", "-test.benchtime=1x")
	if err != nil {
		return nil, err
	}
	var names []string
	for l := range strings.Lines(out) {
		if name, _, ok := parse(l); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// one runs one benchmark in a process of its own.
func (b *admissionBench) one(ctx context.Context, program, dir, name string) (line, error) {
	out, err := output(ctx, dir, program, "-test.run=^$", "-test.benchtime="+b.benchtime.String(), "-test.bench=^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	if err != nil {
		return nil, err
	}
	for l := range strings.Lines(out) {
		if got, values, ok := parse(l); ok && got == name {
			return values, nil
		}
	}
	return nil, errors.New("it reported nothing")
}

func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// parse reads a line of the Go benchmark format
// (https://go.dev/design/14313-benchmark-format). With GOMAXPROCS=1 names have no
// number behind them.
func parse(text string) (name string, values line, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], benchmark+"/") {
		return "", nil, false
	}
	values = line{}
	for pair := range slices.Chunk(fields[2:], 2) {
		if len(pair) < 2 {
			return "", nil, false
		}
		n, err := strconv.ParseFloat(pair[0], 64)
		if err != nil {
			return "", nil, false
		}
		values[pair[1]] = n
	}
	return fields[0], values, true
}

// pace puts reviews to "tagwarden admission" on one core, over HTTP, each when it
// is due, whether or not those before it are answered.
func (b *admissionBench) pace(ctx context.Context) (err error) {
	reg := registrytest.New()
	reg.Image("web", "1.2.3", "linux", "amd64", "web")
	registry := httptest.NewServer(reg)
	defer registry.Close()
	image := strings.TrimPrefix(registry.URL, "http://") + "/web:1.2.3"

	dir, err := os.MkdirTemp("", "tagwarden-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "tagwarden.yaml")
	if err := os.WriteFile(file, []byte(admissiontest.Exceptions(100, time.Now())), 0o600); err != nil {
		return err
	}
	program, err := filepath.Abs(b.tagwarden)
	if err != nil {
		return err
	}
	s, err := startServer(ctx, program, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: b.connections, MaxConnsPerHost: b.connections}}
	defer s.client.CloseIdleConnections()

	fmt.Printf("\ntagwarden admission, GOMAXPROCS=1, a policy with 100 exceptions, %d reviews a second for %s over %d connections, HTTP on loopback\n\n",
		b.rate, b.duration, b.connections)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "REVIEWS\tANSWERED/S\tCPU A REVIEW\tOF ONE CORE\tP50 INSIDE\tP99 INSIDE\tWITHIN 1 MS\tP50 FROM DUE\tP99 FROM DUE\tPEAK ANON\tFILE\tREGISTRY REQUESTS\t")
	for _, hook := range []struct{ name, path, namespace, image string }{
		{"validate, allowed", "validate", "shop", image + "@" + registrytest.Digest([]byte("x"))},
		{"validate, three denials", "validate", "production", "nginx:latest"},
		{"mutate, digests known", "mutate", "shop", image},
	} {
		body, err := admissiontest.Review(hook.namespace, hook.image)
		if err != nil {
			return err
		}
		if _, err := b.load(ctx, s, hook.path, body, time.Second); err != nil { // Warm.
			return err
		}
		reg.Forget()
		m, err := b.load(ctx, s, hook.path, body, b.duration)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f µs\t%.0f %%\t%s\t%s\t%.2f %%\t%.2f ms\t%.2f ms\t%.0f MB\t%.0f MB\t%d\t\n", hook.name, float64(m.answered)/m.wall.Seconds(),
			m.cpu.Seconds()*1e6/float64(m.answered), 100*m.cpu.Seconds()/m.wall.Seconds(), m.inside.atMost(0.5), m.inside.atMost(0.99), 100*m.inside.within(0.001),
			m.due(0.5).Seconds()*1e3, m.due(0.99).Seconds()*1e3, float64(m.anon)/1e6, float64(m.file)/1e6, len(reg.Requests()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println("\ninside: the server's own metric tagwarden_admission_review_seconds, whose bounds are coarse")
	return nil
}

// A server is a running "tagwarden admission".
type server struct {
	cmd    *exec.Cmd
	url    string
	client *http.Client
	rest   chan struct{} // closed when all that it says is read
}

func startServer(ctx context.Context, program, policy string) (*server, error) {
	cmd := exec.CommandContext(ctx, program, "admission", "--standalone", "--listen", "127.0.0.1:0", "--policy", policy)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, rest: make(chan struct{})}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if _, after, ok := strings.Cut(lines.Text(), "answering on "); ok {
			s.url, _, _ = strings.Cut(after, ";")
			go func() {
				defer close(s.rest)
				_, _ = io.Copy(io.Discard, out)
			}()
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s admission ended: %w: %s", program, cmd.Wait(), said.String())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-s.rest
	return s.cmd.Wait()
}

// cpu is the processor time that the server has used (proc_pid_stat(5)), in steps
// of 10 ms.
func (s *server) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0, errors.New("the system does not tell what a process has used")
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// A histogram is how many took at most so long, in seconds, in all.
type histogram struct {
	bounds []string // as the metric has them
	counts []float64
}

// histogram reads that of a webhook.
func (s *server) histogram(ctx context.Context, hook string) (h histogram, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return h, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	prefix := fmt.Sprintf("tagwarden_admission_review_seconds_bucket{webhook=%q,le=\"", hook)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), prefix)
		if !ok {
			continue
		}
		bound, count, _ := strings.Cut(rest, `"} `)
		n, err := strconv.ParseFloat(count, 64)
		if err != nil {
			return h, err
		}
		h.bounds, h.counts = append(h.bounds, bound), append(h.counts, n)
	}
	if len(h.counts) == 0 {
		return h, errors.New("the server does not tell how long reviews take")
	}
	return h, nil
}

// since is what was counted after before.
func (h histogram) since(before histogram) histogram {
	out := histogram{bounds: h.bounds, counts: slices.Clone(h.counts)}
	for i := range out.counts {
		out.counts[i] -= before.counts[i]
	}
	return out
}

// atMost is the bound that a part of all do not exceed.
func (h histogram) atMost(part float64) string {
	all := h.counts[len(h.counts)-1]
	for i, n := range h.counts {
		if bound, err := strconv.ParseFloat(h.bounds[i], 64); err == nil && n >= part*all && i < len(h.counts)-1 {
			return fmt.Sprintf("≤ %g ms", bound*1e3)
		}
	}
	return "> " + h.bounds[len(h.bounds)-2] + " s"
}

// within is the part that took at most so many seconds, which is a bound.
func (h histogram) within(seconds float64) float64 {
	i := slices.Index(h.bounds, strconv.FormatFloat(seconds, 'g', -1, 64))
	if i < 0 {
		return 0
	}
	return h.counts[i] / h.counts[len(h.counts)-1]
}

// A load is what a server did with reviews.
type load struct {
	answered   int
	wall, cpu  time.Duration
	inside     histogram
	took       []time.Duration // from when each was due, sorted
	anon, file int64           // the most, in bytes
}

func (l *load) due(part float64) time.Duration { return l.took[int(float64(len(l.took)-1)*part)] }

// load puts reviews to the server.
func (b *admissionBench) load(ctx context.Context, s *server, hook string, body []byte, duration time.Duration) (m load, err error) {
	before, err := s.histogram(ctx, hook)
	if err != nil {
		return m, err
	}
	cpu, err := s.cpu()
	if err != nil {
		return m, err
	}
	took := make([]time.Duration, int(duration.Seconds()*float64(b.rate)))
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for c := range b.connections {
		group.Go(func() error {
			for i := c; i < len(took); i += b.connections {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(b.rate))
				if err := until(ctx, due); err != nil {
					return err
				}
				if err := s.ask(ctx, hook, body); err != nil {
					return err
				}
				took[i] = time.Since(due)
			}
			return nil
		})
	}
	watched, done := make(chan error, 1), make(chan struct{})
	go func() {
		watched <- func() error {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				anon, file, err := admissiontest.Memory(strconv.Itoa(s.cmd.Process.Pid))
				if err != nil {
					return err
				}
				m.anon, m.file = max(m.anon, anon), max(m.file, file)
				select {
				case <-done:
					return nil
				case <-tick.C:
				}
			}
		}()
	}()
	err = group.Wait()
	m.wall = time.Since(began)
	close(done)
	if err := errors.Join(err, <-watched); err != nil {
		return m, err
	}
	ctx = context.WithoutCancel(ctx) // The group has ended it.
	after, err := s.histogram(ctx, hook)
	if err != nil {
		return m, err
	}
	m.inside = after.since(before)
	now, err := s.cpu()
	m.cpu, m.answered, m.took = now-cpu, len(took), took
	slices.Sort(m.took)
	return m, err
}

func until(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *server) ask(ctx context.Context, hook string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/"+hook, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s was answered with %s", hook, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
