package admissiontest

import (
	"bytes"
	"os"
	"strconv"
)

// Memory is what a process has in memory, in bytes (proc_pid_status(5)): of its
// own, and pages of files, which are mostly the program itself and which
// Kubernetes does not count while they are inactive.
func Memory(pid string) (anon, file int64, err error) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, 0, err
	}
	field := func(name string) (n int64) {
		if _, rest, ok := bytes.Cut(status, []byte("\n"+name+":")); ok && err == nil {
			line, _, _ := bytes.Cut(rest, []byte("kB"))
			n, err = strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
		}
		return n << 10
	}
	anon, file = field("RssAnon"), field("RssFile")
	return anon, file, err
}
