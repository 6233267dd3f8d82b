package pushes

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tagwarden/tagwarden/image"
)

// azure asks Azure's registry:
// https://learn.microsoft.com/rest/api/containerregistry/tag/get-attributes.
type azure struct{ *api }

const (
	azureNeeds = "a user with a password, or a refresh token of the registry, that is allowed metadata/read of the repository"
	// azureTokenUser is the user of a refresh token where docker login keeps
	// one ("az acr login --expose-token").
	azureTokenUser = "00000000-0000-0000-0000-000000000000"
)

// Pushes gives the last push of the tag. Azure does not say who made it: that
// is in the registry's diagnostic log (ContainerRegistryRepositoryEvents).
func (z *azure) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	tag := tagOf(ref)
	if tag == "" {
		return nil, z.unsupported("pushes of "+ref.String(), "it cannot be asked by a digest; name a tag")
	}
	ctx, cancel, q, err := z.ask(ctx, "pushes of", ref, azureNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if err := z.login(ctx, q); err != nil {
		return nil, err
	}
	var answer struct {
		Tag struct {
			Name           string `json:"name"`
			Digest         string `json:"digest"`
			CreatedTime    string `json:"createdTime"`
			LastUpdateTime string `json:"lastUpdateTime"`
		} `json:"tag"`
	}
	if _, err := q.get(ctx, "/acr/v1/"+segments(ref.Repository())+"/_tags/"+url.PathEscape(tag), nil, &answer); err != nil {
		return nil, err
	}
	if answer.Tag.Name != tag {
		return nil, q.fail(ErrAnswer, "it is about another tag")
	}
	return []Push{{
		Repository: ref.Name(), Tag: tag, Digest: digestOf(answer.Tag.Digest), At: rfc3339(answer.Tag.LastUpdateTime),
		Source: "Azure Container Registry API", Trust: Recorded, Confirmed: true,
	}}, nil
}

// login changes the credential for an access token, as nobody may read tags
// without one but where pulling is public:
// https://learn.microsoft.com/rest/api/containerregistry/access-tokens.
func (z *azure) login(ctx context.Context, q *question) error {
	scope := "repository:" + q.repository + ":metadata_read"
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	refresh := q.cred.Token
	if refresh == "" && q.cred.Username == azureTokenUser {
		refresh = q.cred.Password
	}
	var err error
	switch {
	case refresh != "":
		form := url.Values{"grant_type": {"refresh_token"}, "service": {z.registry}, "scope": {scope}, "refresh_token": {refresh}}
		q.header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, err = q.do(ctx, http.MethodPost, "/oauth2/token", nil, []byte(form.Encode()), &answer)
		q.header.Del("Content-Type")
	default:
		// Without a user, it gives a token for what is public.
		q.basic()
		_, err = q.get(ctx, "/oauth2/token", url.Values{"service": {z.registry}, "scope": {scope}}, &answer)
	}
	if err != nil {
		return err
	}
	q.header.Set("Authorization", "Bearer "+answer.AccessToken)
	return nil
}

// Writers is not supported: who may push is in the role assignments of the
// subscription and in the tokens of the registry, behind another API.
func (z *azure) Writers(_ context.Context, ref image.Reference) ([]Writer, error) {
	return nil, z.unsupported("writers of "+ref.Name(), "look at the registry's role assignments (AcrPush) and tokens")
}
