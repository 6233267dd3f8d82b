// Package when reads the times that people write: "last tuesday", "3h",
// "yesterday 14:00", RFC 3339.
package when

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Span is a time or a range of it, From included. A moment has both the
// same; a day ends where the next one begins.
type Span struct{ From, To time.Time }

// Moment reports whether s is one moment rather than a range.
func (s Span) Moment() bool { return s.From.Equal(s.To) }

// maxLen is longer than any time that can be read.
const maxLen = 64

// Parse reads a time as people write it, seen from now and in its zone:
//
//	now, 3h, 90m ago, 2 days ago, 1w          that long before now
//	2026-11-23T14:00:00Z                      RFC 3339
//	2026-11-23, today, yesterday              a whole day
//	tuesday, last tuesday                     the last one before today
//	last week, this week                      from Monday on
//	14:00, yesterday 14:00, last tuesday at 9am, 2026-11-23 14:00:05
//
// Capitals make no difference. A time that is still to come is an error, as is
// everything else.
func Parse(text string, now time.Time) (Span, error) {
	s, ok := parse(text, now)
	switch {
	case !ok:
		return Span{}, fmt.Errorf("not a time: %q; write it like 3h, yesterday, last tuesday 14:00, 2026-11-23 or 2026-11-23T14:00:00Z", clip(text))
	case s.From.After(now):
		return Span{}, fmt.Errorf("%q is still to come", clip(text))
	}
	return s, nil
}

func clip(text string) string {
	if len(text) > maxLen {
		return text[:maxLen] + "…"
	}
	return text
}

func parse(text string, now time.Time) (Span, bool) {
	if len(text) > maxLen {
		return Span{}, false
	}
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(text)); err == nil {
		return Span{t, t}, true
	}
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 {
		return Span{}, false
	}
	if d, ok := ago(words); ok {
		t := now.Add(-d)
		return Span{t, t}, true
	}
	day, rest, ok := calendar(words, now)
	if !ok {
		// A time alone is one of today.
		day, rest = whole(now), words
	}
	if len(rest) == 0 {
		return day, true
	}
	if rest[0] == "at" {
		rest = rest[1:]
	}
	clock, ok := timeOfDay(strings.Join(rest, ""))
	if !ok || day.To.Sub(day.From) > 25*time.Hour {
		return Span{}, false
	}
	y, m, d := day.From.Date()
	t := time.Date(y, m, d, clock[0], clock[1], clock[2], 0, now.Location())
	return Span{t, t}, true
}

// units are the words for lengths of time. A month and a year are none: they
// have no fixed length.
var units = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// ago reads now, 1h30m, 2 days ago, an hour ago.
func ago(words []string) (time.Duration, bool) {
	if len(words) == 1 && words[0] == "now" {
		return 0, true
	}
	if last := len(words) - 1; words[last] == "ago" {
		words = words[:last]
	}
	text := strings.Join(words, "")
	for _, one := range []string{"an", "a"} {
		if rest, ok := strings.CutPrefix(text, one); ok && units[rest] != 0 {
			return units[rest], true
		}
	}
	var sum time.Duration
	for text != "" {
		n := 0
		for n < len(text) && '0' <= text[n] && text[n] <= '9' {
			n++
		}
		u := n
		for u < len(text) && 'a' <= text[u] && text[u] <= 'z' {
			u++
		}
		unit := units[text[n:u]]
		if unit == 0 && u-n > 1 {
			unit = units[strings.TrimSuffix(text[n:u], "s")]
		}
		count, err := strconv.ParseInt(text[:n], 10, 32)
		if err != nil || unit == 0 || count > int64(maxAge/unit) {
			return 0, false
		}
		sum += time.Duration(count) * unit
		text = text[u:]
	}
	return sum, len(words) > 0 && sum <= maxAge
}

// maxAge is a hundred years.
const maxAge = 100 * 365 * 24 * time.Hour

var weekdays = map[string]time.Weekday{
	"sunday": time.Sunday, "monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday,
	"thursday": time.Thursday, "friday": time.Friday, "saturday": time.Saturday,
	"sun": time.Sunday, "mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday,
	"thu": time.Thursday, "fri": time.Friday, "sat": time.Saturday,
}

// calendar reads the day, or the week, that words begin with.
func calendar(words []string, now time.Time) (Span, []string, bool) {
	switch words[0] {
	case "today":
		return whole(now), words[1:], true
	case "yesterday":
		return whole(now.AddDate(0, 0, -1)), words[1:], true
	case "last", "this", "on":
		if len(words) < 2 {
			return Span{}, nil, false
		}
		if words[1] == "week" && words[0] != "on" {
			return week(now, words[0] == "last"), words[2:], true
		}
		if _, ok := weekdays[words[1]]; ok && words[0] != "this" {
			words = words[1:]
		}
	}
	if day, ok := weekdays[words[0]]; ok {
		back := (int(now.Weekday()) - int(day) + 7) % 7
		if back == 0 {
			back = 7
		}
		return whole(now.AddDate(0, 0, -back)), words[1:], true
	}
	t, err := time.ParseInLocation(time.DateOnly, words[0], now.Location())
	if err != nil {
		return Span{}, nil, false
	}
	return whole(t), words[1:], true
}

// whole is the day of t, in its zone.
func whole(t time.Time) Span {
	y, m, d := t.Date()
	return Span{time.Date(y, m, d, 0, 0, 0, 0, t.Location()), time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())}
}

// week is the week of now, or the one before, from Monday to Monday.
func week(now time.Time, last bool) Span {
	back := (int(now.Weekday()) + 6) % 7
	if last {
		back += 7
	}
	y, m, d := now.Date()
	return Span{time.Date(y, m, d-back, 0, 0, 0, 0, now.Location()), time.Date(y, m, d-back+7, 0, 0, 0, 0, now.Location())}
}

// timeOfDay reads 14:00, 14:00:05, 9am, 9:30pm, noon and midnight.
func timeOfDay(text string) (clock [3]int, ok bool) {
	switch text {
	case "noon":
		return [3]int{12}, true
	case "midnight":
		return [3]int{}, true
	}
	for _, layout := range []string{"15:04", "15:04:05", "3pm", "3:04pm"} {
		if t, err := time.Parse(layout, text); err == nil {
			return [3]int{t.Hour(), t.Minute(), t.Second()}, true
		}
	}
	return clock, false
}
