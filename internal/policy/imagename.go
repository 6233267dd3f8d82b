package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// debugImage returns the repository that s spells.
func debugImage(s string) (image.Reference, error) {
	if strings.ContainsAny(s, "*?") {
		return image.Reference{}, fmt.Errorf("%s is a pattern, but Falco lists hold plain names: write one repository an item", quote(s))
	}
	return parseRepository(s)
}

// parseRepository returns a reference with neither tag nor digest.
func parseRepository(s string) (image.Reference, error) {
	ref, err := image.Parse(s)
	if err == nil && (ref.Tag() != "" || ref.Digest() != "") {
		err = fmt.Errorf("%s is one version, write %s for all of them", quote(s), ref.Familiar())
	}
	return ref, err
}

// imageGlob returns the glob over normalised repositories that s spells. Short
// names are made whole as in references, so that busy* means
// docker.io/library/busy*; a ** at the start stands for the registry, too.
func imageGlob(s string) (glob, error) {
	if s == "**" {
		return newGlob(s), nil
	}
	if strings.ContainsAny(s, `[]{}!\`) {
		return glob{}, fmt.Errorf("%s: the wildcards are *, ** and ?", quote(s))
	}
	// There is one parser of references, and it knows no wildcards: so words
	// stand in for them while it does its work.
	plain, wildcards, err := standIn(s)
	if err != nil {
		return glob{}, err
	}
	ref, err := parseRepository(plain)
	if err != nil {
		return glob{}, errors.New(wildcards.Replace(err.Error()))
	}
	return newGlob(wildcards.Replace(ref.Name())), nil
}

// wildcard is a run of wildcards within a component.
var wildcard = regexp.MustCompile(`[*?]+`)

// standIn replaces the wildcards in an image pattern by words that can stand
// in a reference at the same place. The replacer puts the wildcards back.
func standIn(pattern string) (plain string, back *strings.Replacer, err error) {
	if strings.Count(pattern, "*")+strings.Count(pattern, "?") > len(lower) {
		return "", nil, fmt.Errorf("%s has more than %d wildcards", quote(pattern), len(lower))
	}
	if strings.Contains("/"+pattern+"/", "/**/**/") {
		return "", nil, fmt.Errorf("%s: one ** in a row is enough", quote(pattern))
	}
	word := "wild"
	for strings.Contains(pattern, word) {
		word += "d"
	}
	var pairs []string
	swap := func(wildcard, format string) string {
		in := fmt.Sprintf(format, word+lower[len(pairs)/2:len(pairs)/2+1])
		pairs = append(pairs, in, wildcard)
		return in
	}
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		switch {
		case part == "**" && i == 0:
			parts[i] = swap(part, "%s.example") // only a registry has a dot
		case part == "**":
			parts[i] = swap(part, "%[1]s/%[1]s") // two, so that nothing is put before them
		case strings.Contains(part, "**"):
			return "", nil, fmt.Errorf("%s: ** stands for whole components, put it between slashes or write *", quote(pattern))
		default:
			parts[i] = wildcard.ReplaceAllStringFunc(part, func(w string) string { return swap(w, "%s") })
		}
	}
	return strings.Join(parts, "/"), strings.NewReplacer(pairs...), nil
}

// narrow makes compile refuse patterns that let everything through.
func narrow(compile func(string) (glob, error)) func(string) (glob, error) {
	return func(s string) (glob, error) {
		if everything(s) {
			return glob{}, fmt.Errorf("%s matches everything and so limits nothing, write a narrower pattern", quote(s))
		}
		return compile(s)
	}
}
