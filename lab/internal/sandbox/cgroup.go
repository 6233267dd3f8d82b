package sandbox

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cgroupMounts returns the roots of all control group hierarchies: one on a
// machine with version 2, one a controller with version 1.
func cgroupMounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	return parseCgroupMounts(string(data)), nil
}

func parseCgroupMounts(mounts string) []string {
	var roots []string
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) >= 3 && (f[2] == "cgroup" || f[2] == "cgroup2") && !slices.Contains(roots, f[1]) {
			roots = append(roots, f[1])
		}
	}
	return roots
}

// MakeCgroup creates a control group of the given name at the top of every
// hierarchy, so that all that the lab's kubelet makes is below it.
func MakeCgroup(name string) error {
	roots, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, root := range roots {
		// Version 2 hands a controller down only when the parent says so.
		if controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
			for c := range strings.FieldsSeq(string(controllers)) {
				_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0o644)
			}
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// A new cpuset of version 1 is empty and accepts no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			own, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || len(bytes.TrimSpace(own)) > 0 {
				continue
			}
			if parent, err := os.ReadFile(filepath.Join(root, file)); err == nil {
				_ = os.WriteFile(filepath.Join(dir, file), parent, 0o644)
			}
		}
	}
	return nil
}

// RemoveCgroup removes what [MakeCgroup] made and everything below it. All
// its processes must have ended.
func RemoveCgroup(name string) error {
	roots, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// InCgroup reports whether the content of a /proc/PID/cgroup file places the
// process in the named top-level group or below.
func InCgroup(procCgroup, name string) bool {
	for line := range strings.Lines(procCgroup) {
		// hierarchy-ID:controllers:path
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			if parts[2] == "/"+name || strings.HasPrefix(parts[2], "/"+name+"/") {
				return true
			}
		}
	}
	return false
}
