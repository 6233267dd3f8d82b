package registry

import (
	"container/list"
	"context"
	"sync"

	"github.com/tagwarden/tagwarden/image"
)

// A Cache keeps what a digest stands for. That never changes, so it can be
// kept for ever. It is safe for concurrent use. An error is noted in the log,
// and the registry is asked instead.
type Cache interface {
	// Content finds what was put; ok is false where nothing was.
	Content(ctx context.Context, d image.Digest) (c image.Content, ok bool, err error)
	// PutContent keeps c under its digest.
	PutContent(ctx context.Context, c image.Content) error
}

// maxCached is how many digests, children included, a cache in memory keeps:
// some 40 MB.
const maxCached = 100_000

// NewMemoryCache makes a Cache in memory, which keeps the contents that were
// used last: up to 100,000 digests, the children of indexes included.
func NewMemoryCache() Cache {
	return memoryCache{newRecent[image.Digest, image.Content](maxCached)}
}

type memoryCache struct {
	recent *recent[image.Digest, image.Content]
}

func (m memoryCache) Content(_ context.Context, d image.Digest) (image.Content, bool, error) {
	c, ok := m.recent.get(d)
	return c, ok, nil
}

func (m memoryCache) PutContent(_ context.Context, c image.Content) error {
	m.recent.put(c.Digest, c, 1+len(c.Children))
	return nil
}

// recent keeps the values that were used last, up to a sum of their costs.
type recent[K comparable, V any] struct {
	mu    sync.Mutex
	room  int
	order *list.List // of *kept, the last used first
	items map[K]*list.Element
}

type kept[K comparable, V any] struct {
	key   K
	value V
	cost  int
}

func newRecent[K comparable, V any](room int) *recent[K, V] {
	return &recent[K, V]{room: room, order: list.New(), items: map[K]*list.Element{}}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.items[key]
	if e == nil {
		return value, false
	}
	r.order.MoveToFront(e)
	return e.Value.(*kept[K, V]).value, true
}

func (r *recent[K, V]) put(key K, value V, cost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.items[key]; e != nil {
		r.drop(e)
	}
	r.items[key] = r.order.PushFront(&kept[K, V]{key, value, cost})
	r.room -= cost
	for r.room < 0 {
		r.drop(r.order.Back())
	}
}

func (r *recent[K, V]) drop(e *list.Element) {
	k := r.order.Remove(e).(*kept[K, V])
	delete(r.items, k.key)
	r.room += k.cost
}
