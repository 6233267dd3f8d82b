package pin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tagwarden/tagwarden/image"
	"github.com/tagwarden/tagwarden/internal/lockfile"
	"github.com/tagwarden/tagwarden/internal/registry"
)

// An Answer is what a reference stands for.
type Answer struct {
	// Digest is that of an image, or git: and a commit.
	Digest string
	// Platforms and From are as in a lock file.
	Platforms, From string
	// Warnings are what a reader should know besides.
	Warnings []string
}

// A Resolver decides what references are pinned to. Each reference is looked up
// once, however often it stands in files. It is safe for concurrent use.
type Resolver struct {
	// Lock has what is known; nil has nothing. Locked says that nothing else
	// counts, not even what stands in the files.
	Lock   *lockfile.File
	Locked bool
	// Offline says that nobody is asked.
	Offline bool
	// Dry says that nobody is asked, and that everything without a digest would be
	// given one.
	Dry bool
	// Update reports whether a reference that has a digest is looked up again; nil
	// is for none.
	Update func(*Asked) bool
	// Image asks what an image reference stands for now.
	Image func(context.Context, image.Reference) (Answer, error)
	// Commit asks what a revision of owner/repository stands for.
	Commit func(ctx context.Context, repository, revision string) (Answer, error)
	// Ran finds what was proven to run. If it is set, nothing else counts for what
	// has no digest.
	Ran func(context.Context, *Asked) (Answer, error)

	mu      sync.Mutex
	answers map[string]*promise
	// files has the digests that files had, by what they follow.
	files map[string][]Place
}

// A Place is a digest in a file.
type Place struct {
	Digest, File string
	Line         int
}

type promise struct {
	done   chan struct{}
	answer Answer
	err    error
}

// errPending stands for the digest that is not asked for.
var errPending = errors.New("it has no digest")

// Decide says what a reference is to be pinned to.
func (r *Resolver) Decide(ctx context.Context, a *Asked) Decision {
	update := r.Update != nil && r.Update(a)
	follows := r.followed(a)
	switch {
	case follows == "" && update && a.Digest != "":
		return Decision{Warnings: []string{"kept: no tag beside its digest says what it follows"}}
	case follows == "" || a.Digest != "" && !update && !r.Locked:
		return Decision{}
	case r.Locked:
		return r.locked(a, follows)
	case a.Digest == "" && !update && r.Ran != nil:
		return decide(r.Ran(ctx, a))
	}
	if line, ok := r.line(follows); ok && !update {
		return Decision{Digest: line.Digest, From: "lock"}
	}
	switch {
	case r.Offline:
		return Decision{Err: errors.New("--offline, and the lock file has no line for " + follows)}
	case r.Dry && !update:
		return Decision{Err: errPending}
	}
	return decide(r.once(ctx, follows, func(ctx context.Context) (Answer, error) {
		if a.Action {
			repository, revision, _ := strings.Cut(follows, "@")
			return r.Commit(ctx, repository, revision)
		}
		ref, err := image.Parse(follows)
		if err != nil {
			return Answer{}, err
		}
		return r.Image(ctx, ref)
	}))
}

func decide(answer Answer, err error) Decision {
	return Decision{Digest: answer.Digest, From: answer.From, Warnings: answer.Warnings, Err: err}
}

func (r *Resolver) line(follows string) (lockfile.Line, bool) {
	if r.Lock == nil {
		return lockfile.Line{}, false
	}
	return r.Lock.Get(follows)
}

// followed is what a reference follows. For a bare digest the lock file may know
// it.
func (r *Resolver) followed(a *Asked) string {
	if a.Follows == "" && a.Digest != "" && r.Lock != nil {
		follows, _ := r.Lock.Find(a.Name, a.Digest)
		return follows
	}
	return a.Follows
}

func (r *Resolver) locked(a *Asked, follows string) Decision {
	line, ok := r.line(follows)
	switch {
	case ok:
		return Decision{Digest: line.Digest, From: "lock"}
	case a.Digest != "":
		return Decision{Err: errors.New("--locked, and the lock file has no line for " + follows + ", which has a digest here")}
	}
	return Decision{Err: errors.New("--locked, and the lock file has no line for " + follows)}
}

// once looks a reference up, or waits for who does.
func (r *Resolver) once(ctx context.Context, follows string, look func(context.Context) (Answer, error)) (Answer, error) {
	r.mu.Lock()
	p := r.answers[follows]
	first := p == nil
	if first {
		if r.answers == nil {
			r.answers = map[string]*promise{}
		}
		p = &promise{done: make(chan struct{})}
		r.answers[follows] = p
	}
	r.mu.Unlock()
	if first {
		p.answer, p.err = look(ctx)
		close(p.done)
	}
	select {
	case <-p.done:
		return p.answer, p.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// Note takes what a file has, for the lock file: what it had, or what it has once
// the items are written.
func (r *Resolver) Note(items []Item, written bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil {
		r.files = map[string][]Place{}
	}
	for i := range items {
		item := &items[i]
		digest := item.Old
		if written {
			digest = item.New
		}
		if item.Follows == "" || digest == "" {
			continue
		}
		places := r.files[item.Follows]
		if !slices.ContainsFunc(places, func(p Place) bool { return p.Digest == digest }) {
			r.files[item.Follows] = append(places, Place{digest, item.File, item.Line})
		}
	}
}

// A Disagreement is where files and the lock file say different things.
type Disagreement struct {
	Follows string
	// Lock is the digest of the lock file, or "" where it has no line.
	Lock  string
	Files []Place
}

// String says what disagrees, in one line.
func (d *Disagreement) String() string {
	if len(d.Files) > 1 {
		var b strings.Builder
		b.WriteString(d.Follows + " has several digests:")
		for _, p := range d.Files {
			fmt.Fprintf(&b, " %s (%s:%d)", p.Digest, p.File, p.Line)
		}
		return b.String()
	}
	p := d.Files[0]
	if d.Lock == "" {
		return fmt.Sprintf("%s:%d: the lock file has no line for %s", p.File, p.Line, d.Follows)
	}
	return fmt.Sprintf("%s:%d: %s is %s, and %s in the lock file", p.File, p.Line, d.Follows, p.Digest, d.Lock)
}

// Disagreements compares what was noted with the lock file, sorted. Without one,
// only files can disagree.
func (r *Resolver) Disagreements() []Disagreement {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Disagreement
	for follows, places := range r.files {
		d := Disagreement{Follows: follows, Files: places}
		if r.Lock != nil {
			line, _ := r.Lock.Get(follows)
			d.Lock = line.Digest
		}
		if len(places) > 1 || r.Lock != nil && d.Lock != places[0].Digest {
			slices.SortFunc(d.Files, func(a, b Place) int { return strings.Compare(a.File+a.Digest, b.File+b.Digest) })
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b Disagreement) int { return strings.Compare(a.Follows, b.Follows) })
	return all
}

// Relock brings the lock file in line with the files. A reference that files give
// several digests keeps its line. It reports whether anything changed.
func (r *Resolver) Relock(now time.Time) bool {
	changed := false
	for _, d := range r.Disagreements() {
		if len(d.Files) > 1 {
			continue
		}
		line := lockfile.Line{Reference: d.Follows, Digest: d.Files[0].Digest, From: "file", When: now}
		if line.IsCommit() {
			line.Platforms = lockfile.Commit
		}
		r.mu.Lock()
		if p := r.answers[d.Follows]; p != nil && p.err == nil && p.answer.Digest == line.Digest {
			line.From, line.Platforms = p.answer.From, p.answer.Platforms
		}
		r.mu.Unlock()
		r.Lock.Set(line)
		changed = true
	}
	return changed
}

// A Registry is who is asked about images. [registry.Client] is one.
type Registry interface {
	Resolve(context.Context, image.Reference) (registry.Resolved, error)
	Content(context.Context, image.Reference, image.Digest, image.Platform) ([]image.Content, error)
}

// Ask makes the question about images: for the digest of an index, which is right
// on every platform, or for that of one platform. The first costs one HEAD
// request. from is what a lock file says of the answer.
func Ask(client Registry, on image.Platform, platforms bool, from func(image.Reference) string) func(context.Context, image.Reference) (Answer, error) {
	return func(ctx context.Context, ref image.Reference) (Answer, error) {
		got, err := client.Resolve(ctx, ref)
		if err != nil {
			return Answer{}, err
		}
		a := Answer{Digest: got.Digest.String(), From: from(ref), Platforms: KindOf(got.MediaType)}
		if strings.HasPrefix(got.MediaType, "application/vnd.docker.distribution.manifest.v1+") {
			return Answer{}, fmt.Errorf("resolve %s: a manifest of schema 1, which runtimes no longer pull; push it again", ref)
		}
		switch {
		case on != (image.Platform{}):
			return one(ctx, client, ref, got.Digest, on, a)
		case platforms:
			contents, err := client.Content(ctx, ref, got.Digest, image.Platform{})
			if err != nil {
				return Answer{}, err
			}
			a.Platforms = platformsOf(contents)
		}
		return a, nil
	}
}

// KindOf is what a lock file says of a media type.
func KindOf(mediaType string) string {
	switch mediaType {
	case "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json":
		return lockfile.Index
	case "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json":
		return lockfile.Manifest
	}
	return lockfile.Unknown
}

// one finds the digest for one platform.
func one(ctx context.Context, client Registry, ref image.Reference, digest image.Digest, on image.Platform, a Answer) (Answer, error) {
	contents, err := client.Content(ctx, ref, digest, image.Platform{})
	if err != nil {
		return Answer{}, err
	}
	top := contents[0]
	a.Platforms = on.String()
	if top.Kind != image.KindIndex {
		switch {
		case top.Platform == (image.Platform{}):
			return Answer{}, fmt.Errorf("resolve %s: it does not say for which platform it is", ref)
		case !top.Platform.Match(on):
			return Answer{}, fmt.Errorf("resolve %s: it is for %s, not for %s", ref, top.Platform, on)
		}
		return a, nil
	}
	children := top.ChildrenFor(on)
	switch len(children) {
	case 0:
		return Answer{}, fmt.Errorf("resolve %s: it has nothing for %s; it has %s", ref, on, platformsOf(contents))
	case 1:
		a.Digest = children[0].Digest.String()
		return a, nil
	}
	return Answer{}, fmt.Errorf("resolve %s: it has %d images for %s; say which variant: %s", ref, len(children), on, platformsOf(contents))
}

// platformsOf are the platforms of a content, as a lock file has them.
func platformsOf(contents []image.Content) string {
	top := contents[0]
	var names []string
	if top.Kind != image.KindIndex && top.Platform != (image.Platform{}) {
		names = append(names, top.Platform.String())
	}
	for _, child := range top.ChildrenFor(image.Platform{}) {
		names = append(names, child.Platform.String())
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(s string) bool { return strings.ContainsAny(s, " ,") })
	if len(names) == 0 {
		return lockfile.Unknown
	}
	return strings.ToLower(strings.Join(names, ","))
}
