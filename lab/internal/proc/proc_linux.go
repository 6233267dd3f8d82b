package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// startTime returns the start time of a live process in clock ticks since
// boot. A zombie counts as gone.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	return parseStat(string(data))
}

// parseStat returns field 22 of a /proc/PID/stat line. The second field is
// the name of the program in brackets and may itself hold brackets and
// blanks, so fields are counted from the last closing bracket.
func parseStat(stat string) (string, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return "", errors.New("stat: no closing bracket")
	}
	fields := strings.Fields(stat[end+1:])
	const state, threads, start = 0, 17, 19 // fields 3, 20 and 22 of the whole line
	if len(fields) <= start {
		return "", fmt.Errorf("stat: %d fields after the name, want at least %d", len(fields), start+1)
	}
	// The state is that of the first thread. While another thread lives, so
	// does the process: for a moment this is so in every program that
	// replaces itself from another thread.
	if s := fields[state]; s == "X" || s == "Z" && fields[threads] == "1" {
		return "", errors.New("stat: the process has ended")
	}
	return fields[start], nil
}

// Find returns the running processes for which match is true.
func Find(match func(Process) bool) []Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []Process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		started, err := startTime(pid)
		if err != nil {
			continue
		}
		p := Process{Record: Record{PID: pid, Started: started}}
		if cmdline, err := os.ReadFile(dir + "/cmdline"); err == nil {
			p.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		}
		if cgroup, err := os.ReadFile(dir + "/cgroup"); err == nil {
			p.Cgroup = string(cgroup)
		}
		if match(p) {
			found = append(found, p)
		}
	}
	return found
}
