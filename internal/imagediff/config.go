package imagediff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/registry"
)

// ConfigChange is a part of the config that differs. A and B are nil where an
// image does not have it. A list or an object is JSON.
type ConfigChange struct {
	// Field is such as entrypoint, cmd, env, user, label; see docs/image.md.
	Field string `json:"field"`
	// Key is the name of a variable, a label, a port, a volume, an annotation.
	Key string  `json:"key,omitempty"`
	A   *string `json:"a"`
	B   *string `json:"b"`
}

// History is what differs in how the images say that they were made.
type History struct {
	// Shared is how many entries are the same, from the first on.
	Shared  int            `json:"shared"`
	Removed []HistoryEntry `json:"removed"`
	Added   []HistoryEntry `json:"added"`
}

// HistoryEntry is one step of making an image. Whoever made it can write
// anything here.
type HistoryEntry struct {
	Created    string `json:"created,omitempty"`
	CreatedBy  string `json:"createdBy,omitempty"`
	Comment    string `json:"comment,omitempty"`
	EmptyLayer bool   `json:"emptyLayer,omitempty"`
}

// Base is what an image says of the image that it was made from.
type Base struct {
	// Name and Digest are those of the labels or annotations
	// org.opencontainers.image.base.name and .digest (OCI image spec 1.1,
	// annotations.md).
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest,omitempty"`
	// OS is PRETTY_NAME of the os-release file, if that had to be read.
	OS string `json:"os,omitempty"`
}

const (
	labelBaseName   = "org.opencontainers.image.base.name"
	labelBaseDigest = "org.opencontainers.image.base.digest"
)

// config is an image config (OCI image spec 1.1, config.md). The parts that
// are compared as they stand can be anything: Docker and containerd read them
// with the same package, so a key in other letters is the same key for them,
// too.
type config struct {
	Created      any    `json:"created"`
	Author       any    `json:"author"`
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    any    `json:"os.version"`
	Config       struct {
		Entrypoint   any `json:"Entrypoint"`
		Cmd          any `json:"Cmd"`
		Env          any `json:"Env"`
		User         any `json:"User"`
		WorkingDir   any `json:"WorkingDir"`
		ExposedPorts any `json:"ExposedPorts"`
		Volumes      any `json:"Volumes"`
		Labels       any `json:"Labels"`
		StopSignal   any `json:"StopSignal"`
		Healthcheck  any `json:"Healthcheck"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []image.Digest `json:"diff_ids"`
	} `json:"rootfs"`
	History []historyEntry `json:"history"`

	// others are the keys of the config's config that are none of the above.
	others map[string]any
}

// historyEntry is one of a config's history.
type historyEntry struct {
	Created    string `json:"created"`
	CreatedBy  string `json:"created_by"`
	Comment    string `json:"comment"`
	EmptyLayer bool   `json:"empty_layer"`
}

// config reads a config.
func (c *comparer) config(ctx context.Context, ref image.Reference, of registry.Descriptor) (*config, error) {
	if of.Size > c.limits.config {
		return nil, fmt.Errorf("it is larger than %d bytes", c.limits.config)
	}
	blob, err := c.reg.Blob(ctx, ref, of)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	body, err := io.ReadAll(blob)
	if err != nil {
		return nil, err
	}
	return parseConfig(body)
}

func parseConfig(body []byte) (*config, error) {
	var (
		found config
		loose struct {
			Config map[string]any `json:"config"`
		}
	)
	if decode(body, &found) != nil || decode(body, &loose) != nil {
		return nil, errors.New("it is no JSON of a config")
	}
	known := []string{
		"Entrypoint", "Cmd", "Env", "User", "WorkingDir", "ExposedPorts", "Volumes", "Labels", "StopSignal", "Healthcheck",
	}
	found.others = map[string]any{}
	for key, value := range loose.Config {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, key) }) {
			found.others[key] = value
		}
	}
	return &found, nil
}

func decode(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	return dec.Decode(into)
}

func (c *config) platform() image.Platform {
	p := image.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if parsed, err := image.ParsePlatform(p.String()); err != nil || parsed != p {
		return image.Platform{}
	}
	return p
}

// madeBy are the lines of the history that made a layer each.
func (c *config) madeBy() []string {
	var made []string
	for _, h := range c.History {
		if !h.EmptyLayer {
			made = append(made, h.CreatedBy)
		}
	}
	return made
}

func (c *config) base(annotations map[string]string) Base {
	labels := object(c.Config.Labels)
	say := func(key string) string {
		if s, ok := labels[key].(string); ok && s != "" {
			return printable(s)
		}
		return printable(annotations[key])
	}
	return Base{Name: say(labelBaseName), Digest: say(labelBaseDigest)}
}

// configChanges lists what differs, what decides which program runs first.
func configChanges(a, b *config) []ConfigChange {
	var found changes
	x, y := &a.Config, &b.Config
	found.value("entrypoint", x.Entrypoint, y.Entrypoint)
	found.value("cmd", x.Cmd, y.Cmd)
	found.value("user", x.User, y.User)
	found.value("workingDir", x.WorkingDir, y.WorkingDir)
	found.keyed("env", variables(x.Env), variables(y.Env))
	found.keyed("port", object(x.ExposedPorts), object(y.ExposedPorts))
	found.keyed("volume", object(x.Volumes), object(y.Volumes))
	found.keyed("label", object(x.Labels), object(y.Labels))
	found.value("stopSignal", x.StopSignal, y.StopSignal)
	found.value("healthcheck", x.Healthcheck, y.Healthcheck)
	for _, key := range keys(a.others, b.others) {
		found.value(key, a.others[key], b.others[key])
	}
	found.value("os", a.OS, b.OS)
	found.value("architecture", a.Architecture, b.Architecture)
	found.value("variant", a.Variant, b.Variant)
	found.value("os.version", a.OSVersion, b.OSVersion)
	found.value("author", a.Author, b.Author)
	found.value("created", a.Created, b.Created)
	return found
}

func annotationChanges(a, b map[string]string) []ConfigChange {
	var found changes
	for _, key := range keys(a, b) {
		x, inA := a[key]
		y, inB := b[key]
		if x != y || inA != inB {
			found = append(found, ConfigChange{"annotation", printable(key), text(x, inA), text(y, inB)})
		}
	}
	return found
}

type changes []ConfigChange

// value compares a part as a whole. Nothing, null, "" and [] are one to a
// runtime.
func (c *changes) value(field string, a, b any) {
	x, y := display(a), display(b)
	if x != y {
		*c = append(*c, ConfigChange{printable(field), "", text(x, x != ""), text(y, y != "")})
	}
}

// keyed compares a part name by name.
func (c *changes) keyed(field string, a, b map[string]any) {
	for _, key := range keys(a, b) {
		x, inA := a[key]
		y, inB := b[key]
		if s, t := display(x), display(y); s != t || inA != inB {
			*c = append(*c, ConfigChange{field, printable(key), text(s, inA), text(t, inB)})
		}
	}
}

func text(s string, there bool) *string {
	if !there {
		return nil
	}
	s = printable(s)
	return &s
}

// display is a value of JSON for people: a text as it is, all else as JSON.
func display(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		if len(v) == 0 {
			return ""
		}
	case map[string]any:
		if len(v) == 0 {
			return ""
		}
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v) // It was JSON before.
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// variables are those of a list of NAME=VALUE; the last of a name counts.
func variables(v any) map[string]any {
	list, ok := v.([]any)
	if !ok {
		return odd(v)
	}
	found := map[string]any{}
	for _, item := range list {
		name, value, _ := strings.Cut(display(item), "=")
		found[name] = value
	}
	return found
}

// object is a JSON object.
func object(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return m
	}
	return odd(v)
}

// odd keeps what is not of its type, so that a difference in it shows.
func odd(v any) map[string]any {
	if v == nil {
		return nil
	}
	return map[string]any{"": v}
}

func keys[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

// historyChanges lists the entries after those that both histories begin with.
func historyChanges(a, b []historyEntry) History {
	var h History
	for h.Shared < min(len(a), len(b)) && a[h.Shared] == b[h.Shared] {
		h.Shared++
	}
	h.Removed, h.Added = entries(a[h.Shared:]), entries(b[h.Shared:])
	return h
}

func entries(list []historyEntry) []HistoryEntry {
	var found []HistoryEntry
	for _, e := range list {
		found = append(found, HistoryEntry{printable(e.Created), printable(e.CreatedBy), printable(e.Comment), e.EmptyLayer})
	}
	return found
}
