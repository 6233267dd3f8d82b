// Package manifest finds image references in files: each with its place, byte
// for byte, so that it can be reported, and changed without touching anything
// else.
package manifest

import "fmt"

// A Format is a kind of file that has image references.
type Format string

// The formats.
const (
	Kubernetes    Format = "kubernetes" // manifests, lists and custom resources, YAML or JSON
	HelmValues    Format = "helm-values"
	Kustomization Format = "kustomization"
	Compose       Format = "compose"
	Dockerfile    Format = "dockerfile"
	GitHubActions Format = "github-actions" // workflows and action.yml
	GitLabCI      Format = "gitlab-ci"
	CircleCI      Format = "circleci"
	Skaffold      Format = "skaffold"
	Devcontainer  Format = "devcontainer" // devcontainer.json
	Terraform     Format = "terraform"
)

// A Span is a part of a file: the bytes from Start up to End, and where Start
// is for people. Line and Column count from 1, Column in characters.
type Span struct {
	Start, End   int
	Line, Column int
}

// A Style is how a value is written, which says how another one must be.
type Style uint8

// The styles.
const (
	Plain  Style = iota // as it is
	Single              // in single quotes
	Double              // in double quotes
	Block               // a block scalar, > or |: the Span is that of its text
)

// An Object is what a reference belongs to.
type Object struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
}

// A ContainerKind says which list a container stands in.
type ContainerKind string

// The kinds of containers. Other is said of what is no container of a pod: a
// stage of a Dockerfile, a service of a compose file, a field of a custom
// resource.
const (
	Container ContainerKind = "container"
	Init      ContainerKind = "init"
	Sidecar   ContainerKind = "sidecar"
	Ephemeral ContainerKind = "ephemeral"
	Volume    ContainerKind = "volume"
	Other     ContainerKind = "other"
)

// A Reference is an image reference in a file.
type Reference struct {
	// Text is the reference as the file's syntax has it, without quotes and
	// escapes. A reference that is split into fields is put together.
	Text string
	// Span is the reference itself, without quotes. Of a split one, it is the
	// field that names the tag or the digest, or else the repository.
	Span   Span
	Style  Style
	Format Format
	Object Object
	// Container is the name of the container, service or stage, or "".
	Container     string
	ContainerKind ContainerKind
	// Path leads to the value from the top of its document:
	// spec.containers[0].image.
	Path string
	// Split has the fields of a reference that is not written in one piece.
	Split *Split
	// Action is set for a GitHub action, owner/repository/path@revision, which is
	// no image.
	Action bool
	// Derived is set where variables of the file make the reference: the bytes of
	// Span are not Text.
	Derived bool
	// Comment is the comment on the same line, without its mark, or "".
	Comment string
	// Anchored is set where a field of Split has an anchor, by which it may stand
	// elsewhere, too.
	Anchored bool
	// Loose is set where its document could not be parsed, and the line shows the
	// reference by itself.
	Loose bool
}

// Split are the fields of a reference, as Helm values and Kustomize have them.
// A field that is not there, or has no value, has a zero Span.
type Split struct {
	Registry, Repository, Tag, Digest Span
	// NoDigest is where the value of a field for the digest belongs that is there
	// and has none: between two quotes, behind the colon, or the bytes of a null.
	NoDigest Span
}

// An Unscannable is a file, or a part of it, in which references may be that
// could not be read.
type Unscannable struct {
	// Line is 0 where it is the whole file.
	Line   int
	Reason string
}

func (u Unscannable) Error() string {
	if u.Line > 0 {
		return fmt.Sprintf("line %d: %s", u.Line, u.Reason)
	}
	return u.Reason
}

// A Result is what was found in one file.
type Result struct {
	References  []Reference
	Unscannable []Unscannable
}
