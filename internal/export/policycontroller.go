package export

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tagwarden/tagwarden/internal/policy"
)

// errNoSigners says that there is nothing to write for policy-controller.
var errNoSigners = errors.New("the policy names no signers: write signers in tagwarden.yaml")

// policyController writes a ClusterImagePolicy (policy.sigstore.dev/v1beta1)
// for each trusted signer. Without one it is an error: an empty file would look
// like a policy.
func policyController(m *model) (Output, error) {
	signers := m.policy.Signers()
	if len(signers) == 0 {
		return Output{}, errNoSigners
	}
	notes := append([]string{
		"policy-controller warns, since the policy only audits signatures (TW-06): once everything is signed, write mode: enforce",
		"an image that two signers may sign must satisfy both policies: policy-controller wants one signature of each that covers it",
		"policy-controller looks at namespaces with the label policy.sigstore.dev/include=true alone; give it to those of production",
		"policy-controller pins tags to digests in workloads, always: see its documentation before you use it with Argo CD or Flux",
		"its patterns cannot say where a name ends: one for app covers digests of app2, too, and ? is any text; what is covered needlessly must be signed, too",
		"exceptions are not in these policies",
	}, m.notes()...)
	names := map[string]int{}
	var objects []object
	for _, s := range signers {
		o, err := imagePolicy(s, names)
		if err != nil {
			return Output{}, err
		}
		objects = append(objects, o)
	}
	text, err := document(comment("ClusterImagePolicies of sigstore policy-controller (policy.sigstore.dev/v1beta1).", notes), objects...)
	if err != nil {
		return Output{}, err
	}
	return Output{Files: []File{{"policy-controller.yaml", text}}, Notes: notes}, nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// objectName makes a name that Kubernetes takes (RFC 1123, a label) of words of
// people, and no name twice.
func objectName(words string, taken map[string]int) string {
	const most = 50
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(words), "-"), "-")
	name = "tagwarden-" + strings.Trim(name[:min(len(name), most)], "-")
	name = strings.Trim(name, "-")
	taken[name]++
	if n := taken[name]; n > 1 {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

func imagePolicy(s *policy.Signer, names map[string]int) (object, error) {
	var images []any
	for _, p := range s.Images() {
		for _, g := range controllerGlobs(p) {
			images = append(images, object{{"glob", g}})
		}
	}
	authority := object{{"name", objectName(s.Name, map[string]int{})}}
	if s.PublicKey != "" {
		authority = append(authority, entry{"key", object{{"data", s.PublicKey}}})
	} else {
		identity := object{{"issuer", s.Issuer}}
		if s.Identity != "" {
			identity = append(identity, entry{"subject", s.Identity})
		} else {
			// The whole subject must match, as in the policy.
			identity = append(identity, entry{"subjectRegExp", "^(?:" + s.IdentityRegexp + ")$"})
		}
		authority = append(authority, entry{"keyless", object{
			{"url", "https://fulcio.sigstore.dev"},
			{"identities", []any{identity}},
		}}, entry{"ctlog", object{{"url", "https://rekor.sigstore.dev"}}})
	}
	return object{
		{"apiVersion", "policy.sigstore.dev/v1beta1"},
		{"kind", "ClusterImagePolicy"},
		{"metadata", metadata(objectName(s.Name, names))},
		{"spec", object{
			{"mode", "warn"}, // The policy does not deny for TW-06.
			{"images", images},
			{"authorities", []any{authority}},
		}},
	}, nil
}

// controllerGlobs write a pattern over repositories in policy-controller's words,
// which are about whole references and know neither ? nor @
// (github.com/sigstore/policy-controller, pkg/apis/glob).
func controllerGlobs(pattern string) []string {
	if rest, ok := strings.CutPrefix(pattern, "docker.io/"); ok {
		pattern = "index.docker.io/" + rest
	}
	pattern = strings.ReplaceAll(pattern, "?", "*")
	all := []string{pattern}
	if strings.Contains(pattern, "/**/") {
		// Ours stands for no component, too.
		all = append(all, strings.Replace(pattern, "/**/", "/", 1))
	}
	var globs []string
	for _, p := range all {
		if strings.HasSuffix(p, "*") {
			globs = append(globs, p)
		} else {
			globs = append(globs, p+":**", p+"*sha256:**")
		}
	}
	return globs
}
