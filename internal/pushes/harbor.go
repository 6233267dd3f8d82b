package pushes

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

// harbor asks a Harbor, 2.0 or later: https://goharbor.io/docs/latest/working-with-projects/using-api-explorer/,
// whose API is in api/v2.0/swagger.yaml of github.com/goharbor/harbor.
type harbor struct{ *api }

const (
	harborNeeds       = "a user or a robot that may read the repository"
	harborLogNeeds    = "a user that may read the audit log (a project's administrator)"
	harborMemberNeeds = "a user that may list the members and robots of the project (its administrator)"

	harborPage = 100
	// samePush is how far apart a tag's time and an entry of a log can be and
	// still be about one push.
	samePush = time.Minute
)

// Pushes gives the last push of the tag and, from the audit log, who made it,
// and the pushes before it that the log still has, without their digests.
func (h *harbor) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	project, name, found := strings.Cut(ref.Repository(), "/")
	if !found {
		return nil, h.unsupported("pushes of "+ref.String(), "a repository of Harbor is PROJECT/NAME")
	}
	ctx, cancel, q, err := h.ask(ctx, "pushes of", ref, harborNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.basic()
	tag := tagOf(ref)
	what := tag
	if what == "" {
		what = string(ref.Digest())
	}
	var artifact struct {
		Digest   string `json:"digest"`
		PushTime string `json:"push_time"`
		Tags     []struct {
			Name     string `json:"name"`
			PushTime string `json:"push_time"`
		} `json:"tags"`
	}
	// A slash in the name is escaped twice.
	path := "/api/v2.0/projects/" + url.PathEscape(project) + "/repositories/" + url.PathEscape(url.PathEscape(name)) +
		"/artifacts/" + url.PathEscape(what)
	if _, err := q.get(ctx, path, url.Values{"with_tag": {"true"}}, &artifact); err != nil {
		return nil, err
	}
	last := Push{
		Repository: ref.Name(), Tag: tag, Digest: digestOf(artifact.Digest), At: rfc3339(artifact.PushTime),
		OfDigest: tag != "", Source: "Harbor API", Trust: Recorded, Confirmed: true,
	}
	for _, t := range artifact.Tags {
		if t.Name == tag && tag != "" {
			last.At, last.OfDigest = rfc3339(t.PushTime), false
		}
	}
	q.needs = harborLogNeeds
	entries, err := h.log(ctx, q, project, ref.Repository()+":"+what)
	return addLog(last, entries), err
}

type harborEntry struct {
	Username  string `json:"username"`
	Resource  string `json:"resource"`
	Operation string `json:"operation"`
	OpTime    string `json:"op_time"`
}

// log asks for what the audit log says of a resource, the newest first. Harbor
// 2.13 began a second log; what is older is in the first one.
func (h *harbor) log(ctx context.Context, q *question, project, resource string) ([]harborEntry, error) {
	for _, path := range []string{"/api/v2.0/projects/" + url.PathEscape(project) + "/auditlog-exts", "/api/v2.0/audit-logs"} {
		var entries []harborEntry
		_, err := q.get(ctx, path, url.Values{
			"q": {"operation=create,resource=" + resource}, "sort": {"-op_time"}, "page": {"1"}, "page_size": {strconv.Itoa(harborPage)},
		}, &entries)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		entries = slices.DeleteFunc(entries, func(e harborEntry) bool {
			return e.Resource != resource || e.Operation != "create"
		})
		if len(entries) > 0 {
			return entries, nil
		}
	}
	return nil, nil
}

// addLog says who made the last push, and adds those before it. One push makes
// several entries: for the artifact and for its tag.
func addLog(last Push, entries []harborEntry) []Push {
	var before []Push
	for _, e := range entries {
		at, by := rfc3339(e.OpTime), clean(e.Username)
		if at.IsZero() {
			continue
		}
		if !last.OfDigest && at.Sub(last.At).Abs() <= samePush {
			if last.By == "" {
				last.By = by
			}
			continue
		}
		known := func(p Push) bool { return p.By == by && at.Sub(p.At).Abs() <= samePush }
		if !slices.ContainsFunc(before, known) {
			before = append(before, Push{
				Repository: last.Repository, Tag: last.Tag, At: at, By: by,
				Source: "Harbor audit log", Trust: Recorded, Confirmed: true,
			})
		}
	}
	pushes := append([]Push{last}, before...)
	newestFirst(pushes)
	return pushes
}

// Writers gives the members and the robots of the project that may push.
// Harbor's own administrators and its robots for all projects may, too.
func (h *harbor) Writers(ctx context.Context, ref image.Reference) ([]Writer, error) {
	project, _, _ := strings.Cut(ref.Repository(), "/")
	ctx, cancel, q, err := h.ask(ctx, "writers of", ref, harborMemberNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.basic()
	var writers []Writer
	path := "/api/v2.0/projects/" + url.PathEscape(project)
	complete, err := pages(func(page int) (bool, error) {
		var members []struct {
			EntityName string `json:"entity_name"`
			RoleName   string `json:"role_name"`
		}
		_, err := q.get(ctx, path+"/members", pageOf(page), &members)
		for _, m := range members {
			if slices.Contains([]string{"projectAdmin", "maintainer", "developer"}, m.RoleName) {
				writers = append(writers, Writer{Name: m.EntityName, Role: m.RoleName, Source: "Harbor API"})
			}
		}
		return len(members) == harborPage, err
	})
	if err == nil && !complete {
		err = q.tooLong("members")
	}
	if err != nil {
		return byName(writers), err
	}
	robots, err := h.robots(ctx, q, path)
	return byName(append(writers, robots...)), err
}

func pageOf(page int) url.Values {
	return url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(harborPage)}}
}

// robots asks for the robots of a project that may push.
func (h *harbor) robots(ctx context.Context, q *question, path string) ([]Writer, error) {
	var project struct {
		ID int64 `json:"project_id"`
	}
	if _, err := q.get(ctx, path, nil, &project); err != nil {
		return nil, err
	}
	var writers []Writer
	complete, err := pages(func(page int) (bool, error) {
		query := pageOf(page)
		query.Set("q", "Level=project,ProjectID="+strconv.FormatInt(project.ID, 10))
		var robots []struct {
			Name        string `json:"name"`
			Disable     bool   `json:"disable"`
			Permissions []struct {
				Access []struct {
					Resource string `json:"resource"`
					Action   string `json:"action"`
				} `json:"access"`
			} `json:"permissions"`
		}
		_, err := q.get(ctx, "/api/v2.0/robots", query, &robots)
		for _, r := range robots {
			for _, p := range r.Permissions {
				for _, a := range p.Access {
					if !r.Disable && a.Resource == "repository" && (a.Action == "push" || a.Action == "*") {
						writers = append(writers, Writer{Name: r.Name, Role: "robot", Source: "Harbor API"})
					}
				}
			}
		}
		return len(robots) == harborPage, err
	})
	if err == nil && !complete {
		err = q.tooLong("robots")
	}
	return writers, err
}
