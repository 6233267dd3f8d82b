package pushes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tagwarden/tagwarden/image"
)

// The media types that webhooks come in, besides application/json. Distribution
// has had two versions of its envelope, which are alike in all that is read.
const (
	typeJSON           = "application/json"
	typeDistribution   = "application/vnd.docker.distribution.events.v1+json"
	typeDistribution2  = "application/vnd.docker.distribution.events.v2+json"
	typeCloudEvent     = "application/cloudevents+json"
	typeCloudEventList = "application/cloudevents-batch+json"
)

// forms read the pushes out of a webhook's body, by the kind of registry that
// sends it.
var forms = map[Kind]func(*hook, http.Header, []byte) error{
	Distribution: (*hook).distribution,
	DockerHub:    (*hook).dockerHub,
	GitHub:       (*hook).github,
	Harbor:       (*hook).harbor,
	Quay:         (*hook).quay,
	Zot:          (*hook).cloudEvents,
	Azure:        (*hook).azure,
}

// Parse reads the pushes that a webhook tells of:
//
//	Distribution  https://distribution.github.io/distribution/about/notifications/
//	DockerHub     https://docs.docker.com/docker-hub/repos/manage/webhooks/
//	GitHub        https://docs.github.com/webhooks/webhook-events-and-payloads, registry_package and package
//	Harbor        https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/
//	Quay          https://docs.quay.io/guides/notifications.html, push to repository
//	Zot           https://zotregistry.dev/latest/articles/events/, CloudEvents 1.0
//	Azure         https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
//
// The kind "" finds out which of them it is; the error is [ErrUnknown] if it
// is none. registry is the host that images of a self-hosted registry are
// pulled from; with "" it is taken from the message, where it can be what the
// pushing client said, and zot's has none.
//
// An event that is no push gives no pushes and no error. One that is, but names
// no repository that there can be, is an error beside the pushes of the others.
// Every push has the trust [Claimed], as Parse does not know who sent it, and
// is not confirmed.
func Parse(kind Kind, registry string, header http.Header, body []byte) ([]Push, error) {
	if kind == "" {
		if kind = detect(header, body); kind == "" {
			return nil, fmt.Errorf("read a webhook: %w", ErrUnknown)
		}
	}
	read, ok := forms[kind]
	if !ok {
		return nil, fmt.Errorf("read a webhook of %s: %w", quoted(string(kind)), ErrUnknown)
	}
	h := &hook{registry: registry}
	if err := read(h, header, body); err != nil {
		return nil, fmt.Errorf("read a webhook of %s: %w", kind, err)
	}
	if len(h.bad) > 0 {
		return h.pushes, fmt.Errorf("read a webhook of %s: %d of its pushes left out: %w", kind, len(h.bad), h.bad[0])
	}
	return h.pushes, nil
}

// detect finds the kind of registry by the headers, or by fields that no other
// form has.
func detect(header http.Header, body []byte) Kind {
	if header.Get("X-GitHub-Event") != "" {
		return GitHub
	}
	switch mediaType(header) {
	case typeDistribution, typeDistribution2:
		return Distribution
	case typeCloudEvent, typeCloudEventList:
		return Zot
	}
	if header.Get("Ce-Type") != "" {
		return Zot
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := fields[n]; return !ok })
	}
	switch {
	case has("specversion", "type"):
		return Zot
	case has("event_data", "type"):
		return Harbor
	case has("push_data", "repository"):
		return DockerHub
	case has("docker_url", "homepage"):
		return Quay
	case has("events"):
		return Distribution
	case has("action", "target"):
		return Azure
	}
	return ""
}

func mediaType(header http.Header) string {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// hook collects what a webhook tells of.
type hook struct {
	registry string
	pushes   []Push
	bad      []error
}

// add takes a push if its name is one. tag can be a digest, as Harbor's is when
// a robot pushes by digest.
func (h *hook) add(registry, repository, tag, digest string, p Push) {
	if registry == "" {
		h.skip("the message does not say which registry it is from; name it")
		return
	}
	ref, err := image.Parse(registry + "/" + repository)
	if err != nil || ref.Tag() != "" || ref.Pinned() {
		h.skip("no repository can be called " + quoted(registry+"/"+repository))
		return
	}
	if d := digestOf(tag); d != "" {
		tag = ""
		if digest == "" {
			digest = string(d)
		}
	}
	if tag != "" {
		if _, err := image.Parse(ref.Name() + ":" + tag); err != nil {
			h.skip("no tag can be called " + quoted(tag))
			return
		}
	}
	if p.Digest = digestOf(digest); digest != "" && p.Digest == "" {
		h.skip("no digest is " + quoted(digest))
		return
	}
	if tag == "" && p.Digest == "" {
		h.skip("it has neither a tag nor a digest")
		return
	}
	p.Repository, p.Tag = ref.Name(), tag
	p.By, p.Addr, p.UserAgent = clean(p.By), clean(p.Addr), clean(p.UserAgent)
	h.pushes = append(h.pushes, p)
}

func (h *hook) skip(why string) { h.bad = append(h.bad, errors.New(why)) }

// host is the registry that was named, or else the one of the message.
func (h *hook) host(said string) string {
	if h.registry != "" {
		return h.registry
	}
	return said
}

// errForm is the error of a body that is not what its form says. The decoder's
// own text would quote the body.
var errForm = errors.New("it does not have the documented form")

func decode(body []byte, into any) error {
	if json.Unmarshal(body, into) != nil {
		return errForm
	}
	return nil
}

// distributionEvent is one event of CNCF Distribution. Azure's registry sends
// the same, alone.
type distributionEvent struct {
	Timestamp string `json:"timestamp"`
	Action    string `json:"action"`
	Target    struct {
		MediaType  string `json:"mediaType"`
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	} `json:"target"`
	Request struct {
		Addr      string `json:"addr"`
		Host      string `json:"host"`
		UserAgent string `json:"useragent"`
	} `json:"request"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
}

// push reports whether the event is the push of an index or a manifest: a
// registry tells of every layer, too.
func (e *distributionEvent) push() bool {
	return e.Action == "push" &&
		(e.Target.Tag != "" || strings.Contains(e.Target.MediaType, "manifest") || strings.Contains(e.Target.MediaType, "image.index"))
}

func (h *hook) distribution(_ http.Header, body []byte) error {
	var envelope struct {
		Events []distributionEvent `json:"events"`
	}
	if err := decode(body, &envelope); err != nil {
		return err
	}
	for i := range envelope.Events {
		h.distributionEvent(&envelope.Events[i], "distribution notification")
	}
	return nil
}

func (h *hook) distributionEvent(e *distributionEvent, source string) {
	if !e.push() {
		return
	}
	h.add(h.host(e.Request.Host), e.Target.Repository, e.Target.Tag, e.Target.Digest, Push{
		At: rfc3339(e.Timestamp), By: e.Actor.Name, Addr: e.Request.Addr, UserAgent: e.Request.UserAgent,
		Source: source,
	})
}

func (h *hook) azure(_ http.Header, body []byte) error {
	var e distributionEvent
	if err := decode(body, &e); err != nil {
		return err
	}
	h.distributionEvent(&e, "Azure webhook")
	return nil
}

func (h *hook) dockerHub(_ http.Header, body []byte) error {
	var m struct {
		PushData struct {
			PushedAt float64 `json:"pushed_at"`
			Pusher   string  `json:"pusher"`
			Tag      string  `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			RepoName string `json:"repo_name"`
		} `json:"repository"`
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	h.add("docker.io", m.Repository.RepoName, m.PushData.Tag, "", Push{
		At: unix(m.PushData.PushedAt), By: m.PushData.Pusher, Source: sourceHubHook,
	})
	return nil
}

// sourceHubHook marks what nobody signed.
const sourceHubHook = "Docker Hub webhook (unsigned)"

// harborEvent is what both of Harbor's forms have.
type harborEvent struct {
	Resources []struct {
		Digest      string `json:"digest"`
		Tag         string `json:"tag"`
		ResourceURL string `json:"resource_url"`
	} `json:"resources"`
	Repository struct {
		RepoFullName string `json:"repo_full_name"`
	} `json:"repository"`
}

func (h *hook) harbor(header http.Header, body []byte) error {
	var m struct {
		Type      string      `json:"type"`
		OccurAt   float64     `json:"occur_at"`
		Operator  string      `json:"operator"`
		EventData harborEvent `json:"event_data"`
		// Only the other form of Harbor's has it.
		SpecVersion string `json:"specversion"`
	}
	if mediaType(header) == typeCloudEvent {
		return h.cloudEvents(header, body)
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	if m.SpecVersion != "" {
		return h.cloudEvents(header, body)
	}
	if m.Type == "PUSH_ARTIFACT" {
		h.harborPush(m.EventData, unix(m.OccurAt), m.Operator)
	}
	return nil
}

func (h *hook) harborPush(e harborEvent, at time.Time, by string) {
	for _, r := range e.Resources {
		host, _, _ := strings.Cut(r.ResourceURL, "/")
		h.add(h.host(host), e.Repository.RepoFullName, r.Tag, r.Digest, Push{At: at, By: by, Source: "Harbor webhook"})
	}
}

func (h *hook) quay(_ http.Header, body []byte) error {
	var m struct {
		DockerURL   string          `json:"docker_url"`
		UpdatedTags json.RawMessage `json:"updated_tags"`
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	if len(m.UpdatedTags) == 0 { // another event: a build, a scan
		return nil
	}
	var tags []string
	if json.Unmarshal(m.UpdatedTags, &tags) != nil {
		// What Quay sent before it had manifests.
		var old map[string]json.RawMessage
		if err := decode(m.UpdatedTags, &old); err != nil {
			return err
		}
		for tag := range old {
			tags = append(tags, tag)
		}
		slices.Sort(tags)
	}
	host, repository, _ := strings.Cut(m.DockerURL, "/")
	for _, tag := range tags {
		h.add(h.host(host), repository, tag, "", Push{Source: "Quay notification"})
	}
	return nil
}

func (h *hook) github(header http.Header, body []byte) error {
	var m struct {
		Action          string         `json:"action"`
		Package         *githubPackage `json:"package"`
		RegistryPackage *githubPackage `json:"registry_package"`
		Sender          struct {
			Login string `json:"login"`
		} `json:"sender"`
	}
	event := header.Get("X-GitHub-Event")
	if event != "" && event != "package" && event != "registry_package" {
		return nil
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	p := m.RegistryPackage
	if p == nil {
		p = m.Package
	}
	if p == nil || m.Action != "published" && m.Action != "updated" || !strings.EqualFold(p.PackageType, "container") {
		return nil
	}
	// ghcr.io/owner/name:tag. Owners can have capitals, references cannot.
	host, repository := "ghcr.io", p.Namespace+"/"+p.Name
	if p.Namespace == "" {
		repository = p.Owner.Login + "/" + p.Name
	}
	v := p.PackageVersion
	tag, digest := v.ContainerMetadata.Tag.Name, v.ContainerMetadata.Tag.Digest
	if digest == "" {
		digest = v.Version
	}
	at := rfc3339(v.UpdatedAt)
	if at.IsZero() {
		at = rfc3339(p.UpdatedAt)
	}
	h.add(host, strings.ToLower(repository), tag, digest, Push{At: at, By: m.Sender.Login, Source: "GitHub webhook"})
	return nil
}

type githubPackage struct {
	Name        string `json:"name"`
	Namespace   string `json:"namespace"`
	PackageType string `json:"package_type"`
	UpdatedAt   string `json:"updated_at"`
	Owner       struct {
		Login string `json:"login"`
	} `json:"owner"`
	PackageVersion struct {
		Version           string `json:"version"`
		UpdatedAt         string `json:"updated_at"`
		ContainerMetadata struct {
			Tag struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

// cloudEvent is a CloudEvent 1.0, from a body of its own (structured mode) or
// from headers (binary mode): https://github.com/cloudevents/spec, "HTTP
// Protocol Binding".
type cloudEvent struct {
	Type   string          `json:"type"`
	Source string          `json:"source"`
	Time   string          `json:"time"`
	Data   json.RawMessage `json:"data"`
	// Harbor's extension: who did it.
	Operator string `json:"operator"`
}

func (h *hook) cloudEvents(header http.Header, body []byte) error {
	var list []cloudEvent
	switch t := mediaType(header); {
	case t == typeCloudEventList:
		if err := decode(body, &list); err != nil {
			return err
		}
	case t != typeCloudEvent && header.Get("Ce-Type") != "":
		list = []cloudEvent{{
			Type: header.Get("Ce-Type"), Source: header.Get("Ce-Source"), Time: header.Get("Ce-Time"),
			Operator: header.Get("Ce-Operator"), Data: body,
		}}
	default:
		var e cloudEvent
		if err := decode(body, &e); err != nil {
			return err
		}
		list = []cloudEvent{e}
	}
	for _, e := range list {
		if err := h.cloudEvent(e); err != nil {
			return err
		}
	}
	return nil
}

func (h *hook) cloudEvent(e cloudEvent) error {
	// zot's own prefix, zotregistry, can be changed in its settings.
	switch {
	case e.Type == "harbor.artifact.pushed":
		var data harborEvent
		if err := decode(e.Data, &data); err != nil {
			return err
		}
		h.harborPush(data, rfc3339(e.Time), e.Operator)
	case strings.HasSuffix(e.Type, ".image.updated"):
		var data struct {
			Name      string `json:"name"`
			Reference string `json:"reference"`
			Digest    string `json:"digest"`
		}
		if err := decode(bytes.TrimSpace(e.Data), &data); err != nil {
			return err
		}
		host := ""
		if u, err := url.Parse(e.Source); err == nil {
			host = u.Host
		}
		h.add(h.host(host), data.Name, data.Reference, data.Digest, Push{At: rfc3339(e.Time), Source: "zot event"})
	}
	return nil
}
