package store

import (
	"encoding/hex"
	"math"
	"strings"
	"time"
)

// A digest, a container id or a pod uid is kept as its bytes where it has its
// usual form, and as the text where it has not: bytes and text never compare as
// equal.

const sha256Prefix = "sha256:"

func packDigest(s string) any {
	if text, ok := strings.CutPrefix(s, sha256Prefix); ok {
		if b := unhex(text, 32); b != nil {
			return b
		}
	}
	return s
}

func unpackDigest(v any) string {
	if b, ok := v.([]byte); ok {
		return sha256Prefix + hex.EncodeToString(b)
	}
	s, _ := v.(string)
	return s
}

func packContainer(id string) any {
	if b := unhex(id, 32); b != nil {
		return b
	}
	return id
}

func unpackContainer(v any) string {
	if b, ok := v.([]byte); ok {
		return hex.EncodeToString(b)
	}
	s, _ := v.(string)
	return s
}

// dashes are where a UUID has them.
var dashes = [...]int{8, 13, 18, 23}

func packUID(s string) any {
	if len(s) != 36 {
		return s
	}
	for _, at := range dashes {
		if s[at] != '-' {
			return s
		}
	}
	if b := unhex(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:], 16); b != nil {
		return b
	}
	return s
}

func unpackUID(v any) string {
	if b, ok := v.([]byte); ok && len(b) == 16 {
		h := hex.EncodeToString(b)
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	s, _ := v.(string)
	return s
}

// unhex returns the n bytes that s spells in lower case, or nil.
func unhex(s string, n int) []byte {
	if len(s) != 2*n || strings.ContainsAny(s, "ABCDEF") {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// nanos is a time as it is kept: 0 where it is not known. Times that do not
// fit, before 1678 and after 2261, become the nearest that do.
func nanos(t time.Time) int64 {
	switch year := t.Year(); {
	case t.IsZero():
		return 0
	case year < 1678:
		return math.MinInt64
	case year > 2261:
		return math.MaxInt64 - 1 // Before never.
	}
	return t.UnixNano()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
