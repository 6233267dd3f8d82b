package image

import "strings"

// Expressions are what [Parse] and [Reference.Class] decide, as regular
// expressions in the syntax of RE2: for policy engines that cannot call Go but
// have such expressions, as CEL and Rego do. None of them is anchored but where
// it says so itself.
//
// A text is a reference if Reference matches it and ID does not; only the
// length of the repository is not looked at. Its name is what Name finds at its
// start, and what is left is the tag with ":" before it and the digest with
// "@", as far as there are any. The name has a registry if Registry matches.
//
// A tag is fixed if one of these holds, and floating if none does:
//
//   - Version matches it and Moves does not;
//   - Unique matches it;
//   - Mixed matches one of the words that LongWord finds in it;
//   - Number finds something in it that Issue does not match, or that Build
//     does.
type Expressions struct {
	Reference, ID, Name, Registry string
	// Latest matches the tag latest.
	Latest          string
	Version, Moves  string
	Unique          string
	LongWord, Mixed string
	Number          string
	Issue, Build    string
}

// The grammar of references (see [Parse]) in regular expressions.
const (
	exprLabel     = `[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?`
	exprHost      = `(?:` + exprLabel + `(?:\.` + exprLabel + `)*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?`
	exprComponent = `[0-9a-z]+(?:(?:[._]|__|-+)[0-9a-z]+)*`
	// exprFolder is a first component that is no host.
	exprFolder = `[0-9a-z]+(?:(?:__?|-+)[0-9a-z]+)*`
	exprTag    = `[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}`
	exprDigest = `(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})`
)

// A word of a tag begins at exprStart and ends at exprEnd.
const (
	exprStart = `(?:^|[-._])`
	exprEnd   = `(?:[-._]|$)`
)

// MakeExpressions returns the expressions that belong to this version of
// [Reference.Class].
func MakeExpressions() Expressions {
	const (
		hex  = `[0-9a-fA-F]`
		day  = `(?:0[1-9]|1[0-2])SEP(?:0[1-9]|[12][0-9]|3[01])`
		year = `(?:19|20)[0-9]{2}`
		// nameless is a part between hyphens that has no version of its own.
		nameless = `(?:[^-0-9vV][^-]*|[vV](?:[^-0-9][^-]*)?)?`
		// three is a version of three parts; what follows is not one more
		// number, nor the x of 1.2.3.x.
		three = `[0-9]+(?:[._][0-9]+){2,}(?:[^-._0-9][^-]*|[._](?:[^-0-9x][^-]*|x[^-]+)?)?`
		full  = `(?:[0-9]+u[0-9][^-]*|` + three + `)`
	)
	words := func(of []string) string { return `(?i:` + strings.Join(of, "|") + `)` }
	calendar := func(sep string) string { return year + sep + strings.ReplaceAll(day, "SEP", sep) }
	commit := []string{`g` + hex + `{7,}`, `[0-9]{7,}[a-fA-F]` + hex + `*`}
	for before := range 7 { // Of seven hex digits, one is a letter.
		commit = append(commit, strings.Repeat(`[0-9]`, before)+`[a-fA-F]`+hex+`{`+string(rune('6'-before))+`,}`)
	}
	return Expressions{
		Reference: `^(?:` + exprHost + `/` + exprComponent + `(?:/` + exprComponent + `)*|` +
			exprFolder + `(?:/` + exprComponent + `)+|` + exprComponent + `)(?::` + exprTag + `)?(?:@` + exprDigest + `)?$`,
		ID:       `^[0-9a-f]{64}$`,
		Name:     `^(?:[^/@]*/)*[^/:@]*`,
		Registry: `^(?:localhost|[^/]*[.:A-Z][^/]*)/`,
		Latest:   `^(?i:latest)$`,
		Version: `^(?:` +
			`(?:` + nameless + `-)*[vV]?` + full + `(?:-.*)?` +
			`|(?:[^0-9]*-)?(?:[^-0-9vV]|[vV][^-0-9])[^-0-9]*` + full + `(?:-` + nameless + `)*)$`,
		Moves: exprStart + words(moving[:]) + `(?:$|[-_]|\.(?:$|[-._]|[0-9]*[A-Za-z]))`,
		Unique: strings.Join([]string{
			`(?:^|[^0-9])(?:` + calendar("-") + `|` + calendar("_") + `|` + calendar(`\.`) + `)(?:[^0-9]|$)`,
			exprStart + `[A-Za-z]*(?:1[0-8][0-9]{8}` + exprEnd + `|` + calendar("") + `(?:[0-9]{2}){0,3}(?:[^0-9]|$))`,
			`^[0-9]{5,}` + exprEnd,
			exprStart + `[0-9]+[-._][0-9]{5,}` + exprEnd,
			exprStart + words(builds[:]) + `(?:[-._][0-9]+|[0-9]{3,})` + exprEnd,
			exprStart + `(?:` + strings.Join(commit, "|") + `)` + exprEnd,
			exprStart + `[vV]?[0-9]{1,2}-(?:[0-9]{3}|(?:2[1-9]|[013-9][0-9])[0-9]{2})` + exprEnd,
		}, "|"),
		LongWord: `[0-9A-Za-z]{20,}`,
		Mixed:    `[A-Za-z][0-9]+[A-Za-z]+[0-9]+[A-Za-z]|[0-9][A-Za-z]+[0-9]+[A-Za-z]+[0-9]`,
		Number:   `[0-9A-Za-z]*[-._][0-9]{5,}` + exprEnd,
		Issue:    `^(?:` + words(branches[:]) + `|[A-Z]{2,})[-._]`,
		Build:    `^` + strings.ToUpper(`(?:`+strings.Join(builds[:], "|")+`|`+strings.Join(moving[:], "|")+`)`) + `[-._]`,
	}
}
