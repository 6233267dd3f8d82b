// Package falcoalert reads the alerts of a Falco that runs already: from a file,
// from its http_output (https://falco.org/docs/concepts/outputs/channels/#https),
// or from the webhook of falcosidekick
// (https://github.com/falcosecurity/falcosidekick, outputs/webhook.go), which
// sends on what it got with more keys. All of them are one JSON object an alert,
// and so are the alerts of "tagwarden watch -o json".
//
// An alert tells of a container that Falco saw. It is not the last word on its
// image: Falco has the name that the runtime gives, which can be another tag of
// the same bytes. So that name is never taken for what was asked for.
package falcoalert

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/event"
)

const (
	// maxAlert is the most that a message may have, in bytes.
	maxAlert = 1 << 20
	// maxText is the longest text of an alert that is kept, in bytes.
	maxText = 4 << 10
	// remembered is how many containers are kept to tell a second alert about one.
	remembered = 1 << 16
)

// Alert is one alert of Falco. What it does not say is empty.
type Alert struct {
	Time     time.Time
	Rule     string
	Priority string
	// Output is the text, on one line.
	Output string
	// Hostname is the machine that Falco runs on.
	Hostname string
	// Namespace, Pod and PodUID are those of Kubernetes.
	Namespace, Pod, PodUID string
	// Container is the name of the container, ContainerID its id, of which
	// there may be the first twelve digits alone.
	Container, ContainerID string
	// Repository, Tag and Digest are those of the image by the runtime.
	Repository, Tag, Digest string
	// Reference, Workload and Fingerprint are what alerts of Tagwarden have
	// besides.
	Reference, Workload, Fingerprint string
}

// Parse reads one alert. Keys that are not known are left out. What has no rule
// and no fields is no alert.
func Parse(data []byte) (Alert, error) {
	var m struct {
		Time     string         `json:"time"`
		Rule     string         `json:"rule"`
		Priority string         `json:"priority"`
		Output   string         `json:"output"`
		Hostname string         `json:"hostname"`
		Fields   map[string]any `json:"output_fields"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if dec.Decode(&m) != nil {
		return Alert{}, errors.New("not an alert of Falco: no JSON object of its form; set json_output: true")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Alert{}, errors.New("not an alert of Falco: text after the object")
	}
	if m.Rule == "" || m.Fields == nil {
		return Alert{}, errors.New("not an alert of Falco: rule or output_fields is missing; set json_output: true and json_include_output_fields_property: true")
	}
	text := func(names ...string) string {
		for _, n := range names {
			// Falco writes null, or <NA>, for what it does not know.
			if s, ok := m.Fields[n].(string); ok && s != "" && s != "<NA>" {
				return clean(s)
			}
		}
		return ""
	}
	a := Alert{
		Rule: clean(m.Rule), Priority: clean(m.Priority), Output: clean(m.Output), Hostname: clean(m.Hostname),
		Namespace: text("k8s.ns.name", "ka.target.namespace"), Pod: text("k8s.pod.name"), PodUID: text("k8s.pod.uid", "k8s.pod.id"),
		Container: text("container.name"), ContainerID: text("container.full_id", "container.id"),
		Repository: text("container.image.repository"), Tag: text("container.image.tag"), Digest: text("container.image.digest"),
		Reference: text("tagwarden.reference"), Workload: text("tagwarden.workload"), Fingerprint: text("tagwarden.fingerprint"),
	}
	if t, err := time.Parse(time.RFC3339Nano, m.Time); err == nil {
		a.Time = t.UTC()
	}
	if a.ContainerID == "host" {
		a.ContainerID, a.Container = "", ""
	}
	a.dockershim()
	if a.Repository == "" {
		a.whole(text("container.image"))
	}
	return a, nil
}

// dockershim takes apart the name that the kubelet gave containers of Docker,
// k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT.
func (a *Alert) dockershim() {
	parts := strings.Split(a.Container, "_")
	if len(parts) != 6 || parts[0] != "k8s" {
		return
	}
	a.Container = parts[1]
	for i, to := range []*string{&a.Pod, &a.Namespace, &a.PodUID} {
		if *to == "" {
			*to = parts[2+i]
		}
	}
}

// whole takes the image from its name in one piece.
func (a *Alert) whole(name string) {
	ref, err := image.Parse(name)
	if name == "" || err != nil {
		return
	}
	a.Repository = ref.Name()
	if a.Tag == "" {
		a.Tag = ref.Tag()
	}
	if a.Digest == "" {
		a.Digest = ref.Digest().String()
	}
}

// Start is the container that an alert tells of, as far as it says; nil where it
// is about none. The reference stays empty: nobody knows it from an alert.
func (a *Alert) Start() *event.Start {
	if a.ContainerID == "" {
		return nil
	}
	s := &event.Start{
		Time: a.Time, Source: "falco", Existing: true, Node: a.Hostname, Namespace: a.Namespace, Pod: a.Pod, PodUID: a.PodUID,
		Container: a.Container, ContainerID: a.ContainerID, Reference: a.Reference,
	}
	if a.Repository != "" {
		s.Image = a.Repository
		if a.Tag != "" {
			s.Image += ":" + a.Tag
		}
	}
	if image.Digest(a.Digest).Valid() {
		s.Digest, s.DigestOf = a.Digest, a.Repository
	}
	return s
}

// clean is text from outside as one line of bounded length.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s))
}

// Starts makes one start of all alerts about a container. It is safe for
// concurrent use.
type Starts struct {
	// Now is the time of an alert that has none.
	Now func() time.Time

	mu    sync.Mutex
	known map[string]bool
	order []string
	next  int
}

// Event is the start that an alert tells of. It is nil for an alert that is
// about no container, or about one that was told before.
func (s *Starts) Event(data []byte) (event.Event, error) {
	a, err := Parse(data)
	if err != nil {
		return nil, err
	}
	start := a.Start()
	if start == nil || s.again(start.ContainerID) {
		return nil, nil //nolint:nilnil // nothing to tell is no error
	}
	if start.Time.IsZero() {
		start.Time = s.Now().UTC()
	}
	return start, nil
}

// again notes a container, and reports whether it was noted before.
func (s *Starts) again(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] {
		return true
	}
	if s.known == nil {
		s.known = map[string]bool{}
	}
	if len(s.order) < remembered {
		s.order = append(s.order, id)
	} else {
		delete(s.known, s.order[s.next])
		s.order[s.next] = id
		s.next = (s.next + 1) % remembered
	}
	s.known[id] = true
	return false
}

// Receiver takes alerts by HTTP, one in a message, and gives them to Sink.
type Receiver struct {
	// Token is what senders prove themselves with: after Bearer in
	// Authorization, or as ?token= in the address, which is all that Falco's own
	// http_output can send. "" lets everybody.
	Token string
	// Sink takes an alert, byte for byte. Its error is about the alert.
	Sink func([]byte) error
}

// ServeHTTP answers 204 when the alert was taken.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "send alerts with POST", http.StatusMethodNotAllowed)
		return
	case !r.allowed(req):
		w.Header().Set("WWW-Authenticate", `Bearer realm="tagwarden"`)
		http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxAlert))
	if err != nil {
		http.Error(w, fmt.Sprintf("the alert did not arrive whole, or is larger than %d bytes", maxAlert), http.StatusRequestEntityTooLarge)
		return
	}
	if err := r.Sink(bytes.TrimSpace(body)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *Receiver) allowed(req *http.Request) bool {
	if r.Token == "" {
		return true
	}
	want := sha256.Sum256([]byte(r.Token))
	ok := false
	for _, said := range []string{strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), req.URL.Query().Get("token")} {
		got := sha256.Sum256([]byte(said))
		ok = subtle.ConstantTimeCompare(got[:], want[:]) == 1 || ok
	}
	return ok
}
