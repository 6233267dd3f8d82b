package policy

import (
	"fmt"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// A ClassRule says which class the tags of some images have, where the name of
// a tag alone does not tell.
type ClassRule struct {
	Image string      // pattern over normalised repositories
	Tag   string      // pattern over tags
	Class image.Class // Fixed or Floating
}

type classRule struct {
	image, tag glob
	class      image.Class
	why        string
}

// Class returns the class of a reference and why, as [image.Reference.Class]
// does, after the rules of the policy. The first rule that matches counts. No
// rule makes a digest less than it is, nor a reference without a tag or with
// the tag latest more.
func (p *Policy) Class(ref image.Reference) (image.Class, string) {
	class, why := ref.Class()
	if class != image.Fixed && class != image.Floating {
		return class, why
	}
	for i := range p.classes {
		c := &p.classes[i]
		if c.tag.match(ref.Tag()) && c.image.covers(ref.Name()) {
			return c.class, c.why
		}
	}
	return class, why
}

// Classes returns the rules about classes in the order of the file.
func (p *Policy) Classes() []ClassRule {
	all := make([]ClassRule, len(p.classes))
	for i, c := range p.classes {
		all[i] = ClassRule{Image: c.image.pattern, Tag: c.tag.pattern, Class: c.class}
	}
	return all
}

// tagChars are the characters of tags (OCI distribution spec 1.1, <reference>).
const tagChars = lower + upper + digits + "_.-"

func tagGlob(s string) (glob, error) {
	if err := checkName(s, "a tag", tagChars, 128); err != nil {
		return glob{}, err
	}
	if strings.Trim(s, "*?") == "" && !strings.Contains(s, "*") {
		return glob{}, fmt.Errorf("%s says nothing about the tag, write * for all", quote(s))
	}
	return newGlob(s), nil
}

// registryGlob returns the glob over normalised repositories that s spells. A
// registry alone stands for all that is in it.
func registryGlob(s string) (glob, error) {
	host := s
	if !strings.Contains(host, "/") && (strings.ContainsAny(host, ".:") || host == "localhost") {
		s = host + "/**"
	}
	return imageGlob(s)
}

// AllowedRegistries returns the patterns over normalised repositories that may
// be used; none means that all may.
func (p *Policy) AllowedRegistries() []string { return p.allowed.patterns() }

// RegistryAllowed reports whether images of name, a normalised repository, may
// be used.
func (p *Policy) RegistryAllowed(name string) bool {
	return len(p.allowed) == 0 || p.allowed.match(name)
}
