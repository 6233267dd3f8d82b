package pushes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
)

// fake answers as the documentation of an API says: for a request such as
// "GET /v2/x?page=1", whose query is sorted, the body; a number is a status.
type fake struct {
	*httptest.Server
	answers map[string]string

	mu    sync.Mutex
	asked []string
	auth  map[string]string // by request
	body  map[string]string
}

func newFake(t *testing.T, answers map[string]string) *fake {
	t.Helper()
	f := &fake{answers: answers, auth: map[string]string{}, body: map[string]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The target of ECR's requests is a header.
	key := strings.TrimSuffix(r.Method+" "+r.RequestURI+" "+strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonEC2ContainerRegistry_V20150921."), " ")
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.asked = append(f.asked, key)
	f.auth[key], f.body[key] = r.Header.Get("Authorization"), string(body)
	f.mu.Unlock()
	answer, ok := f.answers[key]
	if !ok {
		answer = "404"
	}
	// The bytes say what it is; the type may lie.
	w.Header().Set("Content-Type", "text/html")
	if status, err := strconv.Atoi(answer); err == nil {
		w.WriteHeader(status)
		return
	}
	if strings.HasPrefix(answer, `{"__type"`) {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, answer)
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// credential finds c for every repository.
func credential(c pushes.Credential) pushes.Credentials {
	return func(context.Context, string, string) (pushes.Credential, error) { return c, nil }
}

// source makes the Source of a reference, whose API is at an address.
func source(t *testing.T, ref, api string, kind pushes.Kind, c pushes.Credential) (pushes.Source, image.Reference) {
	t.Helper()
	r, err := image.Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	config := pushes.Config{APIs: map[string]string{r.Registry(): api}, Credentials: credential(c)}
	if kind != "" {
		config.Kinds = map[string]pushes.Kind{r.Registry(): kind}
	}
	s, ok := pushes.For(r, config)
	if !ok {
		t.Fatalf("%s has no source", ref)
	}
	return s, r
}

var (
	user  = pushes.Credential{Username: "tester", Password: "hidden-password"}
	token = pushes.Credential{Token: "hidden-token"}
)

const (
	basic  = "Basic dGVzdGVyOmhpZGRlbi1wYXNzd29yZA=="
	bearer = "Bearer hidden-token"

	ecrRef    = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1.4"
	tagsPage  = "GET /api/v1/repository/shop/api/tag/?limit=100&onlyActiveTags=false&page=1&specificTag=1.4"
	harborTag = "GET /api/v2.0/projects/shop/repositories/web%252Fapi/artifacts/1.4?with_tag=true"
	harborLog = "?page=1&page_size=100&q=operation%3Dcreate%2Cresource%3Dshop%2Fweb%2Fapi%3A1.4&sort=-op_time"
)

// The answers have the shape that the documentation of each API gives; its
// address is beside the type that asks. What is read is a part of them.
func TestPushes(t *testing.T) {
	t.Parallel()
	at := moment(t, "2026-11-20T08:15:30Z")
	for _, test := range []struct {
		name, ref string
		kind      pushes.Kind
		cred      pushes.Credential
		answers   map[string]string
		auth      map[string]string // of some requests
		want      []pushes.Push
		err       string // beside the pushes
	}{
		{
			name: "docker hub, as nobody", ref: "nginx",
			answers: map[string]string{
				"GET /v2/repositories/library/nginx/tags/latest": `{"creator":7,"id":1,"name":"latest","last_updated":"2026-11-20T08:15:31.5Z","last_updater":7,
					"last_updater_username":"doijanky","repository":21171,"full_size":1,"v2":true,"tag_status":"active","tag_last_pulled":"2026-11-21T00:00:00Z",
					"tag_last_pushed":"2026-11-20T08:15:30Z","media_type":"application/vnd.oci.image.index.v1+json","digest":"` + digest1 + `",
					"images":[{"architecture":"amd64","os":"linux","digest":"` + digest2 + `","status":"active"}]}`,
			},
			want: []pushes.Push{{Repository: "docker.io/library/nginx", Tag: "latest", Digest: digest1, At: at, By: "doijanky", Source: "Docker Hub API"}},
		},
		{
			name: "docker hub, a public repository though there is a credential", ref: "acme/api:1.4", cred: user,
			answers: map[string]string{"GET /v2/repositories/acme/api/tags/1.4": `{"last_updated":"2026-11-20T08:15:30Z","digest":"` + digest1 + `"}`},
			auth:    map[string]string{"GET /v2/repositories/acme/api/tags/1.4": ""},
			want:    []pushes.Push{{Repository: "docker.io/acme/api", Tag: "1.4", Digest: digest1, At: at, Source: "Docker Hub API"}},
		},
		{
			name: "quay, with its log", ref: "quay.io/shop/api:1.4", cred: token,
			answers: map[string]string{
				tagsPage: `{"page":1,"has_additional":false,"tags":[
					{"name":"1.4","reversion":false,"start_ts":1795162530,"manifest_digest":"` + digest1 + `","is_manifest_list":false,"size":1,"last_modified":"Fri, 20 Nov 2026 08:15:30 -0000"},
					{"name":"1.4","reversion":false,"start_ts":1795000000,"end_ts":1795162530,"manifest_digest":"` + digest2 + `","is_manifest_list":false,"size":1},
					{"name":"other","start_ts":1795162540,"manifest_digest":"` + digest2 + `"}]}`,
				"GET /api/v1/repository/shop/api/logs?endtime=11%2F20%2F2026&starttime=11%2F20%2F2026": `{"start_time":"","end_time":"","next_page":"abc","logs":[
					{"kind":"pull_repo","metadata":{"repo":"api","tag":"1.4"},"ip":"10.0.0.1","datetime":"Fri, 20 Nov 2026 08:15:31 -0000","performer":{"kind":"user","name":"puller","is_robot":false}}]}`,
				"GET /api/v1/repository/shop/api/logs?endtime=11%2F20%2F2026&next_page=abc&starttime=11%2F20%2F2026": `{"logs":[
					{"kind":"push_repo","metadata":{"repo":"api","namespace":"shop","tag":"1.3","user-agent":"x"},"ip":"10.0.0.2","datetime":"Fri, 20 Nov 2026 08:15:30 -0000","performer":{"name":"other"}},
					{"kind":"push_repo","metadata":{"repo":"api","namespace":"shop","tag":"1.4","manifest_digest":"` + digest2 + `"},"ip":"10.0.0.3","datetime":"Fri, 20 Nov 2026 08:15:30 -0000","performer":{"name":"other"}},
					{"kind":"push_repo","metadata":{"repo":"api","namespace":"shop","tag":"1.4","manifest_digest":"` + digest1 + `","user-agent":"skopeo/1.16"},"ip":"10.0.0.4","datetime":"Fri, 20 Nov 2026 08:15:30 -0000","performer":{"kind":"user","name":"shop+ci","is_robot":true}}]}`,
			},
			auth: map[string]string{tagsPage: bearer},
			want: []pushes.Push{
				{Repository: "quay.io/shop/api", Tag: "1.4", Digest: digest1, At: at, By: "shop+ci", Addr: "10.0.0.4", UserAgent: "skopeo/1.16", Source: "Quay API"},
				{Repository: "quay.io/shop/api", Tag: "1.4", Digest: digest2, At: time.Unix(1795000000, 0).UTC(), Source: "Quay API"},
			},
		},
		{
			name: "quay, with a token that may not read the log", ref: "quay.example/shop/api:1.4", kind: pushes.Quay, cred: token,
			answers: map[string]string{
				tagsPage: `{"page":1,"has_additional":false,"tags":[{"name":"1.4","start_ts":1795162530,"manifest_digest":"` + digest1 + `"}]}`,
				"GET /api/v1/repository/shop/api/logs?endtime=11%2F20%2F2026&starttime=11%2F20%2F2026": "403",
			},
			want: []pushes.Push{{Repository: "quay.example/shop/api", Tag: "1.4", Digest: digest1, At: at, Source: "Quay API"}},
			err:  "refuses access (status 403); this needs an OAuth token with the scope repo:admin",
		},
		{
			name: "quay, as nobody: the log is not asked", ref: "quay.io/shop/api:1.4",
			answers: map[string]string{tagsPage: `{"page":1,"tags":[{"name":"1.4","start_ts":1795162530,"manifest_digest":"` + digest1 + `"}]}`},
			auth:    map[string]string{tagsPage: ""},
			want:    []pushes.Push{{Repository: "quay.io/shop/api", Tag: "1.4", Digest: digest1, At: at, Source: "Quay API"}},
		},
		{
			name: "harbor", ref: "harbor.example:8443/shop/web/api:1.4", kind: pushes.Harbor, cred: user,
			answers: map[string]string{
				harborTag: `{"id":9,"digest":"` + digest1 + `","push_time":"2026-11-01T00:00:00.000Z","pull_time":"0001-01-01T00:00:00.000Z","type":"IMAGE",
					"tags":[{"id":1,"name":"stable","push_time":"2026-11-02T00:00:00.000Z","immutable":false},{"id":2,"name":"1.4","push_time":"2026-11-20T08:15:30.000Z","pull_time":"2026-11-20T09:00:00.000Z","immutable":false}]}`,
				"GET /api/v2.0/projects/shop/auditlog-exts" + harborLog: `[
					{"id":2,"username":"mallory","resource":"shop/web/api:1.44","resource_type":"artifact","operation":"create","op_time":"2026-11-20T08:15:30Z"},
					{"id":2,"username":"mallory","resource":"shop/web/api:1.4","resource_type":"artifact","operation":"pull","op_time":"2026-11-20T08:15:30Z"},
					{"id":4,"username":"robot$shop+ci","resource":"shop/web/api:1.4","resource_type":"artifact","operation":"create","op_time":"2026-11-20T08:15:30.900Z"},
					{"id":3,"username":"robot$shop+ci","resource":"shop/web/api:1.4","resource_type":"tag","operation":"create","op_time":"2026-11-20T08:15:30.100Z"},
					{"id":1,"username":"alice","resource":"shop/web/api:1.4","resource_type":"artifact","operation":"create","op_time":"2026-11-01T00:00:00Z"}]`,
			},
			auth: map[string]string{harborTag: basic, "GET /api/v2.0/projects/shop/auditlog-exts" + harborLog: basic},
			want: []pushes.Push{
				{Repository: "harbor.example:8443/shop/web/api", Tag: "1.4", Digest: digest1, At: at, By: "robot$shop+ci", Source: "Harbor API"},
				{Repository: "harbor.example:8443/shop/web/api", Tag: "1.4", At: moment(t, "2026-11-01T00:00:00Z"), By: "alice", Source: "Harbor audit log"},
			},
		},
		{
			name: "harbor before 2.13, whose log is elsewhere and not for everybody", ref: "harbor.example/shop/web/api:1.4", kind: pushes.Harbor, cred: user,
			answers: map[string]string{
				harborTag:                              `{"digest":"` + digest1 + `","push_time":"2026-11-20T08:15:30.000Z","tags":null}`,
				"GET /api/v2.0/audit-logs" + harborLog: "403",
			},
			want: []pushes.Push{{Repository: "harbor.example/shop/web/api", Tag: "1.4", Digest: digest1, At: at, OfDigest: true, Source: "Harbor API"}},
			err:  "this needs a user that may read the audit log",
		},
		{
			name: "github, of an organisation", ref: "ghcr.io/octo/tools/api:1.4", cred: token,
			answers: map[string]string{
				"GET /orgs/octo/packages/container/tools%2Fapi/versions?page=1&per_page=100": page100(`{"id":1,"name":"` + digest2 + `","metadata":{"package_type":"container","container":{"tags":["1.5"]}}}`),
				"GET /orgs/octo/packages/container/tools%2Fapi/versions?page=2&per_page=100": `[{"id":2,"name":"` + digest1 + `","url":"","created_at":"2026-11-20T08:15:30Z","updated_at":"2026-11-22T00:00:00Z",
					"metadata":{"package_type":"container","container":{"tags":["1","1.4"]}}}]`,
			},
			auth: map[string]string{"GET /orgs/octo/packages/container/tools%2Fapi/versions?page=2&per_page=100": bearer},
			want: []pushes.Push{{Repository: "ghcr.io/octo/tools/api", Tag: "1.4", Digest: digest1, At: at, OfDigest: true, Source: "GitHub packages API"}},
		},
		{
			name: "github, of a user, by digest", ref: "ghcr.io/alice/api@" + digest1, cred: user,
			answers: map[string]string{
				"GET /users/alice/packages/container/api/versions?page=1&per_page=100": `[{"name":"` + digest1 + `","created_at":"2026-11-20T08:15:30Z","metadata":{"container":{"tags":[]}}}]`,
			},
			want: []pushes.Push{{Repository: "ghcr.io/alice/api", Digest: digest1, At: at, Source: "GitHub packages API"}},
		},
		{
			name: "gitlab, which may mean the image's own time", ref: "registry.gitlab.com/group/sub/app/web:1.4", cred: token,
			answers: map[string]string{
				"GET /api/v4/projects/group%2Fsub%2Fapp/registry/repositories?page=1&per_page=100": `[
					{"id":1,"name":"","path":"group/sub/app","project_id":9},{"id":2,"name":"web","path":"group/sub/app/web","project_id":9,"location":"registry.gitlab.com/group/sub/app/web"}]`,
				"GET /api/v4/projects/group%2Fsub%2Fapp/registry/repositories/2/tags/1.4": `{"name":"1.4","path":"group/sub/app/web:1.4","location":"","revision":"","short_revision":"",
					"digest":"` + digest1 + `","created_at":"2026-11-20T09:15:30.000+01:00","total_size":1}`,
			},
			auth: map[string]string{"GET /api/v4/projects/group%2Fsub%2Fapp/registry/repositories/2/tags/1.4": bearer},
			want: []pushes.Push{{
				Repository: "registry.gitlab.com/group/sub/app/web", Tag: "1.4", Digest: digest1, At: at,
				Source: "GitLab API (created_at, which can be the image's own)", Trust: pushes.Claimed,
			}},
		},
		{
			name: "gitlab, which says when it was pushed", ref: "registry.example:5050/group/app:1.4", kind: pushes.GitLab, cred: token,
			answers: map[string]string{
				"GET /api/v4/projects/group%2Fapp/registry/repositories?page=1&per_page=100": `[{"id":1,"path":"group/app"}]`,
				"GET /api/v4/projects/group%2Fapp/registry/repositories/1/tags/1.4":          `{"digest":"` + digest1 + `","created_at":"1970-01-01T00:00:00Z","published_at":"2026-11-20T08:15:30Z"}`,
			},
			want: []pushes.Push{{Repository: "registry.example:5050/group/app", Tag: "1.4", Digest: digest1, At: at, Source: "GitLab API"}},
		},
		{
			name: "ecr", ref: ecrRef, cred: pushes.Credential{Username: "AKIATEST", Password: "hidden-password", Token: "hidden-token"},
			answers: map[string]string{
				"POST / DescribeImages": `{"imageDetails":[{"registryId":"123456789012","repositoryName":"team/app","imageDigest":"` + digest1 + `","imageTags":["1","1.4"],
					"imageSizeInBytes":1,"imagePushedAt":1.79516253E9,"lastRecordedPullTime":1.7951626E9}]}`,
			},
			want: []pushes.Push{{Repository: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app", Tag: "1.4", Digest: digest1, At: at, OfDigest: true, Source: "ECR API"}},
		},
		{
			name: "google", ref: "europe-docker.pkg.dev/shop-prod/images/web/api:1.4", cred: token,
			answers: map[string]string{
				"GET /v1/projects/shop-prod/locations/europe/repositories/images/packages/web%2Fapi/tags/1.4": `{"name":"projects/shop-prod/locations/europe/repositories/images/packages/web%2Fapi/tags/1.4",
					"version":"projects/shop-prod/locations/europe/repositories/images/packages/web%2Fapi/versions/` + digest1 + `"}`,
				"GET /v1/projects/shop-prod/locations/europe/repositories/images/dockerImages/web%2Fapi@" + digest1: `{"name":"","uri":"","tags":["1.4"],"imageSizeBytes":"1",
					"uploadTime":"2026-11-20T08:15:30Z","mediaType":"","updateTime":"2026-11-21T00:00:00Z"}`,
			},
			auth: map[string]string{"GET /v1/projects/shop-prod/locations/europe/repositories/images/packages/web%2Fapi/tags/1.4": bearer},
			want: []pushes.Push{{Repository: "europe-docker.pkg.dev/shop-prod/images/web/api", Tag: "1.4", Digest: digest1, At: at, OfDigest: true, Source: "Artifact Registry API"}},
		},
		{
			name: "google, by the old name, of a domain", ref: "eu.gcr.io/example.com/shop/api@" + digest1, cred: token,
			answers: map[string]string{
				"GET /v1/projects/example.com:shop/locations/europe/repositories/eu.gcr.io/dockerImages/api@" + digest1: `{"uploadTime":"2026-11-20T08:15:30Z"}`,
			},
			want: []pushes.Push{{Repository: "eu.gcr.io/example.com/shop/api", Digest: digest1, At: at, Source: "Artifact Registry API"}},
		},
		{
			name: "azure, with a password", ref: "shop.azurecr.io/team/app:1.4", cred: user,
			answers: map[string]string{
				"GET /oauth2/token?scope=repository%3Ateam%2Fapp%3Ametadata_read&service=shop.azurecr.io": `{"access_token":"hidden-token"}`,
				"GET /acr/v1/team/app/_tags/1.4": `{"registry":"shop.azurecr.io","imageName":"team/app","tag":{"name":"1.4","digest":"` + digest1 + `",
					"createdTime":"2026-10-01T00:00:00.1234567Z","lastUpdateTime":"2026-11-20T08:15:30Z","signed":false,"changeableAttributes":{"deleteEnabled":true}}}`,
			},
			auth: map[string]string{
				"GET /oauth2/token?scope=repository%3Ateam%2Fapp%3Ametadata_read&service=shop.azurecr.io": basic,
				"GET /acr/v1/team/app/_tags/1.4": bearer,
			},
			want: []pushes.Push{{Repository: "shop.azurecr.io/team/app", Tag: "1.4", Digest: digest1, At: at, Source: "Azure Container Registry API"}},
		},
		{
			name: "azure, with a refresh token", ref: "shop.azurecr.io/app:1.4", cred: pushes.Credential{Username: "00000000-0000-0000-0000-000000000000", Password: "hidden-password"},
			answers: map[string]string{
				"POST /oauth2/token":        `{"access_token":"hidden-token"}`,
				"GET /acr/v1/app/_tags/1.4": `{"tag":{"name":"1.4","digest":"` + digest1 + `","lastUpdateTime":"2026-11-20T08:15:30Z"}}`,
			},
			auth: map[string]string{"GET /acr/v1/app/_tags/1.4": bearer},
			want: []pushes.Push{{Repository: "shop.azurecr.io/app", Tag: "1.4", Digest: digest1, At: at, Source: "Azure Container Registry API"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, test.answers)
			s, ref := source(t, test.ref, f.URL, test.kind, test.cred)
			got, err := s.Pushes(t.Context(), ref)
			checkError(t, err, test.err)
			for i := range test.want {
				if test.want[i].Confirmed = true; !strings.HasPrefix(test.want[i].Source, "GitLab API (") {
					test.want[i].Trust = pushes.Recorded
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("pushes (-want +got):\n%s\nasked %q", diff, f.requests())
			}
			for request, want := range test.auth {
				if got := f.auth[request]; got != want {
					t.Errorf("%s was asked with %q, want %q", request, got, want)
				}
			}
		})
	}
}

// page100 is a full page of one thing.
func page100(thing string) string {
	return "[" + strings.Repeat(thing+",", 99) + thing + "]"
}

// checkError wants an error with a text, of one line and without secrets.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("error: %v", err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want one with %q", err, want)
	}
	if _, ok := errors.AsType[*pushes.Error](err); !ok {
		t.Errorf("%T is not an *Error", err)
	}
	if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "hidden") || strings.Contains(text, "\n") {
		t.Errorf("the error tells a secret, or has more than one line: %s", text)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, ref string
		kind      pushes.Kind
		cred      pushes.Credential
		answers   map[string]string
		want      []pushes.Writer
		err       string
		is        error
	}{
		{name: "docker hub", ref: "nginx", err: "hub.docker.com does not tell", is: pushes.ErrUnsupported},
		{name: "github", ref: "ghcr.io/octo/api", cred: token, err: "does not tell", is: pushes.ErrUnsupported},
		{name: "azure", ref: "shop.azurecr.io/api", cred: token, err: "does not tell", is: pushes.ErrUnsupported},
		{name: "zot", ref: "zot.example/api", kind: pushes.Zot, err: "only by webhook", is: pushes.ErrUnsupported},
		{
			name: "quay", ref: "quay.io/shop/api", cred: token,
			answers: map[string]string{
				"GET /api/v1/repository/shop/api/permissions/user/": `{"permissions":{"bob":{"role":"read","name":"bob","is_robot":false},"shop+ci":{"role":"write","name":"shop+ci","is_robot":true},"alice":{"role":"admin","name":"alice"}}}`,
				"GET /api/v1/repository/shop/api/permissions/team/": `{"permissions":{"owners":{"role":"admin","name":"owners"}}}`,
			},
			want: []pushes.Writer{{Name: "alice", Role: "admin", Source: "Quay API"}, {Name: "owners", Role: "admin (team)", Source: "Quay API"}, {Name: "shop+ci", Role: "write (robot)", Source: "Quay API"}},
		},
		{
			name: "quay, where teams may not be read", ref: "quay.io/shop/api", cred: token,
			answers: map[string]string{
				"GET /api/v1/repository/shop/api/permissions/user/": `{"permissions":{"alice":{"role":"admin"}}}`,
				"GET /api/v1/repository/shop/api/permissions/team/": "401",
			},
			want: []pushes.Writer{{Name: "alice", Role: "admin", Source: "Quay API"}},
			err:  "writers of quay.io/shop/api: 127.0.0.1", is: pushes.ErrUnauthorized,
		},
		{
			name: "harbor", ref: "harbor.example/shop/api", kind: pushes.Harbor, cred: user,
			answers: map[string]string{
				"GET /api/v2.0/projects/shop/members?page=1&page_size=100": `[{"id":1,"project_id":7,"entity_name":"alice","role_name":"projectAdmin","role_id":1,"entity_id":3,"entity_type":"u"},
					{"entity_name":"bob","role_name":"developer"},{"entity_name":"carol","role_name":"guest"}]`,
				"GET /api/v2.0/projects/shop": `{"project_id":7,"name":"shop"}`,
				"GET /api/v2.0/robots?page=1&page_size=100&q=Level%3Dproject%2CProjectID%3D7": `[
					{"id":1,"name":"robot$shop+ci","level":"project","disable":false,"permissions":[{"kind":"project","namespace":"shop","access":[{"resource":"repository","action":"pull"},{"resource":"repository","action":"push"}]}]},
					{"id":2,"name":"robot$shop+reader","disable":false,"permissions":[{"access":[{"resource":"repository","action":"pull"},{"resource":"artifact","action":"push"}]}]},
					{"id":3,"name":"robot$shop+old","disable":true,"permissions":[{"access":[{"resource":"repository","action":"push"}]}]}]`,
			},
			want: []pushes.Writer{{Name: "alice", Role: "projectAdmin", Source: "Harbor API"}, {Name: "bob", Role: "developer", Source: "Harbor API"}, {Name: "robot$shop+ci", Role: "robot", Source: "Harbor API"}},
		},
		{
			name: "harbor, where robots may not be read", ref: "harbor.example/shop/api", kind: pushes.Harbor, cred: user,
			answers: map[string]string{
				"GET /api/v2.0/projects/shop/members?page=1&page_size=100": `[{"entity_name":"alice","role_name":"maintainer"}]`,
				"GET /api/v2.0/projects/shop":                              "403",
			},
			want: []pushes.Writer{{Name: "alice", Role: "maintainer", Source: "Harbor API"}},
			err:  "members and robots", is: pushes.ErrUnauthorized,
		},
		{
			name: "gitlab", ref: "registry.gitlab.com/group/app/web", cred: token,
			answers: map[string]string{
				"GET /api/v4/projects/group%2Fapp/registry/repositories?page=1&per_page=100": `[{"id":2,"path":"group/app/web"}]`,
				"GET /api/v4/projects/group%2Fapp/members/all?page=1&per_page=100": `[{"id":1,"username":"alice","state":"active","access_level":50},{"username":"bob","state":"active","access_level":30},
					{"username":"carol","state":"active","access_level":20},{"username":"dave","state":"blocked","access_level":40},{"username":"erin","state":"active","access_level":35}]`,
			},
			want: []pushes.Writer{{Name: "alice", Role: "Owner", Source: "GitLab API"}, {Name: "bob", Role: "Developer", Source: "GitLab API"}, {Name: "erin", Role: "access level 35", Source: "GitLab API"}},
		},
		{
			name: "ecr", ref: ecrRef, cred: user,
			answers: map[string]string{
				"POST / GetRepositoryPolicy": `{"registryId":"123456789012","repositoryName":"team/app","policyText":"{\"Version\":\"2012-10-17\",\"Statement\":[
					{\"Sid\":\"a\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam::1:role/ci\",\"arn:aws:iam::2:root\"]},\"Action\":[\"ecr:BatchGetImage\",\"ecr:PutImage\"]},
					{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"ecr:*\",\"Condition\":{\"StringEquals\":{\"aws:PrincipalOrgID\":\"o-1\"}}},
					{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"codebuild.amazonaws.com\"},\"NotAction\":\"ecr:Delete*\"},
					{\"Effect\":\"Deny\",\"Principal\":{\"AWS\":\"arn:aws:iam::3:root\"},\"Action\":\"ecr:PutImage\"},
					{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::4:root\"},\"Action\":\"ecr:Get*\"}]}"}`,
			},
			want: []pushes.Writer{
				{Name: "*", Role: "ecr:PutImage, on a condition", Source: "ECR API"},
				{Name: "arn:aws:iam::1:role/ci", Role: "ecr:PutImage", Source: "ECR API"},
				{Name: "arn:aws:iam::2:root", Role: "ecr:PutImage", Source: "ECR API"},
				{Name: "codebuild.amazonaws.com", Role: "ecr:PutImage", Source: "ECR API"},
			},
		},
		{
			name: "ecr without a policy", ref: ecrRef, cred: user,
			answers: map[string]string{"POST / GetRepositoryPolicy": `{"__type":"RepositoryPolicyNotFoundException","message":"none"}`},
			err:     "IAM decides", is: pushes.ErrUnsupported,
		},
		{
			name: "google", ref: "gcr.io/shop/api", cred: token,
			answers: map[string]string{
				"GET /v1/projects/shop/locations/us/repositories/gcr.io:getIamPolicy": `{"version":1,"etag":"x","bindings":[
					{"role":"roles/artifactregistry.writer","members":["serviceAccount:ci@shop.iam.gserviceaccount.com","user:alice@example.com"]},
					{"role":"roles/artifactregistry.reader","members":["allUsers"]},
					{"role":"roles/artifactregistry.repoAdmin","members":["group:ops@example.com"],"condition":{"title":"till May","expression":"request.time < x"}}]}`,
			},
			want: []pushes.Writer{
				{Name: "group:ops@example.com", Role: "roles/artifactregistry.repoAdmin, on a condition", Source: "Artifact Registry API"},
				{Name: "serviceAccount:ci@shop.iam.gserviceaccount.com", Role: "roles/artifactregistry.writer", Source: "Artifact Registry API"},
				{Name: "user:alice@example.com", Role: "roles/artifactregistry.writer", Source: "Artifact Registry API"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The documentation wraps what JSON does not.
			for request, answer := range test.answers {
				test.answers[request] = strings.ReplaceAll(answer, "\n\t\t\t\t\t", " ")
			}
			f := newFake(t, test.answers)
			api := f.URL
			if len(test.answers) == 0 {
				api = ""
			}
			s, ref := source(t, test.ref, api, test.kind, test.cred)
			got, err := s.Writers(t.Context(), ref)
			checkError(t, err, test.err)
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("writers (-want +got):\n%s\nasked %q", diff, f.requests())
			}
		})
	}
}

// A private repository of Docker Hub is not found by whoever is not logged in.
func TestDockerHubLogsIn(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/auth/token":
			body, _ := io.ReadAll(r.Body)
			if r.Method == http.MethodPost && string(body) == `{"identifier":"tester","secret":"hidden-password"}` && r.Header.Get("Content-Type") == "application/json" {
				_, _ = io.WriteString(w, `{"access_token":"jwt"}`)
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
		default:
			if r.Header.Get("Authorization") != "Bearer jwt" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(w, `{"tag_last_pushed":"2026-11-20T08:15:30Z","last_updater_username":"alice","digest":"`+digest1+`"}`)
		}
	})
	s, ref := source(t, "acme/private:1.4", f.URL, "", user)
	got, err := s.Pushes(t.Context(), ref)
	if err != nil || len(got) != 1 || got[0].By != "alice" {
		t.Errorf("got %v, %v", got, err)
	}
	s, ref = source(t, "acme/private:1.4", f.URL, "", pushes.Credential{Username: "tester", Password: "hidden-wrong"})
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "refuses access (status 401); this needs a Docker Hub user with a personal access token")
	s, ref = source(t, "acme/private:1.4", f.URL, "", pushes.Credential{})
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "has no such thing (status 404); check the name; if it is not public, this needs")
}

// An answer about something else is not taken for one.
func TestAnswerAboutAnother(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ref     string
		cred    pushes.Credential
		answers map[string]string
		want    string
	}{
		{"shop.azurecr.io/app:1.4", pushes.Credential{Token: "hidden-refresh"}, map[string]string{
			"POST /oauth2/token":        `{"access_token":"hidden-token"}`,
			"GET /acr/v1/app/_tags/1.4": `{"tag":{"name":"1.5","digest":"` + digest1 + `","lastUpdateTime":"2026-11-20T08:15:30Z"}}`,
		}, "it is about another tag"},
		{ecrRef, user, map[string]string{"POST / DescribeImages": `{"imageDetails":[{"imageDigest":"` + digest1 + `","imageTags":["1.5"]}]}`}, "none of its images has this tag"},
		{"us-docker.pkg.dev/p/r/i:1.4", token, map[string]string{
			"GET /v1/projects/p/locations/us/repositories/r/packages/i/tags/1.4": `{"version":"projects/p/versions/../../evil"}`,
		}, "the tag's version is no digest"},
		{"quay.io/shop/api:1.4", token, map[string]string{tagsPage: `{"tags":[{"name":"1.5","start_ts":1795162530,"manifest_digest":"` + digest1 + `"}]}`}, "it has never had this tag"},
		{"ghcr.io/octo/api:1.4", token, map[string]string{
			"GET /orgs/octo/packages/container/api/versions?page=1&per_page=100":  `[{"name":"` + digest1 + `","metadata":{"container":{"tags":["1.5"]}}}]`,
			"GET /users/octo/packages/container/api/versions?page=1&per_page=100": `[]`,
		}, "none of its versions has this tag"},
		{"registry.gitlab.com/group/app:1.4", token, map[string]string{
			"GET /api/v4/projects/group%2Fapp/registry/repositories?page=1&per_page=100": `[{"id":1,"path":"group/app/other"}]`,
		}, "no project has this repository"},
	} {
		f := newFake(t, test.answers)
		s, ref := source(t, test.ref, f.URL, "", test.cred)
		got, err := s.Pushes(t.Context(), ref)
		if checkError(t, err, test.want); len(got) != 0 {
			t.Errorf("%s: got %v", test.ref, got)
		}
	}
}

// What has no answer is said before anybody is asked.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	for _, ref := range []string{"nginx@" + digest1, "quay.io/a/b@" + digest1, "registry.gitlab.com/a/b@" + digest1, "a.azurecr.io/b@" + digest1, "ghcr.io/a", "gcr.io/a"} {
		f := newFake(t, nil)
		s, r := source(t, ref, f.URL, "", token)
		_, err := s.Pushes(t.Context(), r)
		checkError(t, err, "does not tell (")
		if !errors.Is(err, pushes.ErrUnsupported) || len(f.requests()) != 0 {
			t.Errorf("%s: %v after %q", ref, err, f.requests())
		}
	}
}

// What is asked of Amazon is signed for the region, and never sent without a
// key: the password of docker login is none.
func TestECRSigns(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]string{"POST / DescribeImages": `{"imageDetails":[]}`})
	ref, err := image.Parse(ecrRef)
	if err != nil {
		t.Fatal(err)
	}
	config := pushes.Config{APIs: map[string]string{ref.Registry(): f.URL}, Credentials: credential(pushes.Credential{Username: "AWS", Password: "hidden-password"})}
	s, _ := pushes.For(ref, config)
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "no access key; the password of docker login is none); this needs an AWS access key")
	if asked := f.requests(); len(asked) != 0 {
		t.Errorf("asked without a key: %q", asked)
	}
	config.Env = func(name string) string {
		return map[string]string{"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "hidden-secret", "AWS_SESSION_TOKEN": "hidden-session"}[name]
	}
	s, _ = pushes.For(ref, config)
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "none of its images has this tag")
	auth := f.auth["POST / DescribeImages"]
	if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=AKIATEST/") || !strings.Contains(auth, "/eu-west-1/ecr/aws4_request") ||
		!strings.Contains(auth, "x-amz-target") || !strings.Contains(auth, "x-amz-security-token") {
		t.Errorf("signed %q", auth)
	}
	if want := `{"imageIds":[{"imageTag":"1.4"}],"registryId":"123456789012","repositoryName":"team/app"}`; f.body["POST / DescribeImages"] != want {
		t.Errorf("asked %s, want %s", f.body["POST / DescribeImages"], want)
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	kinds := map[string]pushes.Kind{"harbor.example": pushes.Harbor, "odd.example": "odd", "aws.example": pushes.ECR, "zot.example": pushes.Zot, "quay.io": pushes.Harbor}
	for _, test := range []struct {
		ref  string
		apis map[string]string
		want string // the type, or "" for none
	}{
		{ref: "nginx", want: "*pushes.dockerHub"},
		{ref: "ghcr.io/a/b", want: "*pushes.github"},
		{ref: "quay.io/a/b", want: "*pushes.harbor"}, // as it was said
		{ref: "registry.gitlab.com/a/b", want: "*pushes.gitlab"},
		{ref: "a.azurecr.io/b", want: "*pushes.azure"},
		{ref: "us-central1-docker.pkg.dev/a/b/c", want: "*pushes.google"},
		{ref: "gcr.io/a/b", want: "*pushes.google"},
		{ref: "asia.gcr.io/a/b", want: "*pushes.google"},
		{ref: ecrRef, want: "*pushes.ecr"},
		{ref: "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/a", want: "*pushes.ecr"},
		{ref: "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a", want: "*pushes.ecr"},
		{ref: "harbor.example/a/b", want: "*pushes.harbor"},
		{ref: "zot.example/a/b", want: "pushes.noSource"},
		{ref: "aws.example/a/b", want: "pushes.noSource"},
		{ref: "harbor.example/a/b", apis: map[string]string{"harbor.example": "ftp://x"}, want: "pushes.noSource"},
		{ref: "harbor.example/a/b", apis: map[string]string{"harbor.example": "https://user:hidden@x"}, want: "pushes.noSource"},
		{ref: "harbor.example/a/b", apis: map[string]string{"harbor.example": "https://x/?hidden"}, want: "pushes.noSource"},
		{ref: "odd.example/a/b"},
		{ref: "registry.example/a/b"},
		{ref: "evil.example/docker.io/a"},
		{ref: "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example/a"},
		{ref: "1234.dkr.ecr.eu-west-1.amazonaws.com/a"},
		{ref: "gcr.io.evil.example/a/b"},
		{ref: "localhost:5000/a"},
	} {
		ref, err := image.Parse(test.ref)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := pushes.For(ref, pushes.Config{Kinds: kinds, APIs: test.apis})
		got := ""
		if ok {
			got = fmt.Sprintf("%T", s)
		}
		if got != test.want || ok != (s != nil) {
			t.Errorf("%s %v: %s, want %s", test.ref, test.apis, got, test.want)
		}
		if got == "pushes.noSource" {
			_, err := s.Pushes(t.Context(), ref)
			checkError(t, err, "pushes of "+ref.String()+": ")
			if !errors.Is(err, pushes.ErrUnsupported) {
				t.Errorf("%s: %v", test.ref, err)
			}
		}
	}
}
