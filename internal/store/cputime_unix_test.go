//go:build unix

package store_test

import (
	"syscall"
	"time"
)

// cpuTime is what this process has used of the CPU: unlike the time on the
// wall, it is not about what else the machine does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
