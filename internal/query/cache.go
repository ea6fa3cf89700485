package query

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Bounds of a Cache.
const (
	// DefaultCacheBytes is how much a Cache holds when nobody says.
	DefaultCacheBytes = 64 << 20
	// cacheAge is how old an answer may be, although nothing has changed: so that what retention removed is gone from answers too.
	cacheAge = 10 * time.Minute
	// cacheWidest is the widest step that is kept.
	cacheWidest = 7 * 24 * time.Hour
	// cacheLongest is how many chunks a question that is kept takes at most: one about all of a metric's past would fill the cache with nothing.
	cacheLongest = 256
)

// CacheConfig is what a Cache needs.
type CacheConfig struct {
	Bytes int64 // that it holds at most; 0: DefaultCacheBytes
	Now   func() time.Time
}

// Cache is a store.Events that remembers what it answered about rollups of steps that are over: a chart that is looked at again
// costs only its newest steps. It keeps stretches of steps ("chunks") of a question, so that they serve whatever range is asked for.
//
// An answer is never older than the last commit that returned: Commit drops the chunks that a commit changes, after it took
// effect, and a read that was under way meanwhile is not kept where it may have missed it. For this all commits must
// go through the Cache, or be told to Changed. Where another process commits, that takes a moment, by which an answer may be older; while nobody tells
// what it commits, Trust(false) has nothing kept. When the store is replaced by another under it, call Reset.
type Cache struct {
	store.Events
	limit int64
	now   func() time.Time

	mu      sync.Mutex
	blind   bool // nobody says what changes
	used    int64
	recent  list.List // of *chunk, the most recently used one first
	metrics map[cachedMetric]*cached
	stats   CacheStats
}

// CacheStats counts chunks.
type CacheStats struct {
	Hits, Misses, Dropped uint64 // Dropped were changed after they had been kept
	Bytes                 int64
}

type cachedMetric struct {
	tenant tenant.ID
	metric int64
}

// cached is what is kept of one metric.
type cached struct {
	chunks map[chunkKey]*chunk
	reads  map[*chunkRead]struct{}
	// ends is where the last chunk or read of each resolution ends: what is changed behind it, as nearly everything is, changes none.
	ends map[time.Duration]int64
}

type chunkKey struct {
	shape string // of the question: all but the range
	index int64
}

// chunkRead is a read of the store that is under way.
type chunkRead struct {
	step     time.Duration
	from, to int64 // Unix nanoseconds
	changed  []int64
}

// NewCache makes a Cache over events.
func NewCache(events store.Events, cfg CacheConfig) *Cache {
	c := &Cache{Events: events, limit: cfg.Bytes, now: cfg.Now, metrics: map[cachedMetric]*cached{}}
	if c.limit <= 0 {
		c.limit = DefaultCacheBytes
	}
	return c
}

// Stats are the counts since the start.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes = c.used
	return s
}

// Commit implements store.Events.
func (c *Cache) Commit(ctx context.Context, commit *store.Commit) (store.Offset, error) {
	offset, err := c.Events.Commit(ctx, commit)
	if !commit.DryRun && !errors.Is(err, store.ErrFenced) { // after other errors it may have taken effect
		c.Changed(commit.Rollups)
	}
	return offset, err
}

// Changed says that rollups have been added to the store, and can be read there.
func (c *Cache) Changed(rollups []series.Rollup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.metrics) == 0 {
		return
	}
	var last cachedMetric
	var m *cached
	for i := range rollups {
		r := &rollups[i]
		if key := (cachedMetric{r.Tenant, r.Metric}); i == 0 || key != last {
			last, m = key, c.metrics[key]
		}
		if m == nil {
			continue
		}
		c.change(m, r.Start.UnixNano())
	}
}

// change says that the minute that begins at start has changed, and with it all longer steps that it is in.
func (c *Cache) change(m *cached, start int64) {
	begin := func(step time.Duration) int64 { return start - mod(start, int64(step)) }
	known := false
	for step, end := range m.ends {
		known = known || begin(step) < end
	}
	if !known {
		return
	}
	for read := range m.reads {
		if at := begin(read.step); at >= read.from && at < read.to {
			read.changed = append(read.changed, at)
		}
	}
	for _, ch := range m.chunks {
		if at := begin(ch.step); at >= ch.from && at < ch.to {
			c.drop(ch)
			c.stats.Dropped++
		}
	}
}

// Trust says whether each change will be told from now on. Nothing is kept of the time before, nor while it is false.
func (c *Cache) Trust(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = !ok
	c.reset()
}

// Reset forgets everything, for a store that was replaced.
func (c *Cache) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

func (c *Cache) reset() {
	for _, m := range c.metrics {
		for read := range m.reads {
			for at := read.from; at < read.to; at += int64(read.step) {
				read.changed = append(read.changed, at)
			}
		}
		for _, ch := range m.chunks {
			c.drop(ch)
		}
	}
}

// drop takes a chunk out; c.mu is held.
func (c *Cache) drop(ch *chunk) {
	m := c.metrics[ch.of]
	delete(m.chunks, ch.key)
	c.recent.Remove(ch.place)
	c.used -= ch.bytes
	c.release(ch.of, m)
}

// release forgets a metric of which nothing is kept; c.mu is held.
func (c *Cache) release(of cachedMetric, m *cached) {
	if len(m.chunks)+len(m.reads) == 0 {
		delete(c.metrics, of)
	}
}

// find is the chunk of a question if it is kept.
func (c *Cache) find(of cachedMetric, key chunkKey) *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.metrics[of]
	if m == nil {
		return nil
	}
	ch := m.chunks[key]
	if ch == nil {
		return nil
	}
	if c.now().Sub(ch.made) > cacheAge {
		c.drop(ch)
		return nil
	}
	c.recent.MoveToFront(ch.place)
	return ch
}

// begin registers a read.
func (c *Cache) begin(of cachedMetric, step time.Duration, from, to int64) *chunkRead {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.metrics[of]
	if m == nil {
		m = &cached{chunks: map[chunkKey]*chunk{}, reads: map[*chunkRead]struct{}{}, ends: map[time.Duration]int64{}}
		c.metrics[of] = m
	}
	read := &chunkRead{step: step, from: from, to: to}
	m.reads[read] = struct{}{}
	m.ends[step] = max(m.ends[step], to)
	return read
}

// end keeps what a read found, but for what was changed meanwhile.
func (c *Cache) end(of cachedMetric, read *chunkRead, found []*chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.metrics[of]
	delete(m.reads, read)
	for _, ch := range found {
		if ch.over || c.blind || read.touched(ch) {
			continue
		}
		if old := m.chunks[ch.key]; old != nil {
			c.recent.Remove(old.place)
			c.used -= old.bytes
		}
		m.chunks[ch.key], ch.place = ch, c.recent.PushFront(ch)
		c.used += ch.bytes
	}
	c.release(of, m)
	for c.used > c.limit {
		oldest, _ := c.recent.Back().Value.(*chunk)
		c.drop(oldest)
	}
}

func (r *chunkRead) touched(ch *chunk) bool {
	for _, at := range r.changed {
		if at >= ch.from && at < ch.to {
			return true
		}
	}
	return false
}

// shapeOf is the same for questions that differ in their range only.
func shapeOf(q *store.RollupQuery) string {
	b := fmt.Appendf(nil, "%d %d %t %v", q.Step, q.Bucket, q.Scalars, q.GroupBy)
	for _, i := range slices.Sorted(maps.Keys(q.Where)) {
		b = fmt.Appendf(b, " %d%q", i, q.Where[i])
	}
	return string(b)
}
