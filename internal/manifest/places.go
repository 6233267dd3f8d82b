package manifest

import (
	"bytes"
	"sort"
)

// step is how many bytes lie between two counts of characters.
const step = 256

// places turns offsets of a file into lines and columns. Each answer takes
// about the same time, however long the lines are. Most files are never asked
// about: nothing is counted before the first question.
type places struct {
	data   []byte
	starts []int // of the lines
	chars  []int // before each step; nil where each byte is a character
}

func newPlaces(data []byte) *places { return &places{data: data} }

func (p *places) count() {
	if p.starts != nil {
		return
	}
	p.starts = make([]int, 1, 1+bytes.Count(p.data, newline))
	for at := 0; ; {
		i := bytes.IndexByte(p.data[at:], '\n')
		if i < 0 {
			break
		}
		at += i + 1
		p.starts = append(p.starts, at)
	}
	if isASCII(p.data) {
		return
	}
	n := 0
	for i, b := range p.data {
		if i%step == 0 {
			p.chars = append(p.chars, n)
		}
		if starts(b) {
			n++
		}
	}
	p.chars = append(p.chars, n)
}

var newline = []byte("\n")

func isASCII(data []byte) bool {
	for _, b := range data {
		if b >= 0x80 {
			return false
		}
	}
	return true
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
	p.count()
	return sort.SearchInts(p.starts, offset+1)
}

// lineStart is where a line begins; ok is false for one that is not there.
func (p *places) lineStart(line int) (at int, ok bool) {
	p.count()
	if line < 1 || line > len(p.starts) {
		return 0, false
	}
	return p.starts[line-1], true
}

// before counts the characters before an offset.
func (p *places) before(offset int) int {
	p.count()
	if p.chars == nil {
		return offset
	}
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
