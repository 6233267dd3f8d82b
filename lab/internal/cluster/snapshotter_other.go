//go:build !linux

package cluster

// snapshotter is asked only on Linux.
func snapshotter(string) string { return "native" }
