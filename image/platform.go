package image

import (
	"fmt"
	"strings"
)

// Platform is what an image is built for, and what a node is: the names are
// those of Go's GOOS and GOARCH (OCI image spec 1.1, image-index.md,
// "platform"). An empty field is not known; the zero Platform is not known at
// all. A Kubernetes node says its operating system and architecture in
// status.nodeInfo, and no variant.
type Platform struct{ OS, Architecture, Variant string }

// ParsePlatform reads OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as
// linux/amd64 and linux/arm64/v8, and keeps each part as it was written.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(shortest(s), "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Platform{}, fmt.Errorf("invalid platform %s: want OS/ARCHITECTURE, such as linux/amd64 or linux/arm/v7", quoted(s))
	}
	for _, part := range parts {
		if part == "" {
			return Platform{}, fmt.Errorf("invalid platform %s: a part of it is empty", quoted(s))
		}
		for i := range len(part) {
			if c := part[i]; !isAlphanumeric(c) && c != '_' && c != '-' && c != '.' {
				return Platform{}, fmt.Errorf("invalid platform %s: a platform has letters, digits, '_', '-' and '.' only", quoted(s))
			}
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// shortest is s, or nothing where it is longer than any platform.
func shortest(s string) string {
	if len(s) > 128 {
		return ""
	}
	return s
}

// String is OS/ARCHITECTURE, with the variant where there is one, and
// "unknown" for the zero Platform.
func (p Platform) String() string {
	switch {
	case p == Platform{}:
		return "unknown"
	case p.Variant == "":
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// Match reports whether p and q can be the same platform. Spellings are made
// one: aarch64 is arm64, x86_64 is amd64, and v8 of arm64 and v1 of amd64 are
// the same as no variant. A field that is not known matches any. What is said
// to be unknown/unknown, as an index says of the attestations in it, matches
// nothing.
func (p Platform) Match(q Platform) bool {
	return p.normal().matches(q.normal())
}

// matches is Match for platforms in one spelling.
func (p Platform) matches(q Platform) bool {
	return !p.nowhere() && !q.nowhere() &&
		agree(p.OS, q.OS) && agree(p.Architecture, q.Architecture) && agree(p.Variant, q.Variant)
}

func agree(a, b string) bool { return a == b || a == "" || b == "" }

// nowhere reports whether p is the platform of what does not run at all.
func (p Platform) nowhere() bool { return p.OS == "unknown" || p.Architecture == "unknown" }

// exact reports whether p names one platform: an "arm" without a variant is
// one of several.
func (p Platform) exact() bool {
	return p.OS != "" && p.Architecture != "" && (p.Architecture != "arm" || p.Variant != "") && !p.nowhere()
}

// normal is p in the one spelling that can be compared, as
// github.com/containerd/platforms has it, but that it does not make up a
// variant for "arm". It does not allocate memory for lower case.
func (p Platform) normal() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "amd64" && (p.Variant == "v1" || p.Variant == "1"),
		p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "arm":
		switch p.Variant {
		case "5":
			p.Variant = "v5"
		case "6":
			p.Variant = "v6"
		case "7":
			p.Variant = "v7"
		case "8":
			p.Variant = "v8"
		}
	}
	return p
}
