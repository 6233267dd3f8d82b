package cluster

import "golang.org/x/sys/unix"

// snapshotter returns the containerd snapshotter that works in dir. An
// overlay cannot lie on another overlay, which is what a container has.
func snapshotter(dir string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}
