package pushes

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	googleauth "golang.org/x/oauth2/google"

	"github.com/tagwarden/tagwarden/image"
)

// google asks Google's Artifact Registry:
// https://docs.cloud.google.com/artifact-registry/docs/reference/rest.
type google struct{ *api }

const (
	googleNeeds       = "an OAuth token that is allowed artifactregistry.dockerimages.get and artifactregistry.tags.get (roles/artifactregistry.reader)"
	googlePolicyNeeds = "an OAuth token that is allowed artifactregistry.repositories.getIamPolicy (roles/artifactregistry.admin)"
	googleScope       = "https://www.googleapis.com/auth/cloud-platform.read-only"
)

// gcrLocations are where the repositories behind the old hosts are:
// https://docs.cloud.google.com/artifact-registry/docs/transition/gcr-repositories.
var gcrLocations = map[string]string{"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}

// place is where a repository is in Artifact Registry.
type place struct {
	repository string // projects/P/locations/L/repositories/R, escaped
	image      string // the rest of the path
}

// find reads the place out of a reference: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE
// or gcr.io/PROJECT/IMAGE. The project of a domain has two parts there:
// example.com/project for example.com:project.
func (g *google) find(ref image.Reference) (p place, ok bool) {
	project, rest, _ := strings.Cut(ref.Repository(), "/")
	if strings.Contains(project, ".") {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		project += ":" + name
	}
	location, old := gcrLocations[ref.Registry()]
	repository := ref.Registry()
	if !old {
		if location, ok = strings.CutSuffix(ref.Registry(), "-docker.pkg.dev"); !ok {
			return place{}, false
		}
		repository, rest, _ = strings.Cut(rest, "/")
	}
	return place{
		repository: "projects/" + url.PathEscape(project) + "/locations/" + url.PathEscape(location) +
			"/repositories/" + url.PathEscape(repository),
		image: rest,
	}, project != "" && repository != "" && rest != ""
}

// Pushes gives the image that the tag is on. Google has the image's time and
// not the tag's, and does not say who pushed: that is in the project's audit
// log, where data writes are logged.
func (g *google) Pushes(ctx context.Context, ref image.Reference) ([]Push, error) {
	p, ok := g.find(ref)
	if !ok {
		return nil, g.unsupported("pushes of "+ref.String(), "its name is not PROJECT/REPOSITORY/IMAGE")
	}
	ctx, cancel, q, err := g.ask(ctx, "pushes of", ref, googleNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if err := g.login(ctx, q); err != nil {
		return nil, err
	}
	digest, tag := string(ref.Digest()), tagOf(ref)
	if tag != "" {
		var t struct {
			Version string `json:"version"`
		}
		path := "/v1/" + p.repository + "/packages/" + url.PathEscape(p.image) + "/tags/" + url.PathEscape(tag)
		if _, err := q.get(ctx, path, nil, &t); err != nil {
			return nil, err
		}
		if digest = t.Version[strings.LastIndexByte(t.Version, '/')+1:]; digestOf(digest) == "" {
			return nil, q.fail(ErrAnswer, "the tag's version is no digest")
		}
	}
	var i struct {
		UploadTime string `json:"uploadTime"`
	}
	if _, err := q.get(ctx, "/v1/"+p.repository+"/dockerImages/"+url.PathEscape(p.image+"@"+digest), nil, &i); err != nil {
		return nil, err
	}
	return []Push{{
		Repository: ref.Name(), Tag: tag, Digest: digestOf(digest), At: rfc3339(i.UploadTime),
		OfDigest: tag != "", Source: "Artifact Registry API", Trust: Recorded, Confirmed: true,
	}}, nil
}

// login takes the token of the credential, or Google's default credentials if
// the environment may be asked. A service account's key is no token.
func (g *google) login(ctx context.Context, q *question) error {
	if q.cred.bearer() != "" && !strings.HasPrefix(q.cred.Username, "_json_key") {
		q.bearer()
		return nil
	}
	if g.config.Env == nil {
		return q.fail(ErrUnauthorized, "no OAuth token")
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: g.config.Transport, CheckRedirect: stay, Timeout: requestTimeout})
	c, err := googleauth.FindDefaultCredentials(ctx, googleScope)
	if err != nil {
		return q.fail(ErrUnauthorized, "no OAuth token, and no application default credentials")
	}
	t, err := c.TokenSource.Token()
	if err != nil {
		return q.fail(ErrUnauthorized, "the application default credentials gave no token")
	}
	q.header.Set("Authorization", "Bearer "+t.AccessToken)
	return nil
}

// googleRoles are the roles that may push:
// https://docs.cloud.google.com/artifact-registry/docs/access-control.
var googleRoles = map[string]bool{
	"roles/artifactregistry.writer":                true,
	"roles/artifactregistry.repoAdmin":             true,
	"roles/artifactregistry.admin":                 true,
	"roles/artifactregistry.createOnPushWriter":    true,
	"roles/artifactregistry.createOnPushRepoAdmin": true,
	"roles/editor": true,
	"roles/owner":  true,
}

// Writers gives whom the policy of the repository lets push. The policies of
// the project and of what is above it can let more, and so can roles that
// somebody made; those are not asked.
func (g *google) Writers(ctx context.Context, ref image.Reference) ([]Writer, error) {
	p, ok := g.find(ref)
	if !ok {
		return nil, g.unsupported("writers of "+ref.Name(), "its name is not PROJECT/REPOSITORY/IMAGE")
	}
	ctx, cancel, q, err := g.ask(ctx, "writers of", ref, googlePolicyNeeds)
	defer cancel()
	if err != nil {
		return nil, err
	}
	if err := g.login(ctx, q); err != nil {
		return nil, err
	}
	var policy struct {
		Bindings []struct {
			Role      string    `json:"role"`
			Members   []string  `json:"members"`
			Condition *struct{} `json:"condition"`
		} `json:"bindings"`
	}
	if _, err := q.get(ctx, "/v1/"+p.repository+":getIamPolicy", nil, &policy); err != nil {
		return nil, err
	}
	var writers []Writer
	for _, b := range policy.Bindings {
		if !googleRoles[b.Role] {
			continue
		}
		role := b.Role
		if b.Condition != nil {
			role += ", on a condition"
		}
		for _, m := range b.Members {
			writers = append(writers, Writer{Name: m, Role: role, Source: "Artifact Registry API"})
		}
	}
	return byName(writers), nil
}
