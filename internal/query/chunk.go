package query

import (
	"container/list"
	"context"
	"slices"
	"time"
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// chunk is what was answered about one stretch of steps. It never changes, and holds sketches encoded: an aggregate cannot be
// read by several goroutines at once.
type chunk struct {
	of       cachedMetric
	key      chunkKey
	step     time.Duration // of the rollups in the store
	bucket   time.Duration
	from, to int64 // Unix nanoseconds
	labels   []series.Labels
	rows     []chunkRow
	index    map[string]uint32 // of labels; only while it is made
	bytes    int64
	over     bool // it is too large to keep
	made     time.Time
	place    *list.Element
}

// chunkRow is one rollup.
type chunkRow struct {
	start                int64
	count, values        uint64
	sum, low, high, last float64
	lastAt               int64
	labels               uint32
	sketches             []byte
}

// add takes a rollup that the store answered with, unless there are more than most bytes of them.
func (ch *chunk) add(r *series.Rollup, most int64) {
	if ch.over {
		return
	}
	key := r.Labels.Key()
	n, ok := ch.index[key]
	if !ok {
		n = uint32(len(ch.labels)) //nolint:gosec // as many as rows at most
		ch.labels = append(ch.labels, slices.Clone(r.Labels))
		ch.index[key] = n
		ch.bytes += int64(len(key) + 24)
	}
	a := &r.Agg
	row := chunkRow{start: r.Start.UnixNano(), count: a.Count, values: a.Values, sum: a.Sum, low: a.Min, high: a.Max, last: a.Last, lastAt: a.LastAt, labels: n}
	row.sketches = a.Sketches()
	ch.bytes += int64(len(row.sketches))
	ch.rows = append(ch.rows, row)
	if ch.size() > most {
		ch.over, ch.rows, ch.labels, ch.index = true, nil, nil, nil
	}
}

func (ch *chunk) size() int64 {
	return ch.bytes + int64(cap(ch.rows))*int64(unsafe.Sizeof(chunkRow{})) + int64(unsafe.Sizeof(chunk{}))
}

// seal ends the making.
func (ch *chunk) seal(now time.Time) {
	ch.index, ch.made = nil, now
	ch.rows = slices.Clip(ch.rows)
	ch.bytes = ch.size()
}

// each gives the rollups that start within from and to, as the store did.
func (ch *chunk) each(from, to int64, do func(*series.Rollup) error) error {
	r := series.Rollup{Tenant: ch.of.tenant, Metric: ch.of.metric, Step: ch.bucket}
	for i := range ch.rows {
		row := &ch.rows[i]
		if row.start < from || row.start >= to {
			continue
		}
		r.Start, r.Labels = time.Unix(0, row.start).UTC(), ch.labels[row.labels]
		r.Agg = series.Agg{Count: row.count, Values: row.values, Sum: row.sum, Min: row.low, Max: row.high, Last: row.last, LastAt: row.lastAt}
		if len(row.sketches) > 0 {
			if err := r.Agg.SetSketches(row.sketches); err != nil {
				return err
			}
		}
		if err := do(&r); err != nil {
			return err
		}
	}
	return nil
}

// part is a stretch of a question: of a chunk, or read from the store as it is.
type part struct {
	from, to int64
	direct   bool
	index    int64  // of the chunk
	kept     *chunk // nil: it must be read
}

// split cuts a question into parts. Chunks have whole buckets only, which are over, and are used where at least half
// of one is asked for.
func split(q *store.RollupQuery, width, closed int64) []part {
	bucket := int64(q.Bucket)
	to := q.To.UnixNano()
	whole := to - mod(to, bucket) // where the last whole bucket ends
	var parts []part
	for at := q.From.UnixNano(); at < to; {
		begin := at - mod(at, width)
		end := min(begin+width, whole)
		if mod(at, bucket) == 0 && begin+width <= closed && (end-at)*2 >= width {
			parts = append(parts, part{from: at, to: end, index: begin / width})
			at = end
			continue
		}
		next := begin + width
		if rest := mod(at, bucket); rest != 0 {
			next = at - rest + bucket
		}
		next = min(next, to)
		if n := len(parts); n > 0 && parts[n-1].direct {
			parts[n-1].to = next
		} else {
			parts = append(parts, part{from: at, to: next, direct: true})
		}
		at = next
	}
	return parts
}

// mod is never negative.
func mod(a, n int64) int64 { return ((a % n) + n) % n }

// chunkSteps is how many steps a chunk has.
func chunkSteps(bucket time.Duration) int64 {
	if bucket < time.Hour {
		return 60
	}
	return 24
}

// Rollups implements store.Events.
func (c *Cache) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	if q.Bucket == 0 {
		q.Bucket = q.Step
	}
	if q.Step <= 0 || q.Bucket < q.Step || q.Bucket%q.Step != 0 || q.Bucket > cacheWidest || q.From.IsZero() || q.To.IsZero() {
		return c.Events.Rollups(ctx, t, q, each)
	}
	width := chunkSteps(q.Bucket) * int64(q.Bucket)
	if (q.To.Unix()-q.From.Unix())/cacheLongest > width/int64(time.Second) {
		return c.Events.Rollups(ctx, t, q, each)
	}
	parts := split(&q, width, c.now().UnixNano())
	of, shape := cachedMetric{t, q.Metric}, shapeOf(&q)
	for i := range parts {
		if !parts[i].direct {
			parts[i].kept = c.find(of, chunkKey{shape, parts[i].index})
		}
	}
	for len(parts) > 0 {
		n := 1
		if parts[0].kept != nil {
			c.count(1, 0)
			if err := parts[0].kept.each(parts[0].from, parts[0].to, each); err != nil {
				return err
			}
		} else {
			// What must be read is read at once. A part that is no chunk can only be the last of it, and only behind the end of one,
			// for chunks are read whole.
			for !parts[n-1].direct && n < len(parts) && parts[n].kept == nil && (!parts[n].direct || mod(parts[n].from, width) == 0) {
				n++
			}
			if err := c.read(ctx, of, shape, &q, width, parts[:n], each); err != nil {
				return err
			}
		}
		parts = parts[n:]
	}
	return nil
}

func (c *Cache) count(hits, misses int) {
	c.mu.Lock()
	c.stats.Hits += uint64(hits)     //nolint:gosec // not negative
	c.stats.Misses += uint64(misses) //nolint:gosec // not negative
	c.mu.Unlock()
}

// read answers parts from the store, and keeps the chunks among them.
func (c *Cache) read(ctx context.Context, of cachedMetric, shape string, q *store.RollupQuery, width int64, parts []part, each func(*series.Rollup) error) error {
	ask := *q
	last := parts[len(parts)-1]
	if parts[0].direct {
		ask.From, ask.To = time.Unix(0, last.from).UTC(), time.Unix(0, last.to).UTC()
		return c.Events.Rollups(ctx, of.tenant, ask, each)
	}
	var chunks []*chunk
	for _, p := range parts {
		if !p.direct {
			chunks = append(chunks, &chunk{of: of, key: chunkKey{shape, p.index}, step: q.Step, bucket: q.Bucket, from: p.index * width, to: (p.index + 1) * width, index: map[string]uint32{}})
		}
	}
	c.count(0, len(chunks))
	from, to := chunks[0].from, chunks[len(chunks)-1].to
	ask.From, ask.To = time.Unix(0, from).UTC(), time.Unix(0, max(to, last.to)).UTC()
	if !last.direct && last.to < to {
		ask.To = time.Unix(0, to).UTC()
	}
	read := c.begin(of, q.Step, from, to)
	var found []*chunk
	defer func() { c.end(of, read, found) }()
	now, i := c.now(), 0
	if err := c.Events.Rollups(ctx, of.tenant, ask, func(r *series.Rollup) error {
		start := r.Start.UnixNano()
		for i < len(chunks) && start >= chunks[i].to {
			i++
		}
		if i < len(chunks) {
			chunks[i].add(r, c.limit/4)
		}
		if start < parts[0].from || start >= last.to {
			return nil
		}
		return each(r)
	}); err != nil {
		return err
	}
	for _, ch := range chunks {
		ch.seal(now)
	}
	found = chunks
	return nil
}
