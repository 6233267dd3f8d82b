package pushes

import (
	"context"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

// quay asks quay.io or a Quay of one's own: https://docs.quay.io/api/swagger/.
type quay struct{ *api }

const (
	quayNeeds      = "an OAuth token with the scope repo:read"
	quayAdminNeeds = "an OAuth token with the scope repo:admin"
	quayPage       = 100
)

// quayKinds are the entries of Quay's log that move a tag.
var quayKinds = []string{"push_repo", "create_tag", "move_tag", "revert_tag"}

// Pushes gives the whole history of the tag: Quay keeps what it led to, and
// from when to when. Who made the last push is in the log of the repository,
// which only its administrators may read.
func (s *quay) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	tag := tagOf(ref)
	if tag == "" {
		return nil, s.unsupported("pushes of "+ref.String(), "it cannot be asked by a digest; name a tag")
	}
	ctx, cancel, q, err := s.ask(ctx, "pushes of", ref, quayNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.bearer()
	var pushes []Push
	complete, err := pages(func(page int) (bool, error) {
		var answer struct {
			Tags []struct {
				Name           string  `json:"name"`
				ManifestDigest string  `json:"manifest_digest"`
				StartTS        float64 `json:"start_ts"`
			} `json:"tags"`
			HasAdditional bool `json:"has_additional"`
		}
		_, err := q.get(ctx, "/api/v1/repository/"+segments(ref.Repository())+"/tag/", url.Values{
			"specificTag": {tag}, "onlyActiveTags": {"false"}, "limit": {strconv.Itoa(quayPage)}, "page": {strconv.Itoa(page)},
		}, &answer)
		for _, t := range answer.Tags {
			if t.Name == tag {
				pushes = append(pushes, Push{
					Repository: ref.Name(), Tag: tag, Digest: digestOf(t.ManifestDigest), At: unix(t.StartTS),
					Source: "Quay API", Trust: Recorded, Confirmed: true,
				})
			}
		}
		return answer.HasAdditional, err
	})
	newestFirst(pushes)
	switch {
	case err != nil:
		return pushes, err
	case len(pushes) == 0:
		return nil, q.fail(ErrNotFound, "it has never had this tag")
	case !complete:
		err = q.tooLong("tags")
	}
	// The log is not public, and asking as nobody would only be refused.
	if q.cred.bearer() == "" || pushes[0].At.IsZero() {
		return pushes, err
	}
	q.needs = quayAdminNeeds
	if logErr := s.who(ctx, q, ref, &pushes[0]); logErr != nil {
		err = logErr
	}
	return pushes, err
}

// who finds a push in the log of its day.
func (s *quay) who(ctx context.Context, q *question, ref image.Reference, push *Push) error {
	const day = "01/02/2006"
	query := url.Values{"starttime": {push.At.Format(day)}, "endtime": {push.At.Add(samePush).Format(day)}}
	complete, err := pages(func(int) (bool, error) {
		var answer struct {
			Logs []struct {
				Kind      string `json:"kind"`
				IP        string `json:"ip"`
				DateTime  string `json:"datetime"`
				Performer struct {
					Name string `json:"name"`
				} `json:"performer"`
				Metadata struct {
					Tag            string `json:"tag"`
					ManifestDigest string `json:"manifest_digest"`
					UserAgent      string `json:"user-agent"`
				} `json:"metadata"`
			} `json:"logs"`
			NextPage string `json:"next_page"`
		}
		if _, err := q.get(ctx, "/api/v1/repository/"+segments(ref.Repository())+"/logs", query, &answer); err != nil {
			return false, err
		}
		for _, l := range answer.Logs {
			at, bad := mail.ParseDate(l.DateTime) // RFC 822
			near := bad == nil && at.Sub(push.At).Abs() <= samePush
			other := l.Metadata.ManifestDigest != "" && l.Metadata.ManifestDigest != string(push.Digest)
			if near && !other && l.Metadata.Tag == push.Tag && slices.Contains(quayKinds, l.Kind) {
				push.By, push.Addr, push.UserAgent = clean(l.Performer.Name), clean(l.IP), clean(l.Metadata.UserAgent)
				return false, nil
			}
		}
		query.Set("next_page", answer.NextPage)
		return answer.NextPage != "", nil
	})
	if err == nil && !complete {
		err = q.tooLong("log entries of " + push.At.Format(time.DateOnly))
	}
	return err
}

// Writers gives the users, robots and teams that the repository names. The
// administrators of its organisation may write, too.
func (s *quay) Writers(ctx context.Context, ref image.Reference) ([]Writer, error) {
	ctx, cancel, q, err := s.ask(ctx, "writers of", ref, quayAdminNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	q.bearer()
	var writers []Writer
	for _, kind := range []string{"user", "team"} {
		var answer struct {
			Permissions map[string]struct {
				Role    string `json:"role"`
				IsRobot bool   `json:"is_robot"`
			} `json:"permissions"`
		}
		if _, err := q.get(ctx, "/api/v1/repository/"+segments(ref.Repository())+"/permissions/"+kind+"/", nil, &answer); err != nil {
			return byName(writers), err
		}
		for name, p := range answer.Permissions {
			if p.Role != "write" && p.Role != "admin" {
				continue
			}
			role := p.Role
			switch {
			case kind == "team":
				role += " (team)"
			case p.IsRobot:
				role += " (robot)"
			}
			writers = append(writers, Writer{Name: name, Role: role, Source: "Quay API"})
		}
	}
	return byName(writers), nil
}
