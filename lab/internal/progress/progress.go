// Package progress tells a person what the lab is doing and how long it took.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Printer writes one line a finished step, each with the time since the
// Printer was made. It is safe for concurrent use.
type Printer struct {
	w        io.Writer
	start    time.Time
	terminal bool

	mu     sync.Mutex
	status bool // an unfinished status line stands on the terminal
	last   time.Time
}

// New returns a Printer on w. Status lines that overwrite each other are used
// only when w is a terminal.
func New(w io.Writer) *Printer {
	f, ok := w.(*os.File)
	return &Printer{w: w, start: time.Now(), terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Elapsed returns the time since the Printer was made.
func (p *Printer) Elapsed() time.Duration { return time.Since(p.start) }

// Step writes one line about something that is done.
func (p *Printer) Step(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, "%6.1fs  %s\n", p.Elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// statusEvery is how often Status writes a line where lines cannot be
// overwritten: a log of a build should show life and stay short.
const statusEvery = 20 * time.Second

// Status says how far an unfinished step is: in place on a terminal, as a
// line every 20 seconds elsewhere.
func (p *Printer) Status(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%6.1fs  %s", p.Elapsed().Seconds(), text)
		p.status = true
		return
	}
	if p.last.IsZero() {
		p.last = time.Now()
	}
	if time.Since(p.last) < statusEvery {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "%6.1fs  %s\n", p.Elapsed().Seconds(), text)
}

// clear removes an unfinished status line. The caller holds the lock.
func (p *Printer) clear() {
	if p.status {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.status = false
	}
}
