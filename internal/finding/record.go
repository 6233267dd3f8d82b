package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// A Finding is one fact that is wrong.
type Finding struct {
	ID       ID       `json:"id"`
	Severity Severity `json:"severity"`
	// Time is when it happened, in UTC; zero for what was found in a file.
	Time time.Time `json:"time,omitzero"`
	// Form is the variety of the finding, where the id has several.
	Form    string  `json:"form,omitempty"`
	Subject Subject `json:"subject,omitzero"`
	// Location is the place in a file, for what was found in one.
	Location Location `json:"location,omitzero"`
	// Image is the reference as it was written.
	Image string `json:"image,omitempty"`
	// Message states the fact in one sentence, Fix what to do.
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
	// Evidence are the facts behind it, in the order of their weight.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Key tells findings apart that agree in id, form and subject: the digest
	// that is new, or the place in a file.
	Key string `json:"key,omitempty"`
}

// A Location is a place in a file.
type Location struct {
	// File is the path as it was given, with slashes.
	File string `json:"file"`
	// Line and Column count from 1, Column in characters. Width is how many
	// characters the place is long.
	Line   int `json:"line"`
	Column int `json:"column"`
	Width  int `json:"width,omitempty"`
	// Path leads to the value: spec.containers[0].image.
	Path string `json:"path,omitempty"`
}

// A Subject is what runs, or would run, the image. What is not known is empty.
type Subject struct {
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Workload is the top controller as Kind/name, or Pod/name.
	Workload  string `json:"workload,omitempty"`
	Revision  string `json:"revision,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	// Kind is container, init, sidecar, ephemeral, volume or other.
	Kind string `json:"kind,omitempty"`
	Node string `json:"node,omitempty"`
}

// Evidence is one named fact.
type Evidence struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Fingerprint is 32 hex digits that stay the same when the same thing is found
// again: by id, form, workload, revision, container, image and key, and in a
// file by its path and that of the value. The pod, the time and the line do not
// count.
func (f *Finding) Fingerprint() string {
	s := f.Subject
	// JSON separates the parts so that none can pass into the next.
	text, err := json.Marshal([]string{
		string(f.ID), f.Form, s.Cluster, s.Namespace, s.Workload, s.Revision, s.Container, f.Image, f.Key, f.Location.File, f.Location.Path,
	})
	if err != nil {
		panic(err) // Strings always encode.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Fact returns the value of the evidence of that name, or "".
func (f *Finding) Fact(name string) string {
	for _, e := range f.Evidence {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}
