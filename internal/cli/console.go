package cli

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// console lets results, log lines and one status line share a terminal: what
// is written to the terminal goes above the status line.
type console struct {
	mu     sync.Mutex
	stderr io.Writer
	// live is set when stderr is a terminal: only then is there a status line.
	live   bool
	status string
}

func newConsole(env Env) *console {
	return &console{stderr: env.Stderr, live: isTerminal(env.Stderr)}
}

// over returns a writer that writes whole lines to w above the status line.
func (c *console) over(w io.Writer) io.Writer {
	if !c.live || !isTerminal(w) && w != c.stderr {
		return w
	}
	return &overStatus{c, w}
}

type overStatus struct {
	c *console
	w io.Writer
}

func (o *overStatus) Write(p []byte) (int, error) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if o.c.status == "" {
		return o.w.Write(p)
	}
	o.c.draw("")
	n, err := o.w.Write(p)
	if bytes.HasSuffix(p, []byte("\n")) {
		o.c.draw(o.c.status)
	}
	return n, err
}

// draw replaces what stands on the status line. The lock is held.
func (c *console) draw(text string) {
	if !c.live {
		return
	}
	fmt.Fprintf(c.stderr, "\r\x1b[K%s", text)
}

// set changes the status line; "" takes it away.
func (c *console) set(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.live || c.status == text {
		return
	}
	c.status = text
	c.draw(text)
}

// every calls text for the status line until stop is called. Without a
// terminal it does nothing.
func (c *console) every(period time.Duration, text func() string) (stop func()) {
	if !c.live {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			c.set(text())
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		c.set("")
	}
}

// newLog makes the log for an operator: one line an event on stderr.
func newLog(c *console) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.over(c.stderr), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// hostname is the machine's name, or "" where it has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
