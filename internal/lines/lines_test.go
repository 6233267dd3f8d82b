package lines_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/lines"
)

func TestAll(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", lines.Max)
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"empty", "", nil},
		{"blank lines count", "a\n\n \t\nb\r\n", []string{"1 a", "4 b"}},
		{"no final newline", "a\nb", []string{"1 a", "2 b"}},
		{"the longest line", long + "\nb\n", []string{"1 " + long, "2 b"}},
		{"a line too long costs itself alone", "a\n" + long + "y\nb\n", []string{"1 a", "2 ! " + lines.ErrTooLong.Error(), "3 b"}},
		{"the last line too long", long + long, []string{"1 ! " + lines.ErrTooLong.Error()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for l := range lines.All(strings.NewReader(tc.in)) {
				if l.Err != nil {
					got = append(got, fmt.Sprintf("%d ! %v", l.Number, l.Err))
				} else {
					got = append(got, fmt.Sprintf("%d %s", l.Number, l.Text))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllReportsReadErrors(t *testing.T) {
	t.Parallel()
	var got []lines.Line
	broken := errors.New("disk on fire")
	for l := range lines.All(iotest.ErrReader(broken)) {
		got = append(got, l)
	}
	if len(got) != 1 || !errors.Is(got[0].Err, broken) {
		t.Errorf("got %v, want one line with error %v", got, broken)
	}
}

func FuzzAll(f *testing.F) {
	f.Add("a\n\nb\r\nc")
	f.Fuzz(func(t *testing.T, in string) {
		var got []string
		last := 0
		for l := range lines.All(strings.NewReader(in)) {
			if l.Number <= last {
				t.Fatalf("line %d after line %d", l.Number, last)
			}
			last = l.Number
			got = append(got, string(l.Text))
		}
		var want []string
		for part := range strings.SplitSeq(in, "\n") {
			if part = strings.TrimSpace(part); part != "" {
				want = append(want, part)
			}
		}
		// bytes.TrimSpace and strings.TrimSpace agree on what a space is.
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines of %q (-want +got):\n%s", in, diff)
		}
	})
}
