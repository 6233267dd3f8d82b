package imagediff_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/imagediff"
	"github.com/tagwarden/tagwarden/internal/registry/registrytest"
)

// TestConfig: every part of a config is compared, and nothing is lost of one
// that is odd.
func TestConfig(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for name, test := range map[string]struct {
		a, b object
		want []string
	}{
		"what runs": {
			object{"config": object{"Entrypoint": []any{"/a"}, "User": "1"}},
			object{"config": object{"Entrypoint": []any{"/a", "<x>"}, "Cmd": []any{"-v"}, "WorkingDir": "/w"}},
			[]string{`entrypoint: ["/a"] -> ["/a","<x>"]`, `cmd: nil -> ["-v"]`, `user: 1 -> nil`, `workingDir: nil -> /w`},
		},
		"keys in other letters are the same to a runtime": {object{"config": object{"Entrypoint": []any{"/a"}}}, object{"config": object{"entrypoint": []any{"/b"}}}, []string{`entrypoint: ["/a"] -> ["/b"]`}},
		"nothing and empty": {
			object{"config": object{"Cmd": nil, "Env": []any{}, "Labels": object{}}}, object{"config": object{"User": "", "Volumes": nil}, "author": ""}, nil,
		},
		"names": {
			object{"config": object{"Env": []any{"A=1", "B=1", "B=2", "E="}, "ExposedPorts": object{"80/tcp": object{}}, "Volumes": object{"/a": object{}}, "Labels": object{"x": "1"}}},
			object{"config": object{"Env": []any{"B=3", "C"}, "ExposedPorts": object{"81/tcp": object{}}, "Volumes": object{"/a": object{}}, "Labels": object{"x": "2", "y": ""}}},
			[]string{"env A: 1 -> nil", "env B: 2 -> 3", "env C: nil -> ", "env E:  -> nil", "port 80/tcp:  -> nil", "port 81/tcp: nil -> ", "label x: 1 -> 2", "label y: nil -> "},
		},
		"the rest": {
			object{"config": object{"StopSignal": "TERM", "Healthcheck": object{"Interval": 10000000000}, "OnBuild": []any{"RUN x"}}, "created": "1", "os.version": "10", "variant": "v1"},
			object{"config": object{"StopSignal": "KILL", "Healthcheck": object{"Interval": 10000000001}, "Shell": []any{"sh"}}, "created": "2", "author": "me", "os.version": "11", "variant": "v2"},
			[]string{
				`stopSignal: TERM -> KILL`, `healthcheck: {"Interval":10000000000} -> {"Interval":10000000001}`, `OnBuild: ["RUN x"] -> nil`, `Shell: nil -> ["sh"]`,
				"variant: v1 -> v2", "os.version: 10 -> 11", "author: nil -> me", "created: 1 -> 2",
			},
		},
		"other types": {
			object{"config": object{"Env": "A=1", "Labels": []any{"x"}, "User": 7}},
			object{"config": object{"Env": []any{"A=1", 5}}},
			[]string{"user: 7 -> nil", "env : A=1 -> nil", "env 5: nil -> ", "env A: nil -> 1", `label : ["x"] -> nil`},
		},
		"what does not print": {object{}, object{"config": object{"Env": []any{"\x1b[2J=\u202e\\"}, "K\n": 1}}, []string{`env \x1b[2J: nil -> \u202e\\`, `K\n: nil -> 1`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := registrytest.New()
			// Without the label they could be one config.
			reg.Layered("app", "a", test.a)
			reg.Layered("app", "b", test.b)
			d := compare(t, reg, imagediff.Options{})
			show := func(s *string) string {
				if s == nil {
					return "nil"
				}
				return *s
			}
			var got []string
			for _, c := range d.Platforms[0].Config {
				field := c.Field
				if c.Field == "env" || c.Field == "label" || c.Field == "port" || c.Field == "volume" {
					field += " " + c.Key
				}
				got = append(got, fmt.Sprintf("%s: %s -> %s", field, show(c.A), show(c.B)))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHistory: what is after the entries that both have.
func TestHistory(t *testing.T) {
	t.Parallel()
	history := func(lines ...string) map[string]any {
		var list []any
		for _, l := range lines {
			list = append(list, map[string]any{"created_by": l, "empty_layer": true})
		}
		return map[string]any{"history": list}
	}
	reg := registrytest.New()
	reg.Layered("app", "a", history("one", "two", "three"))
	reg.Layered("app", "b", history("one", "2", "three\n", "four"))
	h := compare(t, reg, imagediff.Options{}).Platforms[0].History
	entry := func(s string) imagediff.HistoryEntry {
		return imagediff.HistoryEntry{CreatedBy: s, EmptyLayer: true}
	}
	want := imagediff.History{
		Shared: 1, Removed: []imagediff.HistoryEntry{entry("two"), entry("three")},
		Added: []imagediff.HistoryEntry{entry("2"), entry(`three\n`), entry("four")},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}

// TestMarks: why a file matters.
func TestMarks(t *testing.T) {
	t.Parallel()
	elf := "\x7fELF"
	var entries []entry
	want := map[string][]string{}
	add := func(e entry, marks ...string) {
		entries = append(entries, e)
		want["/"+e.Name] = marks
	}
	add(registrytest.File("bin/su", 0o4755, elf), "setuid", "executable")
	add(registrytest.File("bin/wall", 0o2755, elf), "setgid", "executable")
	add(registrytest.File("data", 0o4644, ""), "setuid")
	add(xattr("bin/ping", "security.capability", "\x01"), "capabilities")
	add(xattr("bin/other", "user.x", "\x01"))
	for path, mark := range map[string]string{
		"etc/ld.so.preload": "preload", "etc/ld.so.conf.d/x.conf": "preload", "etc/ld-musl-x86_64.path": "preload",
		"etc/passwd": "account", "etc/shadow": "account", "etc/group": "account", "etc/sudoers": "sudo", "etc/sudoers.d/x": "sudo",
		"etc/pam.d/su": "pam", "root/.ssh/authorized_keys": "ssh", "home/x/.ssh/id": "ssh", "etc/ssh/sshd_config": "ssh", "x/authorized_keys": "ssh",
		"etc/crontab": "cron", "etc/cron.d/x": "cron", "etc/cron.daily/x": "cron", "var/spool/cron/crontabs/root": "cron", "etc/periodic/15min/x": "cron",
		"etc/systemd/system/x.service": "service", "usr/lib/systemd/system/x.service": "service", "etc/init.d/x": "service",
		"etc/ssl/certs/x.pem": "ca-certificate", "usr/local/share/ca-certificates/x.crt": "ca-certificate", "etc/pki/ca-trust/x": "ca-certificate",
		"etc/apt/sources.list": "package-source", "etc/apk/repositories": "package-source", "etc/yum.repos.d/x.repo": "package-source",
		"bin/sh": "shell", "usr/bin/bash": "shell", "etc/profile.d/x.sh": "shell-startup", "root/.bashrc": "shell-startup",
	} {
		add(file(path, "x"), mark)
	}
	add(registrytest.File("usr/bin/zsh", 0o755, elf), "shell", "executable")
	add(registrytest.File("opt/run", 0o755, "#!/bin/sh"), "executable")
	add(file("opt/elf", elf), "executable")
	add(registrytest.File("usr/lib/libc.so.6", 0o755, elf), "library")
	add(symlink("usr/lib/libx.so", "libx.so.1"), "library")
	add(symlink("usr/bin/python", "python3"), "executable")
	add(file("usr/share/doc/x", "x"))
	add(file("etc/cron.d.bak", "x"))
	add(file("etc/passwd.txt", "x"))
	add(file("opt/linker.script.so", "INPUT(x)"))
	d := pair(t, nil, gzipped(entries))
	got := map[string][]string{}
	for _, f := range d.Platforms[0].Files.List {
		if _, ok := want[f.Path]; ok {
			got[f.Path] = f.Marks
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHighlight: the most telling first, over platforms, safe to print.
func TestHighlight(t *testing.T) {
	t.Parallel()
	reg := registrytest.New()
	for tag, evil := range map[string]bool{"a": false, "b": true} {
		var children []registrytest.Pushed
		for _, architecture := range []string{"amd64", "arm64"} {
			config := map[string]any{"architecture": architecture}
			entries := []entry{file("etc/os-release", "PRETTY_NAME=Debian\n"), file("doc", tag)}
			if evil {
				config["config"] = map[string]any{"Env": []any{"LD_PRELOAD=/x.so", "A=secret"}, "User": "root"}
				entries = append(entries, registrytest.File("bin/`x`|@me\n", 0o755, architecture))
				entries[0].Body = "PRETTY_NAME=Alpine\n"
			}
			if evil && architecture == "arm64" {
				entries = append(entries, file("etc/crontab", "x"))
			}
			children = append(children, reg.Layered("app", "", config, gzipped(entries)...))
		}
		reg.Index("app", tag, children...)
	}
	d := compare(t, reg, imagediff.Options{})
	var plain, markdown []string
	for _, h := range d.Highlight(0) {
		plain = append(plain, h.String())
		markdown = append(markdown, h.Markdown())
	}
	want := []string{
		"user changed", "env LD_PRELOAD added", "/etc/crontab added (cron), on linux/arm64", "/bin/`x`|@me\\n added (executable)",
		"files: 2 added, 2 changed, on linux/amd64", "files: 3 added, 2 changed, on linux/arm64", "Debian → Alpine (base)", "env changed (1)",
	}
	if diff := cmp.Diff(want, plain); diff != "" {
		t.Error(diff)
	}
	if got, want := markdown[3], "`/bin/'x'\\|@me\\n` added (executable)"; got != want {
		t.Errorf("Markdown %s, want %s", got, want)
	}
	short := d.Highlight(3)
	if got := fmt.Sprint(short); len(short) != 3 || got != "[user changed env LD_PRELOAD added and 6 more]" {
		t.Error(got)
	}
}
