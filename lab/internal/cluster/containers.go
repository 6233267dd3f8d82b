package cluster

import (
	"regexp"
	"strings"

	"github.com/tagwarden/tagwarden/lab/internal/proc"
	"github.com/tagwarden/tagwarden/lab/internal/sandbox"
)

// Containers returns the process of each running container of a pod, by the
// container's id. It asks neither the API server nor containerd but the
// kernel, so it says what runs while those are down.
func (s *State) Containers(podUID string) map[string]proc.Record {
	running := map[string]proc.Record{}
	for _, p := range proc.Find(func(p proc.Process) bool { return sandbox.InCgroup(p.Cgroup, s.Name) }) {
		if id := containerID(p.Cgroup, podUID); id != "" && started(p.Args) {
			running[id] = p.Record
		}
	}
	return running
}

// started tells the program of a container from runc, which waits in the same
// place before the program starts, and from the pod's own sandbox container.
func started(args []string) bool {
	return len(args) > 1 && args[0] == "/program" && args[1] != "pause"
}

var cgroupContainer = regexp.MustCompile(`/pod([0-9a-f-]+)/([0-9a-f]{64})(?:/|$)`)

// containerID returns the container of the pod that the content of a
// /proc/PID/cgroup file names, or "".
func containerID(procCgroup, podUID string) string {
	for line := range strings.Lines(procCgroup) {
		if m := cgroupContainer.FindStringSubmatch(strings.TrimSpace(line)); m != nil && m[1] == podUID {
			return m[2]
		}
	}
	return ""
}
