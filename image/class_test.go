package image_test

import (
	"strings"
	"testing"

	"github.com/tagwarden/tagwarden/image"
)

// policy is what each tag counts as, and a part of the reason that is given.
var policy = []struct {
	class  image.Class
	reason string
	tags   string
}{
	{image.Latest, `"latest" is moved`, "latest LATEST Latest"},

	// Names move with what they name.
	{image.Floating, "a name without a version", `
		stable stable-slim mainline current lts prod release rc beta alpine slim bookworm jammy debug nonroot
		windowsservercore stable-alpine release-candidate _ sha sha- git-abc g`},
	{image.Floating, "says it moves", `
		main master edge dev develop nightly daily canary head HEAD trunk unstable rolling Nightly
		v1-latest latest-alpine alpine-latest 1-latest 2022-latest v2.edge main-7 nightly.123 latest_gpu`},
	{image.Floating, "follows a branch", `
		pr-123 pr-12345 pr-1234567 PR-12345 pr123 mr-42 pull-100 feature-login feature-12345 fix-1-2 hotfix_9 issue-10001`},

	// Versions that are not complete.
	{image.Floating, "not complete", `
		1 v1 V1 1.25 v1.2 1.x 1.25.x 1.25.x-alpine 1.2.3.x 1_25 16-alpine 1.25-alpine 3.12-slim-bookworm 3.12-17
		22.04 2022 1809 2024.1 2024-01 24.01 ltsc2022 ltsc2022-amd64 windowsservercore-1809 alpine3.18 php8.2-apache
		bullseye-11 release-1.2 cuda12-py3 amd64-1.2 8-jdk 21_35-jdk beta2 16-alpine3.18.4 1-rc1 v1.2-beta 16-3.4
		php8.2-fpm-alpine3.18.4 5.0-windowsservercoreltsc2022 windowsservercoreltsc2022 16-2022 PROJ-12345 v1234`},

	// A full version that moves all the same.
	{image.Floating, "says it moves", `
		1.25.3-SNAPSHOT 1.25.3-snapshot 1.2.3-latest 1.2.3-dev 1.2.3-nightly 1.2.3-main 1.2.3-SNAPSHOT-5 edge-1.2.3`},

	{image.Fixed, "a full version", `
		1.25.3 v1.2.3 V1.2.3 1.2.3.4 v1.2.3-rc.1 v1.2.3-rc1 1.25.3-alpine3.18 1.25.3-alpine 2024.1.2 10.0.20348.2227
		1_25_3 2.426.1-lts 1.2.3-stable 12.1.0-devel-ubuntu22.04 17.0.9_9-jdk jdk-21.0.1 go1.21.5 8u392-b08-jdk 8u392
		v1.28.3-eksbuild.1 9.4.53.v20231009 release-1.2.3 v1.2.3-gke.100 3.12.0b2 1.2.3-debian-12-r5 1.27.0-mainline
		amd64-1.2.3 arm64v8-v1.2.3 x86_64-1.2.3 py3-1.2.3 k8s-1.28.3 jdk17-2.426.1 alpine3.18.4 bookworm-1.2.3
		1.2.3-canary.4 1.2.3-dev.7 1.2.3-dev1 1.2.3-12345 v1.25.3-0 1.2.3.dev0 2.1.0-cuda12.1-cudnn8-runtime`},

	{image.Fixed, "a date", `
		20240115 v20231226 20240115-1 bookworm-20240110-slim nightly-20240115 latest-20240115 alpine20240115 1-20240115
		2024-01-15 2024_01_15 2024.01.15 2024.01.15-2 nightly-2024-01-15 v2024.01.15
		20240115103000 202401151030 20240115T103000Z RELEASE.2024-01-16T16-07-38Z 1700000000 v1700000000 pr-123-1700000000`},

	{image.Fixed, "a commit", `
		befacaad abc1234 ABC1234 sha-abc1234 git-0123abc main-abc1234 v1.2-abc1234 v1.2-14-gabc1234 pr-12-abc1234
		master-abc1234-1700000000 1.2.3-SNAPSHOT-abc1234 latest-0123456789abcdef sha256-` + hex64 + `.sig
		` + hex64[:40] + ` ` + hex64 + ` 123e4567-e89b-12d3-a456-426614174000 123E4567-E89B-12D3-A456-426614174000
		01ARZ3NDEKTSV4RRFFQ69G5FAV s66mzxpvicwk07gjbjfw9izjfa797vsw`},

	{image.Fixed, "a build number", `
		build-1234 build-5 build1234 b1234 r123 r-9 run-7 ci-88 rev.12 BUILD-12345 12345 main-12345 MAIN-12345
		9.3-1610 8.9-1029 1.2-100 16-debian-12-r123 bullseye-240115 20241399 1.25-12345 1.25-1234567`},
}

func classOf(t *testing.T, reference string) (image.Class, string) {
	t.Helper()
	r, err := image.Parse(reference)
	if err != nil {
		t.Fatal(err)
	}
	return r.Class()
}

func TestClassOfTags(t *testing.T) {
	t.Parallel()
	for _, p := range policy {
		for tag := range strings.FieldsSeq(p.tags) {
			got, why := classOf(t, "localhost:5000/app:"+tag)
			if got != p.class || !strings.Contains(why, p.reason) {
				t.Errorf("%s: got %v (%s), want %v (…%s…)", tag, got, why, p.class, p.reason)
			}
			if !got.Mutable() {
				t.Errorf("%s: not mutable, though any tag is", tag)
			}
			if got, _ := classOf(t, "app:"+tag+"@"+sha256); got != image.Pinned {
				t.Errorf("%s with a digest: got %v", tag, got)
			}
		}
	}
}

func TestClassOfReferences(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]image.Class{
		// The tag, not the registry's port or the name, decides.
		"nginx":                                image.Untagged,
		"localhost:5000/app":                   image.Untagged,
		"registry.example.com:443/team/app":    image.Untagged,
		"10.0.0.5:5000/app":                    image.Untagged,
		"[::1]:5000/app":                       image.Untagged,
		"acme/latest":                          image.Untagged,
		"sha256/app:latest":                    image.Latest,
		"mirror/sha256cache/app":               image.Untagged,
		"nginx:sha256":                         image.Floating,
		"nginx@" + sha256:                      image.Pinned,
		"nginx:latest@" + sha256:               image.Pinned,
		"10.0.0.5:5000/a:1@" + sha512:          image.Pinned,
		"registry.example.com:443/a@" + sha384: image.Pinned,
	} {
		if got, why := classOf(t, in); got != want || why == "" || got.Mutable() != (want != image.Pinned) {
			t.Errorf("%s: got %v (%s), want %v", in, got, why, want)
		}
	}
}

func TestClassNames(t *testing.T) {
	t.Parallel()
	want := []string{"invalid", "untagged", "latest", "floating", "fixed", "digest", "invalid"}
	for i, name := range want {
		if got := image.Class(i).String(); got != name {
			t.Errorf("class %d: got %s, want %s", i, got, name)
		}
	}
}

func BenchmarkClass(b *testing.B) {
	for _, tag := range []string{"v1.25.3-alpine", "16-alpine", "main-abc1234", "3.12-slim-bookworm"} {
		r, err := image.Parse("registry.example.com/team/app:" + tag)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(tag, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Class()
			}
		})
	}
}
