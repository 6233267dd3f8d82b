package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// A Probe says how to see that a part is ready.
type Probe struct {
	// Kind is "http", "unix" or "tcp" (a socket accepts) or "file" (it exists).
	Kind   string `json:"kind"`
	Target string `json:"target"`
}

func (p Probe) check(ctx context.Context, client *http.Client) error {
	switch p.Kind {
	case "http":
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Target, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	case "unix", "tcp":
		conn, err := (&net.Dialer{}).DialContext(ctx, p.Kind, p.Target)
		if err != nil {
			return err
		}
		return conn.Close()
	case "file":
		_, err := os.Stat(p.Target)
		return err
	default:
		return fmt.Errorf("probe of kind %q", p.Kind)
	}
}

// Client returns an HTTP client that may do everything in the cluster.
func (s *State) Client() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(s.cert("admin"), s.key("admin"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.cert("ca"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
			ForceAttemptHTTP2: true,
		},
	}, nil
}

// Poll calls check every interval until it returns nil. When ctx ends first,
// the error says what was still missing.
func Poll(ctx context.Context, interval time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[*finalError](err); ok {
			return final.err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// finalError ends a [Poll]: waiting longer cannot help.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// logTail returns the last lines of a log.
func logTail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Final marks an error that ends a [Poll] at once.
func Final(err error) error { return &finalError{err} }
