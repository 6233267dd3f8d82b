package pushes

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tagwarden/tagwarden/image"
)

// gitlab asks a GitLab: https://docs.gitlab.com/api/container_registry/ and
// https://docs.gitlab.com/api/project_members/.
type gitlab struct{ *api }

const (
	gitlabNeeds       = "a token with the scope read_api of a member of the project"
	gitlabPage        = 100
	gitlabDeveloper   = 30 // the lowest level that may push
	gitlabMaxProjects = 8  // how deep groups are looked for
)

// gitlabRoles are the levels of access that may push.
var gitlabRoles = map[int]string{30: "Developer", 40: "Maintainer", 50: "Owner", 60: "Administrator"}

// Pushes gives what GitLab says of the tag. Its created_at is the creation
// time in the image's own config wherever the registry has no metadata
// database, and nothing tells which it is: so it is [Claimed]. A GitLab that
// says published_at says when the tag was pushed.
func (g *gitlab) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	tag := tagOf(ref)
	if tag == "" {
		return nil, g.unsupported("pushes of "+ref.String(), "it cannot be asked by a digest; name a tag")
	}
	ctx, cancel, q, err := g.ask(ctx, "pushes of", ref, gitlabNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.bearer()
	project, id, err := g.find(ctx, q, ref)
	if err != nil {
		return nil, err
	}
	var t struct {
		Digest      string `json:"digest"`
		CreatedAt   string `json:"created_at"`
		PublishedAt string `json:"published_at"`
	}
	path := project + "/registry/repositories/" + strconv.FormatInt(id, 10) + "/tags/" + url.PathEscape(tag)
	if _, err := q.get(ctx, path, nil, &t); err != nil {
		return nil, err
	}
	push := Push{
		Repository: ref.Name(), Tag: tag, Digest: digestOf(t.Digest), At: rfc3339(t.CreatedAt),
		Source: "GitLab API (created_at, which can be the image's own)", Trust: Claimed, Confirmed: true,
	}
	if at := rfc3339(t.PublishedAt); !at.IsZero() {
		push.At, push.Source, push.Trust = at, "GitLab API", Recorded
	}
	return []Push{push}, nil
}

// find looks for the project that a repository belongs to, whose path is the
// repository's or the beginning of it, and for the repository in it.
func (g *gitlab) find(ctx context.Context, q *question, ref image.Reference) (project string, id int64, err error) {
	parts := strings.Split(ref.Repository(), "/")
	for n := min(len(parts), gitlabMaxProjects); n >= 2; n-- {
		project = "/api/v4/projects/" + url.PathEscape(strings.Join(parts[:n], "/"))
		found := false
		complete, err := pages(func(page int) (bool, error) {
			var repositories []struct {
				ID   int64  `json:"id"`
				Path string `json:"path"`
			}
			_, err := q.get(ctx, project+"/registry/repositories", gitlabPageOf(page), &repositories)
			for _, r := range repositories {
				if strings.EqualFold(r.Path, ref.Repository()) {
					id, found = r.ID, true
					return false, nil
				}
			}
			return len(repositories) == gitlabPage, err
		})
		switch {
		case found:
			return project, id, nil
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return "", 0, err
		case !complete:
			return "", 0, q.tooLong("repositories")
		}
	}
	return "", 0, q.fail(ErrNotFound, "no project has this repository")
}

func gitlabPageOf(page int) url.Values {
	return url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(gitlabPage)}}
}

// Writers gives the members of the project, and of the groups above it, that
// may push. Deploy tokens and jobs of the project's pipelines may, too.
func (g *gitlab) Writers(ctx context.Context, ref image.Reference) ([]Writer, error) {
	ctx, cancel, q, err := g.ask(ctx, "writers of", ref, gitlabNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.bearer()
	project, _, err := g.find(ctx, q, ref)
	if err != nil {
		return nil, err
	}
	var writers []Writer
	complete, err := pages(func(page int) (bool, error) {
		var members []struct {
			Username    string `json:"username"`
			AccessLevel int    `json:"access_level"`
			State       string `json:"state"`
		}
		_, err := q.get(ctx, project+"/members/all", gitlabPageOf(page), &members)
		for _, m := range members {
			role, known := gitlabRoles[m.AccessLevel]
			if !known {
				role = "access level " + strconv.Itoa(m.AccessLevel)
			}
			if m.AccessLevel >= gitlabDeveloper && !slices.Contains([]string{"blocked", "deactivated"}, m.State) {
				writers = append(writers, Writer{Name: m.Username, Role: role, Source: "GitLab API"})
			}
		}
		return len(members) == gitlabPage, err
	})
	if err == nil && !complete {
		err = q.tooLong("members")
	}
	return byName(writers), err
}
