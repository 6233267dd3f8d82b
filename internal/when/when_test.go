package when_test

import (
	"testing"
	"time"

	"github.com/tagwarden/tagwarden/internal/when"
)

// now is a Wednesday.
var now = time.Date(2026, 11, 25, 15, 4, 5, 0, time.FixedZone("CET", 3600))

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"now":                     "2026-11-25T15:04:05+01:00",
		"3h":                      "2026-11-25T12:04:05+01:00",
		"90m ago":                 "2026-11-25T13:34:05+01:00",
		"1h30m":                   "2026-11-25T13:34:05+01:00",
		"2 days ago":              "2026-11-23T15:04:05+01:00",
		"an hour ago":             "2026-11-25T14:04:05+01:00",
		"1w":                      "2026-11-18T15:04:05+01:00",
		"0s":                      "2026-11-25T15:04:05+01:00",
		"2026-11-23T14:00:00Z":    "2026-11-23T14:00:00Z",
		"2026-11-23t14:00:00.5z":  "2026-11-23T14:00:00.5Z",
		"2026-11-23":              "2026-11-23T00:00:00+01:00 2026-11-24T00:00:00+01:00",
		"today":                   "2026-11-25T00:00:00+01:00 2026-11-26T00:00:00+01:00",
		"Yesterday":               "2026-11-24T00:00:00+01:00 2026-11-25T00:00:00+01:00",
		"last tuesday":            "2026-11-24T00:00:00+01:00 2026-11-25T00:00:00+01:00",
		"Tuesday":                 "2026-11-24T00:00:00+01:00 2026-11-25T00:00:00+01:00",
		"on fri":                  "2026-11-20T00:00:00+01:00 2026-11-21T00:00:00+01:00",
		"wednesday":               "2026-11-18T00:00:00+01:00 2026-11-19T00:00:00+01:00", // not today
		"this week":               "2026-11-23T00:00:00+01:00 2026-11-30T00:00:00+01:00",
		"last week":               "2026-11-16T00:00:00+01:00 2026-11-23T00:00:00+01:00",
		"14:00":                   "2026-11-25T14:00:00+01:00",
		"yesterday 14:00":         "2026-11-24T14:00:00+01:00",
		" last  tuesday at 9 am ": "2026-11-24T09:00:00+01:00",
		"last tuesday at 9:30pm":  "2026-11-24T21:30:00+01:00",
		"yesterday noon":          "2026-11-24T12:00:00+01:00",
		"2026-11-23 14:00:05":     "2026-11-23T14:00:05+01:00",
	} {
		got, err := when.Parse(in, now)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		text := got.From.Format(time.RFC3339Nano)
		if !got.Moment() {
			text += " " + got.To.Format(time.RFC3339Nano)
		}
		if text != want {
			t.Errorf("%s: got %s, want %s", in, text, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", " ", "ago", "tomorrow", "last", "last month", "this tuesday", "3", "3x", "h", "-3h", "3.5h", "25:00", "16:00", // still to come
		"2026-11-26", "2026-13-01", "2027-01-01T00:00:00Z", "last week 14:00", "yesterday at", "yesterday yesterday", "99999999999h", "1 week 9999999w",
	} {
		if got, err := when.Parse(in, now); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("last tuesday at 9am")
	f.Add("1h30m ago")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := when.Parse(in, now)
		if err == nil && (got.From.After(now) || got.To.Before(got.From)) {
			t.Errorf("%q: got %v", in, got)
		}
	})
}
