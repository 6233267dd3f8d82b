// Package version says which build of Tagwarden runs.
package version

import (
	"runtime"
	"runtime/debug"
)

// The linker sets these with -X where the build is not made from a git
// checkout or has no VCS stamp; see the Makefile.
var (
	version string // such as v0.1.0
	commit  string // full hash
	date    string // RFC 3339, of the commit
)

// Info describes a build.
type Info struct {
	Version string `json:"version"`
	// Commit is the hash of the source, with "-dirty" when it was changed.
	Commit string `json:"commit"`
	// Date is the commit's time in RFC 3339, so that a build can be repeated.
	Date     string `json:"date"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Get returns what the linker and the Go toolchain noted; what neither knows
// is "unknown".
func Get() Info {
	i := Info{
		Version: version, Commit: commit, Date: date,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		if v := build.Main.Version; i.Version == "" && v != "" && v != "(devel)" {
			i.Version = v
		}
		stamp := map[string]string{}
		for _, s := range build.Settings {
			stamp[s.Key] = s.Value
		}
		if i.Commit == "" && stamp["vcs.revision"] != "" {
			i.Commit = stamp["vcs.revision"]
			if stamp["vcs.modified"] == "true" {
				i.Commit += "-dirty"
			}
		}
		if i.Date == "" {
			i.Date = stamp["vcs.time"]
		}
	}
	for _, s := range []*string{&i.Version, &i.Commit, &i.Date} {
		if *s == "" {
			*s = "unknown"
		}
	}
	return i
}
