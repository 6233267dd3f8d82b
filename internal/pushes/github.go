package pushes

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// github asks GitHub about ghcr.io:
// https://docs.github.com/rest/packages/packages#list-package-versions-for-a-package-owned-by-an-organization.
type github struct{ *api }

const (
	githubNeeds = "a classic personal access token with the scope read:packages, for public packages, too"
	githubPage  = 100
)

// Pushes gives the version that the tag is on. GitHub has its time and not the
// tag's, and does not say who pushed: that is in the audit log of the
// organisation.
func (g *github) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	owner, name, found := strings.Cut(ref.Repository(), "/")
	if !found {
		return nil, g.unsupported("pushes of "+ref.String(), "a package of GitHub is OWNER/NAME")
	}
	ctx, cancel, q, err := g.ask(ctx, "pushes of", ref, githubNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if q.cred.bearer() == "" {
		return nil, q.fail(ErrUnauthorized, "no credential")
	}
	q.bearer()
	q.header.Set("Accept", "application/vnd.github+json")
	q.header.Set("X-GitHub-Api-Version", "2022-11-28")
	push, err := g.find(ctx, q, "/orgs/"+url.PathEscape(owner), name, ref)
	if errors.Is(err, ErrNotFound) {
		push, err = g.find(ctx, q, "/users/"+url.PathEscape(owner), name, ref)
	}
	if err != nil {
		return nil, err
	}
	return []Push{*push}, nil
}

// find goes through the versions of a package until it has the tag's, or the
// digest's where there is no tag.
func (g *github) find(ctx context.Context, q *question, owner, name string, ref image.Reference) (*Push, error) {
	tag := tagOf(ref)
	var push *Push
	complete, err := pages(func(page int) (bool, error) {
		var versions []struct {
			Name      string `json:"name"`
			CreatedAt string `json:"created_at"`
			UpdatedAt string `json:"updated_at"`
			Metadata  struct {
				Container struct {
					Tags []string `json:"tags"`
				} `json:"container"`
			} `json:"metadata"`
		}
		_, err := q.get(ctx, owner+"/packages/container/"+url.PathEscape(name)+"/versions",
			url.Values{"per_page": {strconv.Itoa(githubPage)}, "page": {strconv.Itoa(page)}}, &versions)
		for _, v := range versions {
			if tag != "" && slices.Contains(v.Metadata.Container.Tags, tag) || tag == "" && v.Name == string(ref.Digest()) {
				push = &Push{
					Repository: ref.Name(), Tag: tag, Digest: digestOf(v.Name), At: rfc3339(cmp.Or(v.CreatedAt, v.UpdatedAt)),
					OfDigest: tag != "", Source: "GitHub packages API", Trust: Recorded, Confirmed: true,
				}
				return false, nil
			}
		}
		return len(versions) == githubPage, err
	})
	switch {
	case push != nil:
		return push, nil
	case err != nil:
		return nil, err
	case !complete:
		return nil, q.tooLong("versions")
	}
	return nil, q.fail(ErrNotFound, "none of its versions has this tag")
}

// Writers is not supported: GitHub has no API for who may write to a package.
func (g *github) Writers(_ context.Context, ref image.Reference) ([]Writer, error) {
	return nil, g.unsupported("writers of "+ref.Name(), "look at the package's settings on GitHub")
}
