package store

import (
	"strings"
	"testing"
	"time"
)

func TestPack(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("0123456789abcdef", 4)
	for _, tc := range []struct {
		name   string
		pack   func(string) any
		unpack func(any) string
		text   string
		bytes  int // 0 for text
	}{
		{"digest", packDigest, unpackDigest, "sha256:" + digits, 32},
		{"digest in capitals", packDigest, unpackDigest, "sha256:" + strings.ToUpper(digits), 0},
		{"longer digest", packDigest, unpackDigest, "sha512:" + digits + digits, 0},
		{"no digest", packDigest, unpackDigest, "", 0},
		{"container", packContainer, unpackContainer, digits, 32},
		{"short container", packContainer, unpackContainer, digits[:62], 0},
		{"uid", packUID, unpackUID, "0f5c6a57-6d3c-4f5f-8b1e-0d9b4b7e2f11", 16},
		{"uid of a static pod", packUID, unpackUID, digits[:32], 0},
		{"uid with a dash too few", packUID, unpackUID, "0f5c6a57-6d3c-4f5f-8b1e00d9b4b7e2f11", 0},
	} {
		packed := tc.pack(tc.text)
		if b, _ := packed.([]byte); len(b) != tc.bytes {
			t.Errorf("%s: packed into %d bytes, want %d", tc.name, len(b), tc.bytes)
		}
		if got := tc.unpack(packed); got != tc.text {
			t.Errorf("%s: %q comes back as %q", tc.name, tc.text, got)
		}
	}
}

func FuzzPack(f *testing.F) {
	for _, s := range []string{"", "nginx:1.25@sha256:0", "0f5c6a57-6d3c-4f5f-8b1e-0d9b4b7e2f11", "sha256:" + strings.Repeat("0a", 32), strings.Repeat("0a", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, tail := splitReference(s)
		for what, got := range map[string]string{
			"digest": unpackDigest(packDigest(s)), "container": unpackContainer(packContainer(s)),
			"uid": unpackUID(packUID(s)), "reference": name + tail,
		} {
			if got != s {
				t.Errorf("%s %q comes back as %q", what, s, got)
			}
		}
	})
}

func TestNanos(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.FixedZone("x", 3600))
	if got := instant(nanos(now)); !got.Equal(now) || got.Location() != time.UTC {
		t.Errorf("%v comes back as %v", now, got)
	}
	if got := instant(nanos(time.Time{})); !got.IsZero() {
		t.Errorf("no time comes back as %v", got)
	}
	// Times that do not fit keep their order, and are never never.
	past, future := nanos(time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)), nanos(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	if past >= nanos(now) || future <= nanos(now) || future == never {
		t.Errorf("far times are %d and %d", past, future)
	}
}
