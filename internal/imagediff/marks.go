package imagediff

import (
	"path"
	"slices"
	"strings"
)

// mark says why a changed file matters.
type mark struct {
	name string
	is   func(path string, n *inode) bool
}

// marks are all of them, the weightiest first: what gives rights, what is run
// unasked, what decides whom to trust, and then every program.
var marks = []mark{
	{"setuid", func(_ string, n *inode) bool { return n.typ == typeFile && n.mode&0o4000 != 0 }},
	{"setgid", func(_ string, n *inode) bool { return n.typ == typeFile && n.mode&0o2000 != 0 }},
	{"capabilities", func(_ string, n *inode) bool { return strings.Contains(n.xattrs, capability) }},
	{"device", func(_ string, n *inode) bool { return n.typ == typeChar || n.typ == typeBlock }},
	{"preload", at("/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d/", "/etc/ld-musl-*.path")},
	{"account", at("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/nsswitch.conf")},
	{"sudo", at("/etc/sudoers", "/etc/sudoers.d/", "/etc/doas.conf", "/etc/doas.d/", "/etc/polkit-1/")},
	{"pam", at("/etc/pam.d/", "/etc/pam.conf", "/etc/security/")},
	{"ssh", func(p string, n *inode) bool {
		return n.typ != typeDir && (strings.HasPrefix(p, "/etc/ssh/") || strings.Contains(p, "/.ssh/") || path.Base(p) == "authorized_keys")
	}},
	{"cron", at("/etc/crontab", "/etc/anacrontab", "/etc/cron.*/", "/etc/crontabs/", "/var/spool/cron/", "/etc/periodic/")},
	{"service", at("/etc/systemd/", "/usr/lib/systemd/", "/lib/systemd/", "/usr/local/lib/systemd/", "/etc/init.d/", "/etc/rc.local", "/etc/rc.d/", "/etc/inittab", "/etc/s6-overlay/", "/etc/services.d/", "/docker-entrypoint.d/")},
	{"ca-certificate", at("/etc/ssl/", "/usr/share/ca-certificates/", "/usr/local/share/ca-certificates/", "/etc/ca-certificates/", "/etc/ca-certificates.conf", "/etc/pki/", "/usr/share/pki/", "/usr/lib/ssl/certs/")},
	{"package-source", at("/etc/apt/", "/etc/apk/", "/etc/yum.repos.d/", "/etc/yum.conf", "/etc/dnf/", "/etc/zypp/", "/etc/pip.conf", "/etc/npmrc", "/usr/share/keyrings/")},
	{"shell", isShell},
	{"shell-startup", at("/etc/profile", "/etc/profile.d/", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/", "/etc/environment", "/etc/shells", "*/.bashrc", "*/.profile", "*/.bash_profile", "*/.zshrc")},
	{"executable", isProgram},
	{"library", isLibrary},
}

// at matches what is not a folder: at a path, below a path that ends in a
// slash; a star is for any part of a name, or at the beginning for any folder.
func at(patterns ...string) func(string, *inode) bool {
	return func(p string, n *inode) bool {
		if n.typ == typeDir {
			return false
		}
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			if end, ok := strings.CutPrefix(pattern, "*"); ok {
				return strings.HasSuffix(p, end)
			}
			if !strings.Contains(pattern, "*") {
				return p == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(p, pattern)
			}
			whole := p
			if strings.HasSuffix(pattern, "/") {
				depth := strings.Count(pattern, "/")
				parts := strings.SplitAfterN(p, "/", depth+1)
				if len(parts) <= depth {
					return false
				}
				whole = strings.Join(parts[:depth], "")
			}
			ok, err := path.Match(pattern, whole)
			return err == nil && ok
		})
	}
}

var shells = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox", "rbash", "toybox"}

func inBin(p string) bool {
	dir := path.Base(path.Dir(p))
	return dir == "bin" || dir == "sbin"
}

func isShell(p string, n *inode) bool {
	return n.typ != typeDir && inBin(p) && slices.Contains(shells, path.Base(p))
}

func isProgram(p string, n *inode) bool {
	switch n.typ {
	case typeSymlink:
		return inBin(p)
	case typeFile:
		return (n.mode&0o111 != 0 || n.elf) && !isLibrary(p, n)
	}
	return false
}

func isLibrary(p string, n *inode) bool {
	base := path.Base(p)
	return (n.typ == typeFile && n.elf || n.typ == typeSymlink) && (strings.HasSuffix(base, ".so") || strings.Contains(base, ".so.")) ||
		n.typ == typeFile && n.elf && strings.HasSuffix(base, ".ko")
}

// Ranks after those of the marks.
var (
	rankFile   = len(marks)
	rankFolder = len(marks) + 1
)

// marksOf are the marks of a change, and its rank: how far up it belongs.
func marksOf(p string, a, b *inode) (names []string, rank int) {
	rank = rankFolder
	if a != nil && a.typ != typeDir || b != nil && b.typ != typeDir {
		rank = rankFile
	}
	for i := range marks {
		m := &marks[i]
		if a != nil && m.is(p, a) || b != nil && m.is(p, b) {
			names = append(names, m.name)
			rank = min(rank, i)
		}
	}
	return names, rank
}
