package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// reloadEvery is how often files are looked at. A change is taken up when it
// has stayed the same for one look, so that half a file is not read.
const reloadEvery = time.Second

// reload calls load after each change of the files, of those in the folders, or
// of what links point to, until ctx ends. It asks for the state of the files
// instead of being told: that works on every file system, for editors that
// replace a file and for the mounted ConfigMaps of Kubernetes.
func reload(ctx context.Context, paths []string, load func()) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	loaded := filesState(paths)
	before := loaded
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := filesState(paths)
		if now == before && now != loaded {
			loaded = now
			load()
		}
		before = now
	}
}

// filesState is a text that changes when the files do.
func filesState(paths []string) string {
	var b strings.Builder
	for _, p := range paths {
		names := []string{p}
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			entries, _ := os.ReadDir(p) // What cannot be read now is found when it is loaded.
			for _, e := range entries {
				names = append(names, filepath.Join(p, e.Name()))
			}
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				fmt.Fprintf(&b, "%q -\n", name)
				continue
			}
			fmt.Fprintf(&b, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}
