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
	whyInvalid  = "the reference is not valid"
	whyUntagged = `no tag, so the runtime takes "latest"`
	whyLatest   = `"latest" is moved with every release`
	whyDigest   = "the digest names exactly one content"
	whyMoving   = "the tag has a word that says it moves, such as latest, nightly or snapshot"
	whyBranch   = "the tag follows a branch, a pull request or an issue, and moves with each push"
	whyWord     = "the tag is a name without a version, date or commit, and moves with what it names"
	whyPartial  = "the version is not complete, so the tag moves with each release of it"
	whyVersion  = "a full version; a registry may still let it be overwritten"
	whyDate     = "a date or time of a build; a registry may still let it be overwritten"
	whyCommit   = "a commit or a unique id; a registry may still let it be overwritten"
	whyBuild    = "a build number; a registry may still let it be overwritten"
)

// Class says what kind of name the reference is, and why, in a clause for
// people. It does not allocate memory. The digest decides where there is one,
// whatever the tag beside it. A tag is fixed when it has one of these:
//
//   - a version of three or more parts (1.25.3, v1.2.3-rc.1, 1_25_3, 8u392),
//     unless a word such as latest, nightly or SNAPSHOT says that it moves all
//     the same. A number behind the word makes it one build: 1.2.3-canary.4.
//   - a date or a time (20240115, v20240115, 2024-01-15T10-30-00Z, Unix time);
//   - a commit or an id: 7 and more hex digits, which includes words such as
//     "defaced", or 20 and more letters and digits in turns;
//   - a build number: 5 digits or more, or fewer behind build, run, ci, rev, r
//     or b (build-12, r123), or 3 or 4 behind a version and "-" (9.3-1610).
//     The number of a pull request (pr-12345) or an issue (PROJ-12345, in
//     capitals) is none: its code changes.
//
// Every other tag is floating: stable, main, bookworm, 1, 1.25, 16-alpine.
// Of several versions the first counts that is not glued to a name:
// 16-alpine3.18.4 is version 16, and amd64-1.2.3 is version 1.2.3.
func (r Reference) Class() (Class, string) {
	switch {
	case r.path == "":
		return Invalid, whyInvalid
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
	if hasCalendarDate(tag) {
		return Fixed, whyDate
	}
	parts := version(tag)
	full := parts >= 3
	moves := hasMovingWord(tag, full)
	if full && !moves {
		return Fixed, whyVersion
	}
	if why := unique(tag); why != "" {
		return Fixed, why
	}
	switch first, _, _ := cutWord(tag); {
	case moves:
		return Floating, whyMoving
	case isAny(branches[:], withoutNumber(first)):
		return Floating, whyBranch
	case parts == 0:
		return Floating, whyWord
	}
	return Floating, whyPartial
}

var (
	// moving are the words that say that a tag moves even if there is a full
	// version in it. Flavours of an image (devel, lts, stable) are not here.
	moving = [...]string{
		"latest", "nightly", "snapshot", "dev", "develop", "edge", "main", "master", "head", "canary",
		"trunk", "daily", "weekly", "unstable", "rolling",
	}
	// branches are the words that begin the name of a branch, a pull request
	// or an issue.
	branches = [...]string{
		"pr", "mr", "pull", "merge", "issue", "branch", "feature", "feat", "fix", "bugfix", "hotfix",
	}
	// builds are the words before the number of a build.
	builds = [...]string{"build", "run", "ci", "rev", "r", "b"}
)

// isAny reports whether word is one of words, in upper or lower case.
func isAny(words []string, word string) bool {
	for _, w := range words {
		if len(w) == len(word) && strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// cutWord cuts tag behind its first word; sep is what stood there, or 0 at the
// end.
func cutWord(tag string) (word string, sep byte, rest string) {
	for i := range len(tag) {
		if c := tag[i]; c == '-' || c == '.' || c == '_' {
			return tag[:i], c, tag[i+1:]
		}
	}
	return tag, 0, ""
}

// version counts the numeric parts of the version in a tag: 3 in
// v1.25.3-alpine3.18, in jdk17-21.0.1 and in 8u392 (Java's 8.0.392), 0 where
// there is none.
func version(tag string) int {
	for rest := tag; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "-")
		if len(part) > 1 && (part[0] == 'v' || part[0] == 'V') {
			part = part[1:]
		}
		if leadingDigits(part) > 0 {
			return versionParts(part)
		}
	}
	// None stands for itself: go1.21.5, php8.2-apache.
	if i := firstDigit(tag); i >= 0 {
		return versionParts(tag[i:])
	}
	return 0
}

// versionParts counts the parts of the version that s begins with.
func versionParts(s string) int {
	for parts := 0; ; parts++ {
		n := leadingDigits(s)
		if n == 0 {
			if parts > 2 && (s == "x" || strings.HasPrefix(s, "x-")) { // 1.2.3.x
				return 2
			}
			return parts
		}
		s = s[n:]
		if parts == 0 && len(s) > 1 && s[0] == 'u' && leadingDigits(s[1:]) > 0 {
			return 3
		}
		if s == "" || s[0] != '.' && s[0] != '_' {
			return parts + 1
		}
		s = s[1:]
	}
}

// hasMovingWord reports whether a word of the tag says that it moves. In a
// full version, a number behind the word makes it one build of many.
func hasMovingWord(tag string, full bool) bool {
	for rest := tag; rest != ""; {
		word, sep, next := cutWord(rest)
		if isAny(moving[:], word) {
			number, _, _ := cutWord(next)
			if !full || sep != '.' || number == "" || leadingDigits(number) != len(number) {
				return true
			}
		}
		rest = next
	}
	return false
}

// unique finds the word of a tag that no other build has, and says what it is.
func unique(tag string) (why string) {
	var before string // the word before this one
	var sep byte      // what stands between them
	for rest := tag; rest != ""; {
		word, nextSep, next := cutWord(rest)
		number := word != "" && leadingDigits(word) == len(word)
		switch {
		case hasDate(word):
			return whyDate
		case number && isTicket(before):
		case number && (len(word) >= 5 || isAny(builds[:], before)):
			return whyBuild
		case isCommit(word) || isMixedID(word):
			return whyCommit
		case number && sep == '-' && (len(word) == 3 || len(word) == 4 && word[:2] != "20") && isVersionPart(before):
			return whyBuild
		case !number && isBuildNumber(word):
			return whyBuild
		}
		before, sep, rest = word, nextSep, next
	}
	return ""
}

// hasDate finds a date of eight digits and what may stand around it: 20240115,
// v20240115, 20240115T103000Z, 20240115103000; also a Unix time in seconds.
func hasDate(word string) bool {
	i := firstDigit(word)
	if i < 0 {
		return false
	}
	n := leadingDigits(word[i:])
	d := word[i : i+n]
	switch n {
	case 8, 10, 12, 14:
		if isYear(d[:4]) {
			return isMonthAndDay(d[4:6], d[6:8])
		}
		return n == 10 && d[0] == '1' && i+n == len(word)
	}
	return false
}

// hasCalendarDate finds 2024-01-15, 2024_01_15 and 2024.01.15.
func hasCalendarDate(tag string) bool {
	for i := 4; i+6 <= len(tag); i++ {
		sep := tag[i]
		if sep != tag[i+3] || sep != '-' && sep != '_' && sep != '.' {
			continue
		}
		if (i == 4 || !isDigit(tag[i-5])) && (i+6 == len(tag) || !isDigit(tag[i+6])) &&
			isYear(tag[i-4:i]) && isMonthAndDay(tag[i+1:i+3], tag[i+4:i+6]) {
			return true
		}
	}
	return false
}

func isYear(s string) bool {
	return leadingDigits(s) == 4 && (s[:2] == "19" || s[:2] == "20")
}

func isMonthAndDay(month, day string) bool {
	return leadingDigits(month) == 2 && "01" <= month && month <= "12" &&
		leadingDigits(day) == 2 && "01" <= day && day <= "31"
}

// isTicket reports whether a number behind word is that of a pull request or
// an issue, as in pr-12345 and PROJ-12345.
func isTicket(word string) bool {
	if isAny(branches[:], word) {
		return true
	}
	for i := range len(word) {
		if word[i] < 'A' || word[i] > 'Z' {
			return false
		}
	}
	return len(word) > 1 && !isAny(builds[:], word) && !isAny(moving[:], word)
}

// isCommit reports whether word is a commit or another id: 7 and more hex digits,
// with the g that git describe puts before them or not.
func isCommit(word string) bool {
	if len(word) > 7 && word[0] == 'g' {
		word = word[1:]
	}
	for i := range len(word) {
		if c := word[i]; !isHexDigit(c) && !isUpperHexDigit(c) {
			return false
		}
	}
	return len(word) >= 7
}

// isMixedID reports whether word is an id in a larger alphabet than hex, such
// as a ULID or the hash of a Nix store path: long, with letters and digits in
// turns.
func isMixedID(word string) bool {
	turns := 0
	for i := 1; i < len(word); i++ {
		if isDigit(word[i]) != isDigit(word[i-1]) {
			turns++
		}
	}
	return len(word) >= 20 && turns >= 4
}

// isVersionPart reports whether word is a short number, with a v before it or
// not.
func isVersionPart(word string) bool {
	if len(word) > 1 && (word[0] == 'v' || word[0] == 'V') {
		word = word[1:]
	}
	return word != "" && len(word) <= 2 && leadingDigits(word) == len(word)
}

// isBuildNumber finds b1234, r123 and build1234.
func isBuildNumber(word string) bool {
	name := withoutNumber(word)
	return len(word)-len(name) >= 3 && isAny(builds[:], name)
}

// withoutNumber is word without the digits at its end.
func withoutNumber(word string) string {
	for word != "" && isDigit(word[len(word)-1]) {
		word = word[:len(word)-1]
	}
	return word
}

// firstDigit is where the first digit stands, or -1.
func firstDigit(s string) int {
	for i := range len(s) {
		if isDigit(s[i]) {
			return i
		}
	}
	return -1
}
