// Package render makes manifests of Helm charts and kustomizations, to find the
// image references that no file has in one piece: a tag that is the appVersion
// of a chart, a name that an overlay replaces.
//
// What is rendered can be anybody's. Nothing is fetched, no program of it is
// executed, and no file is read but those that are given. Neither library can be
// interrupted, and a template can take all memory that there is. So they work in
// processes of their own, which end when one takes too much.
package render

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"time"
)

const (
	// maxTime bounds how long one chart or kustomization may take.
	maxTime = 10 * time.Second
	// maxMemory bounds the heap of a process that renders, in bytes.
	maxMemory = 512 << 20
	// maxReason is how much of a reason is shown.
	maxReason = 300
)

// MaxFiles and MaxSize are how many files and bytes a chart or a kustomization
// may be made of.
const (
	MaxFiles = 5000
	MaxSize  = 32 << 20
)

var errTooLarge = fmt.Errorf("it is made of more than %d files or %d MiB", MaxFiles, MaxSize>>20)

// A Renderer renders in processes of its own, as many at a time as there are
// processors. It is safe for concurrent use; Close ends its processes.
type Renderer struct {
	// Command makes a process that calls [Serve]. It is killed with the context.
	Command func(context.Context) *exec.Cmd
	// MaxTime bounds how long one chart or kustomization may take; 0 is 10 s.
	MaxTime time.Duration

	once  sync.Once
	idle  chan *process // one for each that may be, nil for one that does not run
	count int
}

// request is what a process is asked for: a chart of files, or the kustomization
// in a folder of them.
type request struct {
	Files  map[string][]byte
	Folder string // "" for a chart
}

type answer struct {
	Chart Chart
	Data  []byte
	Error string
	// Last says that the process ends.
	Last bool
}

// process is one that renders, one request after the other.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	enc    *gob.Encoder
	dec    *gob.Decoder
}

func (r *Renderer) start() {
	r.count = runtime.GOMAXPROCS(0)
	r.idle = make(chan *process, r.count)
	for range r.count {
		r.idle <- nil
	}
}

// Close ends the processes. Nothing can be rendered behind it.
func (r *Renderer) Close() {
	r.once.Do(r.start)
	for range r.count {
		if p := <-r.idle; p != nil {
			p.end()
		}
	}
}

func (p *process) end() {
	_ = p.in.Close() // It ends with its input.
	p.cancel()
	_ = p.cmd.Wait()
}

func (r *Renderer) process() (*process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cmd: r.Command(ctx), cancel: cancel}
	p.cmd.Stderr = nil            // The libraries warn about values; nobody asked.
	p.cmd.Env = []string{"PATH="} // No secrets, and no program to run, such as git.
	in, err := p.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	p.in, p.enc, p.dec = in, gob.NewEncoder(in), gob.NewDecoder(out)
	return p, nil
}

// ask has one thing rendered.
func (r *Renderer) ask(ctx context.Context, q *request) (answer, error) {
	size := 0
	for _, data := range q.Files {
		size += len(data)
	}
	if len(q.Files) > MaxFiles || size > MaxSize {
		return answer{}, errTooLarge
	}
	r.once.Do(r.start)
	var p *process
	select {
	case p = <-r.idle:
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	if p == nil {
		var err error
		if p, err = r.process(); err != nil {
			r.idle <- nil
			return answer{}, fmt.Errorf("start a process: %w", err)
		}
	}
	limit := r.MaxTime
	if limit == 0 {
		limit = maxTime
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(timed, p.cancel)
	var a answer
	err := p.enc.Encode(q)
	if err == nil {
		err = p.dec.Decode(&a)
	}
	if stopped := stop(); err == nil && stopped && !a.Last {
		r.idle <- p
	} else {
		p.end()
		r.idle <- nil
	}
	switch {
	case err == nil && a.Error != "":
		return answer{}, errors.New(a.Error)
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return answer{}, ctx.Err()
	case timed.Err() != nil:
		return answer{}, fmt.Errorf("it takes longer than %s", limit)
	}
	return answer{}, fmt.Errorf("the process that renders it ended: %s", p.cmd.ProcessState)
}

// Serve renders what it is asked for on in, until that ends. It takes the network
// from its process, so that must have nothing else to do. An error means that
// what was asked for last goes on taking time and memory: end the process.
func Serve(in io.Reader, out io.Writer) error {
	http.DefaultTransport = nothingFetched{}
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var q request
		switch err := dec.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read what to render: %w", err)
		}
		done := make(chan answer, 1)
		go func() { done <- q.answer() }()
		a := within(done)
		if err := enc.Encode(&a); err != nil {
			return fmt.Errorf("write what was rendered: %w", err)
		}
		if a.Last {
			return errors.New(a.Error)
		}
	}
}

// nothingFetched is the network of a process that renders. The configuration of
// a plugin of Kustomize can have an address in it.
type nothingFetched struct{}

func (nothingFetched) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("what is remote is not fetched")
}

// within waits for an answer, but not for one that takes too much. The runtime
// has no limit of its own that fails, and whoever asked may be gone.
func within(done <-chan answer) answer {
	const every = 10 * time.Millisecond
	late, look := time.NewTimer(2*maxTime), time.NewTicker(every)
	defer late.Stop()
	defer look.Stop()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for {
		select {
		case a := <-done:
			return a
		case <-late.C:
			return answer{Error: fmt.Sprintf("it takes longer than %s", 2*maxTime), Last: true}
		case <-look.C:
			if metrics.Read(heap); heap[0].Value.Uint64() > maxMemory {
				return answer{Error: fmt.Sprintf("it takes more than %d MiB of memory", maxMemory>>20), Last: true}
			}
		}
	}
}

// answer renders. A panic is an error.
func (q *request) answer() (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a.Error = oneLine(fmt.Errorf("the renderer panicked: %v", p)).Error()
		}
	}()
	var err error
	if q.Folder != "" {
		a.Data, err = kustomize(q.Files, q.Folder)
	} else {
		a.Chart, err = helm(q.Files)
	}
	if err != nil {
		a = answer{Error: oneLine(err).Error()}
	}
	return a
}

// oneLine is an error on one line that is not too long: the beginning says
// where it was, the end what it was.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason/2], "") + " … " + strings.ToValidUTF8(text[len(text)-maxReason/2:], "")
	}
	return errors.New(text)
}
