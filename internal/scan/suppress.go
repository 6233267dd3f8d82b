package scan

import (
	"bytes"
	"regexp"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/internal/finding"
	"github.com/tagwarden/tagwarden/internal/manifest"
)

// A comment accepts a finding on its own line or on the one below:
//
//	# tagwarden:ignore F-01 until=2027-01-31 reason="…" ticket=…
//
// It must say until when; without that it accepts nothing.
type accepted struct {
	until time.Time
}

// expired reports whether the day is over, in UTC.
func (a accepted) expired(now time.Time) bool { return !now.Before(a.until.AddDate(0, 0, 1)) }

var (
	ignoreComment = regexp.MustCompile(`(?:#|//)\s*tagwarden:ignore\s+(.*)$`)
	untilWord     = regexp.MustCompile(`\buntil=(\d{4}-\d{2}-\d{2})\b`)
)

// suppression finds the comment that accepts a finding.
func suppression(data []byte, ref *manifest.Reference, id finding.ID) (accepted, bool) {
	start := bytes.LastIndexByte(data[:ref.Span.Start], '\n') + 1
	end := len(data)
	if i := bytes.IndexByte(data[ref.Span.Start:], '\n'); i >= 0 {
		end = ref.Span.Start + i
	}
	if a, ok := acceptedBy(data[start:end], id); ok {
		return a, true
	}
	if start == 0 {
		return accepted{}, false
	}
	above := data[bytes.LastIndexByte(data[:start-1], '\n')+1 : start-1]
	if trimmed := bytes.TrimSpace(above); !bytes.HasPrefix(trimmed, []byte("#")) && !bytes.HasPrefix(trimmed, []byte("//")) {
		return accepted{}, false // It is about the line that it stands on.
	}
	return acceptedBy(above, id)
}

func acceptedBy(line []byte, id finding.ID) (accepted, bool) {
	m := ignoreComment.FindSubmatch(bytes.TrimRight(line, "\r"))
	if m == nil {
		return accepted{}, false
	}
	words := string(m[1])
	ids, _, _ := strings.Cut(words, "=")
	if !strings.Contains(" "+strings.ReplaceAll(ids, ",", " ")+" ", " "+string(id)+" ") {
		return accepted{}, false
	}
	u := untilWord.FindStringSubmatch(words)
	if u == nil {
		return accepted{}, false
	}
	until, err := time.Parse(time.DateOnly, u[1])
	return accepted{until}, err == nil
}
