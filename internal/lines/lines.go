// Package lines reads text line by line within bounded memory: a line that is
// too long costs that line, not the rest of the input.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Max is the longest line that [All] yields, in bytes, without its end.
const Max = 1 << 20

// ErrTooLong is the error of a line of more than [Max] bytes.
var ErrTooLong = fmt.Errorf("line longer than %d bytes", Max)

// Line is one line of the input.
type Line struct {
	// Number counts from 1.
	Number int
	// Text is the line without spaces around it, or nil with an error. It is
	// valid until the next line is asked for.
	Text []byte
	// Err is [ErrTooLong], or an error of the reader, after which no line
	// follows.
	Err error
}

// All yields the lines of r that are not blank.
func All(r io.Reader) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		var long []byte
		for n := 1; ; n++ {
			text, err := in.ReadSlice('\n')
			tooLong := false
			if errors.Is(err, bufio.ErrBufferFull) {
				long = append(long[:0], text...)
				for errors.Is(err, bufio.ErrBufferFull) {
					text, err = in.ReadSlice('\n')
					if tooLong = tooLong || len(long)+len(text) > Max+1; !tooLong {
						long = append(long, text...)
					}
				}
				text = long
			}
			line := Line{Number: n, Text: bytes.TrimSpace(text)}
			if tooLong {
				line.Text, line.Err = nil, ErrTooLong
			}
			if (line.Err != nil || len(line.Text) > 0) && !yield(line) {
				return
			}
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Line{Number: n, Err: err})
				return
			}
		}
	}
}
