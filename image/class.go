package image

import "strings"

// Class is how far a reference can be relied on. The order is from worst to
// best.
type Class uint8

// The classes. Only [Pinned] cannot come to mean other bytes: a registry lets
// whoever may write move any tag, so a fixed one is a promise, not a fact.
const (
	Invalid  Class = iota // no runtime can pull it as written
	Untagged              // no tag: the runtime takes "latest"
	Latest                // the tag "latest"
	Floating              // a tag that is meant to move
	Fixed                 // a tag that is meant to stay
	Pinned                // a digest
)

// String is the class as rules, policies and formats write it: invalid,
// untagged, latest, floating, fixed, digest.
func (c Class) String() string {
	switch c {
	case Untagged:
		return "untagged"
	case Latest:
		return "latest"
	case Floating:
		return "floating"
	case Fixed:
		return "fixed"
	case Pinned:
		return "digest"
	}
	return "invalid"
}

// Mutable reports whether a reference of this class can come to mean other
// bytes: every one without a digest can.
func (c Class) Mutable() bool { return c != Pinned }

// The reasons for a class, in the words of a message to its owner.
const (
	whyUntagged  = `no tag, so the runtime takes "latest"`
	whyLatest    = `"latest" is moved with every release`
	whyDigest    = "the digest names exactly one content"
	whyMoving    = "the tag has a word that says it moves, such as latest, nightly or snapshot"
	whyWord      = "the tag is a name without a version, date or commit, and moves with what it names"
	whyPartial   = "the version is not complete, so the tag moves with each release of it"
	whyVersion   = "a full version; a registry may still let it be overwritten"
	whyDate      = "a date or time of a build; a registry may still let it be overwritten"
	whyCommit    = "a commit or a unique id; a registry may still let it be overwritten"
	whyBuild     = "a build number; a registry may still let it be overwritten"
	whyNoVersion = "the reference is not valid"
)

// Class says what kind of name the reference is, and why, in a clause for
// people. The digest decides where there is one, whatever the tag beside it.
//
// A tag is fixed when it has something unique in it: a date (20240115,
// 2024-01-15), a commit (7 or more hex digits), a build number, or a version of
// three or more parts. It is floating otherwise (stable, 1, 1.25, 16-alpine,
// bookworm), and also when a full version carries a word such as SNAPSHOT or
// nightly. The first version in a tag counts: 16-alpine3.18.4 is version 16.
// Class does not allocate memory.
func (r Reference) Class() (Class, string) {
	switch {
	case r.path == "":
		return Invalid, whyNoVersion
	case r.digest != "":
		return Pinned, whyDigest
	case r.tag == "":
		return Untagged, whyUntagged
	case strings.EqualFold(r.tag, "latest"):
		return Latest, whyLatest
	}
	return classifyTag(r.tag)
}

func classifyTag(tag string) (Class, string) {
	if why := unique(tag); why != "" {
		return Fixed, why
	}
	for word := range strings.FieldsFuncSeq(tag, isSeparator) {
		if isMoving(word) {
			return Floating, whyMoving
		}
	}
	parts, found := firstVersion(tag)
	switch {
	case !found:
		return Floating, whyWord
	case parts >= 3:
		return Fixed, whyVersion
	}
	return Floating, whyPartial
}

func isSeparator(r rune) bool { return r == '-' || r == '_' || r == '.' }

// isMoving reports whether word says that the tag moves even if there is a
// full version in it. Flavours of an image (devel, lts, stable) are not among
// them.
func isMoving(word string) bool {
	switch len(word) {
	case len("dev"):
		return strings.EqualFold(word, "dev")
	case len("edge"):
		return strings.EqualFold(word, "edge") || strings.EqualFold(word, "main") || strings.EqualFold(word, "head")
	case len("latest"):
		return strings.EqualFold(word, "latest") || strings.EqualFold(word, "canary") || strings.EqualFold(word, "master")
	case len("nightly"):
		return strings.EqualFold(word, "nightly")
	case len("snapshot"):
		return strings.EqualFold(word, "snapshot")
	}
	return false
}

// unique finds the part of a tag that no other build has, and says what it is.
func unique(tag string) string {
	previous := ""
	for word := range strings.FieldsFuncSeq(tag, isSeparator) {
		number := leadingDigits(word)
		switch {
		case number == len(word) && isDate(word):
			return whyDate
		case number == 8 && isDate(word[:8]) && word[8] == 'T': // 20240115T103000Z
			return whyDate
		case isCommit(word):
			return whyCommit
		case number == len(word) && number >= 5:
			return whyBuild
		case number == len(word) && number >= 3 && isVersion(previous): // 9.3-1610
			if strings.Contains(tag, "-"+word) {
				return whyBuild
			}
		case number == len(word) && isBuild(previous):
			return whyBuild
		case number == 0 && isBuildNumber(word):
			return whyBuild
		}
		previous = word
	}
	if isDashedDate(tag) {
		return whyDate
	}
	return ""
}

// isVersion reports whether word is a part of a version: a short number, with
// a v before it or not.
func isVersion(word string) bool {
	if len(word) > 1 && (word[0] == 'v' || word[0] == 'V') {
		word = word[1:]
	}
	return word != "" && len(word) <= 2 && leadingDigits(word) == len(word)
}

func leadingDigits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// isDate reports whether digits begin as a date does, 20240115, with the time
// behind it or not, or are a Unix time.
func isDate(digits string) bool {
	switch len(digits) {
	case 8, 10, 12, 14:
		if digits[:2] == "19" || digits[:2] == "20" {
			month, day := digits[4:6], digits[6:8]
			return "01" <= month && month <= "12" && "01" <= day && day <= "31"
		}
		return len(digits) == 10 && digits[0] == '1'
	}
	return false
}

// isDashedDate finds 2024-01-15 and 2024_01_15; with dots it is a version of
// three parts as well.
func isDashedDate(tag string) bool {
	for i := 0; i+10 <= len(tag); i++ {
		d := tag[i : i+10]
		if (i == 0 || !isAlphanumeric(tag[i-1])) && (i+10 == len(tag) || tag[i+10] < '0' || tag[i+10] > '9') &&
			d[4] == d[7] && (d[4] == '-' || d[4] == '_') &&
			leadingDigits(d) == 4 && leadingDigits(d[5:]) == 2 && leadingDigits(d[8:]) == 2 &&
			(d[:2] == "19" || d[:2] == "20") && "01" <= d[5:7] && d[5:7] <= "12" && "01" <= d[8:] && d[8:] <= "31" {
			return true
		}
	}
	return false
}

// isCommit reports whether word is a commit or another id: 7 to 64 hex digits,
// with the g that git describe puts before them or not. Words such as
// "defaced" are, too; a tag named so is more often a commit than a word.
func isCommit(word string) bool {
	if len(word) > 7 && word[0] == 'g' {
		word = word[1:]
	}
	return len(word) >= 7 && len(word) <= 64 && isHex(word)
}

// isBuild reports whether a number after word is the number of a build. That
// of a pull request is not: it stays the same while the code changes.
func isBuild(word string) bool {
	switch len(word) {
	case 1:
		return word == "b" || word == "r"
	case 2:
		return word == "ci"
	case 3:
		return word == "run" || word == "rev"
	case 5:
		return strings.EqualFold(word, "build")
	}
	return false
}

// isBuildNumber finds b1234, r123 and build1234.
func isBuildNumber(word string) bool {
	for i := range len(word) {
		if c := word[i]; '0' <= c && c <= '9' {
			return leadingDigits(word[i:]) == len(word)-i && len(word)-i >= 3 && isBuild(word[:i])
		}
	}
	return false
}

// firstVersion finds the first version in a tag and counts its numeric parts:
// 3 in v1.25.3-alpine3.18, in jdk-21.0.1 and in 8u392 (Java's 8.0.392).
func firstVersion(tag string) (parts int, found bool) {
	i := 0
	for i < len(tag) && (tag[i] < '0' || tag[i] > '9') {
		i++
	}
	if i == len(tag) {
		return 0, false
	}
	for parts = 0; i < len(tag); parts++ {
		n := leadingDigits(tag[i:])
		if n == 0 {
			break
		}
		i += n
		if parts == 0 && i < len(tag) && tag[i] == 'u' && leadingDigits(tag[i+1:]) > 0 {
			return 3, true
		}
		if i >= len(tag) || tag[i] != '.' {
			parts++
			break
		}
		i++
	}
	return parts, true
}
