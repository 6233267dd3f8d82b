package pushes_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/pushes"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	ref, err := image.Parse("nginx:1.25")
	if err != nil {
		t.Fatal(err)
	}
	claim := func(at time.Time, by, source string) pushes.Push {
		return pushes.Push{Repository: "docker.io/library/nginx", Tag: "1.25", Digest: digest1, At: at, By: by, Source: source, Trust: pushes.Claimed}
	}
	at := moment(t, "2026-11-20T08:15:30Z")
	for _, test := range []struct {
		name, config string
		want         []pushes.Push
		err          bool
	}{
		{name: "a config", config: `{"created":"2026-11-20T08:15:30Z","author":"Alice","architecture":"amd64","os":"linux"}`, want: []pushes.Push{claim(at, "Alice", "image config")}},
		{name: "labels that say the same", config: `{"created":"2026-11-20T08:15:30Z","config":{"Labels":{"org.opencontainers.image.created":"2026-11-20T09:15:30+01:00"}}}`, want: []pushes.Push{claim(at, "", "image config")}},
		{name: "labels that say something else", config: `{"created":"1970-01-01T00:00:00Z","config":{"Labels":{"org.opencontainers.image.created":"2026-11-20T08:15:30Z","org.opencontainers.image.authors":"team\u001b[0m"}}}`, want: []pushes.Push{
			claim(time.Unix(0, 0).UTC(), "", "image config"), claim(at, "team\ufffd[0m", "image labels"),
		}},
		{name: "nothing", config: `{"config":{"Labels":null}}`},
		{name: "no time", config: `{"created":"yesterday"}`},
		{name: "no config", config: `[]`, err: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := pushes.Claims(ref, digest1, []byte(test.config))
			if (err != nil) != test.err {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

// What is kept as JSON comes back the same, and says what it is worth in words.
func TestPushJSON(t *testing.T) {
	t.Parallel()
	ref, err := image.Parse("registry.example:5000/team/app")
	if err != nil {
		t.Fatal(err)
	}
	seen := pushes.Observe(ref, digest1, moment(t, "2026-11-20T08:15:30Z"))
	data, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"repository":"registry.example:5000/team/app","tag":"latest","digest":"` + digest1 +
		`","at":"2026-11-20T08:15:30Z","source":"own observation","trust":"observed","confirmed":true}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var back pushes.Push
	if err := json.Unmarshal(data, &back); err != nil || back != seen {
		t.Errorf("came back as %+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"trust":"absolute"}`), &back); err == nil {
		t.Error("a trust that there is not was read")
	}
	if _, err := json.Marshal(pushes.Push{Trust: 9}); err == nil {
		t.Error("a trust that there is not was written")
	}
}

func TestPushString(t *testing.T) {
	t.Parallel()
	at := moment(t, "2026-11-20T08:15:30Z")
	for _, test := range []struct {
		push pushes.Push
		want string
	}{
		{pushes.Push{Repository: "quay.io/a/b", Tag: "1", At: at, By: "ci", Source: "Quay API", Trust: pushes.Recorded}, "quay.io/a/b:1 pushed 2026-11-20T08:15:30Z by ci (registry-recorded, Quay API)"},
		{pushes.Push{Repository: "quay.io/a/b", Tag: "1", Source: "Quay notification"}, "quay.io/a/b:1 pushed at an unknown time (publisher-claimed, Quay notification)"},
		{
			pushes.Push{Repository: "ghcr.io/a/b", Digest: digest1, At: at, OfDigest: true, Source: "x", Trust: pushes.Observed},
			"ghcr.io/a/b@" + digest1 + " pushed 2026-11-20T08:15:30Z (the digest; the tag may have moved to it later) (observed, x)",
		},
	} {
		if got := test.push.String(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// Google's default credentials are used where the environment may be asked, and
// only there. Not parallel: Google's library reads the real environment.
func TestGoogleDefaultCredentials(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"hidden-token","token_type":"Bearer","expires_in":3600}`)
		case r.Header.Get("Authorization") != bearer:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, `{"uploadTime":"2026-11-20T08:15:30Z"}`)
		}
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "key.json")
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "ci@shop.iam.gserviceaccount.com", "token_uri": server.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	ref, err := image.Parse("us-docker.pkg.dev/p/r/i@" + digest1)
	if err != nil {
		t.Fatal(err)
	}
	config := pushes.Config{APIs: map[string]string{"us-docker.pkg.dev": server.URL}}
	s, _ := pushes.For(ref, config)
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "no OAuth token")
	config.Env = os.Getenv
	s, _ = pushes.For(ref, config)
	if got, err := s.Pushes(t.Context(), ref); err != nil || len(got) != 1 || !got[0].At.Equal(moment(t, "2026-11-20T08:15:30Z")) {
		t.Errorf("got %v, %v", got, err)
	}
	// The key of docker login for a service account is no token.
	config.Env, config.Credentials = nil, credential(pushes.Credential{Username: "_json_key", Password: string(account)})
	s, _ = pushes.For(ref, config)
	_, err = s.Pushes(t.Context(), ref)
	checkError(t, err, "no OAuth token")
}

// saying is a transport that answers everything with one body.
type saying []byte

func (s saying) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(s))}, nil
}

// FuzzAnswers gives every API an answer of the attacker's.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"tag_last_pushed":"2026-11-20T08:15:30Z","digest":"` + digest1 + `","last_updater_username":"a"}`,
		`[{"name":"` + digest1 + `","created_at":"2026-11-20T08:15:30Z","metadata":{"container":{"tags":["1.4"]}},"path":"group/app","id":1,"entity_name":"a","role_name":"developer","username":"a","access_level":50}]`,
		`{"tags":[{"name":"1.4","start_ts":1795162530,"manifest_digest":"` + digest1 + `"}],"logs":[{"kind":"push_repo","datetime":"Fri, 20 Nov 2026 08:15:30 -0000","metadata":{"tag":"1.4"}}],"permissions":{"a":{"role":"write"}}}`,
		`{"imageDetails":[{"imageDigest":"` + digest1 + `","imageTags":["1.4"],"imagePushedAt":1.8e9}],"policyText":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\"}}"}`,
		`{"version":"x/` + digest1 + `","uploadTime":"2026-11-20T08:15:30Z","bindings":[{"role":"roles/owner","members":["a"]}]}`,
		`{"access_token":"x","tag":{"name":"1.4","digest":"` + digest1 + `","lastUpdateTime":"2026-11-20T08:15:30Z"}}`,
		`{"project_id":1,"digest":"` + digest1 + `","push_time":"2026-11-20T08:15:30Z","tags":[{"name":"1.4","push_time":"2026-11-20T08:15:30Z"}]}`,
		`{"created":"2026-11-20T08:15:30Z"}`, `null`, `[]`, `{"policyText":"{\"Statement\":[{\"Principal\":{\"AWS\":[]},\"NotAction\":[\"[\"]}]}"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for kind, asked := range refs {
			ref, err := image.Parse(asked.ref)
			if err != nil {
				t.Fatal(err)
			}
			s, ok := pushes.For(ref, pushes.Config{
				Transport: saying(body), Kinds: map[string]pushes.Kind{ref.Registry(): kind}, Credentials: credential(asked.cred),
				APIs: map[string]string{"registry.gitlab.com": "https://gitlab.com"},
			})
			if !ok {
				t.Fatalf("%s has no source", asked.ref)
			}
			got, err := s.Pushes(t.Context(), ref)
			if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%s: %q", kind, err)
			}
			for _, p := range got {
				if p.Repository != ref.Name() || p.Tag != "1.4" || p.Digest != "" && !p.Digest.Valid() || strings.ContainsAny(p.By+p.Addr+p.UserAgent, "\n\x1b") {
					t.Errorf("%s: %+v", kind, p)
				}
				if _, err := json.Marshal(p); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
			writers, _ := s.Writers(t.Context(), ref)
			for _, w := range writers {
				if strings.ContainsAny(w.Name+w.Role, "\n\x1b") {
					t.Errorf("%s: %+v", kind, w)
				}
			}
			_, _ = pushes.Claims(ref, "", body)
		}
	})
}
