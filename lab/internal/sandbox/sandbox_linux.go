// Package sandbox keeps what the lab's node does to the machine apart from
// everything else on it.
//
// containerd and the kubelet live in one private mount namespace. Every mount
// they make disappears with its last process, and the folders they insist on
// ([Private]) are the lab's own there, so neither a kubelet nor a containerd
// that the machine already runs ever notices.
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Private lists the folders whose places are fixed in containerd, its shim,
// the CNI library and the kubelet, whatever their configuration says.
var Private = []string{
	"/run/containerd",     // sockets of the shims
	"/var/lib/cni",        // results of CNI calls
	"/var/lib/kubelet",    // socket for device plugins
	"/var/log/containers", // links to logs
	"/var/log/pods",
}

// Unshare makes cmd start in a new mount namespace. The started program must
// call [Hold].
func Unshare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// MakeMountPoints creates the missing folders of [Private] on the machine and
// returns those it created, for [RemoveMountPoints].
func MakeMountPoints() ([]string, error) {
	var made []string
	for _, dir := range Private {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return made, err
		}
		made = append(made, dir)
	}
	return made, nil
}

// RemoveMountPoints removes the folders unless something lives in them now.
func RemoveMountPoints(dirs []string) {
	for _, dir := range dirs {
		_ = os.Remove(dir)
	}
}

// Hold puts folders below dir in the place of those in [Private], creates the
// file ready, and keeps the namespace alive until it is told to end. It must
// run in the namespace made by [Unshare].
func Hold(dir, ready string) error {
	for _, target := range Private {
		source := filepath.Join(dir, strings.ReplaceAll(strings.Trim(target, "/"), "/", "-"))
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	// The kubelet wants its volumes to reach containerd and back.
	if err := unix.Mount("none", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	return nil
}

// Enter joins the mount namespace of the process pid and becomes the command.
// It returns only when that is not possible.
func Enter(pid int, argv []string) error {
	// Joining is for one thread, and only for one that shares neither its
	// working folder nor its root with another.
	runtime.LockOSThread()
	ns, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/mnt")
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join the mount namespace of %d: %w", pid, err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, os.Environ())
}

// UnmountBelow unmounts everything mounted below dir in the caller's own
// namespace, the deepest first.
func UnmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, target := range mountsBelow(string(data), dir) {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", target, err))
		}
	}
	return errors.Join(errs...)
}
