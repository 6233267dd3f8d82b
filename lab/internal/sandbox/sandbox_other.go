//go:build !linux

// Package sandbox keeps what the lab's node does to the machine apart from
// everything else on it. A node needs Linux; elsewhere nothing here is called.
package sandbox

import (
	"errors"
	"os/exec"
)

var errLinux = errors.New("a real node needs Linux")

// Unshare does nothing outside Linux.
func Unshare(*exec.Cmd) {}

// MakeMountPoints does nothing outside Linux.
func MakeMountPoints() ([]string, error) { return nil, errLinux }

// RemoveMountPoints does nothing outside Linux.
func RemoveMountPoints([]string) {}

// Hold does nothing outside Linux.
func Hold(dir, ready string) error { return errLinux }

// Enter does nothing outside Linux.
func Enter(pid int, argv []string) error { return errLinux }

// UnmountBelow does nothing outside Linux.
func UnmountBelow(dir string) error { return nil }
