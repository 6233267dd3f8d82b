package manifest

import (
	"bytes"
	"sort"
)

// step is how many bytes lie between two counts of characters.
const step = 256

// places turns offsets of a file into lines and columns. Each answer takes
// about the same time, however long the lines are.
type places struct {
	data   []byte
	starts []int // of the lines
	chars  []int // before each step
}

func newPlaces(data []byte) *places {
	p := &places{data: data, starts: []int{0}}
	n := 0
	for i, b := range data {
		if i%step == 0 {
			p.chars = append(p.chars, n)
		}
		if starts(b) {
			n++
		}
		if b == '\n' {
			p.starts = append(p.starts, i+1)
		}
	}
	p.chars = append(p.chars, n)
	return p
}

// starts reports whether b begins a character of UTF-8.
func starts(b byte) bool { return b&0xC0 != 0x80 }

// span is the part of the file from start up to end.
func (p *places) span(start, end int) Span {
	line := p.line(start)
	column := 1 + p.before(start) - p.before(p.starts[line-1])
	if line == 1 && bytes.HasPrefix(p.data, bom) && start >= len(bom) {
		column-- // nobody sees it
	}
	return Span{Start: start, End: end, Line: line, Column: column}
}

// line is the number of the line with an offset.
func (p *places) line(offset int) int {
	return sort.SearchInts(p.starts, offset+1)
}

// before counts the characters before an offset.
func (p *places) before(offset int) int {
	i := min(offset/step, len(p.chars)-1)
	n := p.chars[i]
	for _, b := range p.data[min(i*step, offset):offset] {
		if starts(b) {
			n++
		}
	}
	return n
}

// bom is the byte order mark that some editors put before UTF-8.
var bom = []byte("\xEF\xBB\xBF")
