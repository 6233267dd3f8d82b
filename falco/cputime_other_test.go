//go:build !unix

package falco

import (
	"testing"
	"time"
)

// cpuTime is not known here; the benchmarks leave it out.
func cpuTime(testing.TB) time.Duration { return 0 }
