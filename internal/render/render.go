// Package render makes manifests of Helm charts and kustomizations, to find the
// image references that no file has in one piece: a tag that is the appVersion
// of a chart, a name that an overlay replaces.
//
// What is rendered can be anybody's. Nothing is fetched, nothing is executed,
// and no file is read but those that are given.
package render

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// maxTime bounds how long one chart or kustomization may take. Templates
	// can loop as long as they like.
	maxTime = 10 * time.Second
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

// bounded runs a library on what can be an enemy's: it ends in time, and a
// panic is an error. Neither library can be interrupted, so what takes too long
// goes on in the background until it ends by itself or with the process.
func bounded[T any](ctx context.Context, render func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("the renderer panicked: %v", p)
			}
			done <- r
		}()
		r.value, r.err = render()
	}()
	select {
	case r := <-done:
		return r.value, oneLine(r.err)
	case <-ctx.Done():
		var none T
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return none, fmt.Errorf("it takes longer than %s", maxTime)
		}
		return none, ctx.Err()
	}
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
