package lockfile_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/internal/lockfile"
)

const (
	digestA = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	digestB = "sha256:5bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	commit  = "git:08c6903cd8c0fde910a37f88322edcfb5dd907a8"
	rest    = " index 2026-11-23T12:00:00Z registry:docker.io"
)

func parse(t *testing.T, text string) *lockfile.File {
	t.Helper()
	f, err := lockfile.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return f
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	const want = "# tagwarden.lock v1\n# reference digest platforms when from\n" +
		"actions/checkout@v4 " + commit + " commit 2026-11-23T12:00:00Z git:github.com\n" +
		"docker.io/library/nginx:1.25 " + digestA + rest + "\n" +
		"ghcr.io/acme/api:2 " + digestB + " linux/amd64,linux/arm64/v8 2026-11-23T12:00:00Z cluster:prod\n"
	got := parse(t, want).Bytes()
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// The order, empty lines, comments, line ends and a byte order mark of a
	// file that somebody edited make no difference.
	lines := strings.Split(strings.TrimSpace(want), "\n")
	odd := "\ufeff" + strings.Join([]string{lines[0], "", lines[4], "# why", lines[3], lines[2]}, "\r\n")
	if diff := cmp.Diff(want, string(parse(t, odd).Bytes())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	const good = "docker.io/library/nginx:1.25 " + digestA + rest
	for _, tc := range []struct{ why, text, want string }{
		{"a field is missing", "docker.io/library/nginx:1.25 " + digestA, "1:101: want reference, digest, platforms, time and origin, with blanks between; there are 2"},
		{"one too many", good + " more", "1:148: want reference, digest, platforms, time and origin, with blanks between; there are 6"},
		{"a short name", "\n\nnginx:1.25 " + digestA + rest, "3:1: nginx:1.25 is not written in full; want registry/repository:tag, as in docker.io/library/nginx:1.25"},
		{"no tag", "docker.io/library/nginx " + digestA + rest, "1:1: docker.io/library/nginx is not written in full; want registry/repository:tag, as in docker.io/library/nginx:1.25"},
		{"not a reference", "docker.io/NGINX:1 " + digestA + rest, `1:1: invalid image reference`},
		{"not a digest", "docker.io/library/nginx:1.25 sha256:abc" + rest, `1:30: "sha256:abc" is no digest; it is sha256: and 64 lower-case hex digits`},
		{"not a commit", "actions/checkout@v4 git:abc" + rest, `1:21: "git:abc" is no commit; write git: and its 40 or 64 hex digits`},
		{"not an action", "checkout " + commit + rest, `1:1: "checkout" is no GitHub action; write owner/repository@revision`},
		{"not platforms", "docker.io/library/nginx:1.25 " + digestA + " LINUX 2026-11-23T12:00:00Z x", `1:102: "LINUX" are no platforms; write linux/amd64,linux/arm64 or index`},
		{"not a time", "docker.io/library/nginx:1.25 " + digestA + " - yesterday x", `1:104: "yesterday" is no time; write it in UTC, as 2026-01-31T15:04:05Z`},
		{"a time elsewhere", "docker.io/library/nginx:1.25 " + digestA + " - 2026-11-23T12:00:00+01:00 x", `1:104: "2026-11-23T12:00:00+01:00" is no time; write it in UTC, as 2026-01-31T15:04:05Z`},
		{"twice", good + "\n" + good, "2:1: docker.io/library/nginx:1.25 has a line before, with " + digestA + "; keep one of them"},
		{"a newer format", "# tagwarden.lock v2\n", `1:1: format "v2" is newer than this program; update tagwarden`},
		{"a merge conflict", "<<<<<<< HEAD\n", "1:13: want reference, digest, platforms, time and origin, with blanks between; there are 2"},
		{"a control character", "docker.io/library/nginx:1.25 " + digestA + " - 2026-11-23T12:00:00Z x\x1b[2J", "1:1: has characters that do not print"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			t.Parallel()
			_, err := lockfile.Parse([]byte(tc.text))
			if _, ok := errors.AsType[*lockfile.ParseError](err); !ok || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	var f lockfile.File
	if _, ok := f.Get("x"); ok {
		t.Error("an empty file has a line")
	}
	set := func(ref, digest string) {
		f.Set(lockfile.Line{Reference: ref, Digest: digest, When: time.Unix(0, 5), From: "a host\nwith lines"})
	}
	set("docker.io/library/nginx:1.25", digestA)
	if ref, ok := f.Find("docker.io/library/nginx", digestA); !ok || ref != "docker.io/library/nginx:1.25" {
		t.Errorf("got %q", ref)
	}
	set("docker.io/library/nginx:1.25.3", digestA)
	if ref, ok := f.Find("docker.io/library/nginx", digestA); ok {
		t.Errorf("two tags have the digest, got %q", ref)
	}
	set("docker.io/library/nginx:1.26", digestB)
	set("docker.io/library/nginx:1.26", digestA)
	if ref, ok := f.Find("docker.io/library/nginx", digestB); ok {
		t.Errorf("the tag has moved on, got %q", ref)
	}
	if l, _ := f.Get("docker.io/library/nginx:1.26"); l.Digest != digestA || l.From != "a_host_with_lines" || l.Platforms != "-" {
		t.Errorf("got %+v", l)
	}
	if f.Len() != 3 {
		t.Errorf("got %d lines", f.Len())
	}
	parse(t, string(f.Bytes()))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("docker.io/library/nginx:1.25 " + digestA + rest))
	f.Add([]byte("# tagwarden.lock v1\r\n\nactions/checkout@v4 " + commit + " commit 2026-11-23T12:00:00Z git:github.com"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := lockfile.Parse(data)
		if err != nil {
			if e, ok := errors.AsType[*lockfile.ParseError](err); !ok || e.Line < 1 || e.Column < 1 || strings.ContainsAny(e.Error(), "\n\x1b") {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		text := file.Bytes()
		again, err := lockfile.Parse(text)
		if err != nil || !bytes.Equal(again.Bytes(), text) {
			t.Fatalf("%q became %q: %v", data, text, err)
		}
	})
}
