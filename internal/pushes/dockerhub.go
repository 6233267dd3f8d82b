package pushes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tagwarden/tagwarden/image"
)

// dockerHub asks Docker Hub: https://docs.docker.com/reference/api/hub/latest/.
type dockerHub struct{ *api }

const hubNeeds = "a Docker Hub user with a personal access token that may read the repository"

// Pushes gives the last push of the tag. Docker Hub says who moved the tag.
func (d *dockerHub) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	tag := tagOf(ref)
	if tag == "" {
		return nil, d.unsupported("pushes of "+ref.String(), "it cannot be asked by a digest; name a tag")
	}
	ctx, cancel, q, err := d.ask(ctx, "pushes of", ref, hubNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	var t struct {
		Digest              string `json:"digest"`
		LastUpdated         string `json:"last_updated"`
		LastUpdaterUsername string `json:"last_updater_username"`
		TagLastPushed       string `json:"tag_last_pushed"`
	}
	path := "/v2/repositories/" + segments(ref.Repository()) + "/tags/" + segments(tag)
	_, err = q.get(ctx, path, nil, &t)
	// A private repository is "not found" to whoever is not logged in.
	if q.cred != (Credential{}) && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized)) {
		if err := d.login(ctx, q); err != nil {
			return nil, err
		}
		_, err = q.get(ctx, path, nil, &t)
	}
	if err != nil {
		return nil, err
	}
	return []Push{{
		Repository: ref.Name(), Tag: tag, Digest: digestOf(t.Digest),
		At: rfc3339(cmp.Or(t.TagLastPushed, t.LastUpdated)), By: clean(t.LastUpdaterUsername),
		Source: "Docker Hub API", Trust: Recorded, Confirmed: true,
	}}, nil
}

// login changes a user and an access token for the token of the API.
func (d *dockerHub) login(ctx context.Context, q *question) error {
	if q.cred.Token != "" || q.cred.Username == "" {
		q.bearer()
		return nil
	}
	body, err := json.Marshal(map[string]string{"identifier": q.cred.Username, "secret": q.cred.Password})
	if err != nil {
		return q.fail(ErrUnauthorized, "its credential cannot be sent")
	}
	var t struct {
		AccessToken string `json:"access_token"`
	}
	q.header.Set("Content-Type", typeJSON)
	defer q.header.Del("Content-Type")
	if _, err := q.do(ctx, http.MethodPost, "/v2/auth/token", nil, body, &t); err != nil {
		return err
	}
	q.header.Set("Authorization", "Bearer "+t.AccessToken)
	return nil
}

// Writers is not supported: teams can be given a repository through the API,
// and it has no documented way to list them.
func (d *dockerHub) Writers(_ context.Context, ref image.Reference) ([]Writer, error) {
	return nil, d.unsupported("writers of "+ref.Name(), "look at the repository's permissions on hub.docker.com")
}
