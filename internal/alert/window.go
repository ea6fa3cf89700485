package alert

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// maxBuckets is into how many buckets a window is divided at most: up to ten minutes they are one second wide.
const maxBuckets = 600

// shape is what the windows of one rule have in common. A bucket is numbered by its start divided by its width. A window is the n
// buckets up to the one that now falls into, so it is exact to one bucket: the second, or a six-hundredth of the window.
type shape struct {
	kind  series.Kind
	span  time.Duration
	width int64 // of a bucket, in seconds
	n     int64 // buckets in a window
	class class
	// perBlock is how many neighbouring buckets make a block, whose merged aggregate is kept.
	perBlock int64
}

// class is how the value of a window is had from its buckets.
type class int

const (
	// totals keep running sums: a bucket that leaves is subtracted.
	totals class = iota
	// extremes cannot be subtracted, but are few numbers.
	extremes
	// sketches cannot be subtracted, and are costly to merge.
	sketches
)

func shapeOf(k series.Kind, window time.Duration) shape {
	seconds := int64((window + time.Second - 1) / time.Second)
	width := max(1, (seconds+maxBuckets-1)/maxBuckets)
	s := shape{kind: k, span: window, width: width, n: max(1, (seconds+width-1)/width)}
	s.perBlock = int64(math.Ceil(math.Sqrt(float64(s.n))))
	switch k {
	case series.Count, series.Rate, series.Sum, series.Avg:
		s.class = totals
	case series.Min, series.Max, series.Last:
		s.class = extremes
	default:
		s.class = sketches
	}
	return s
}

// bucketOf is the number of the bucket that a Unix second falls into.
func (s *shape) bucketOf(second int64) int64 {
	b := second / s.width
	if second%s.width < 0 {
		b--
	}
	return b
}

// bucket is what happened in one stretch of time. Agg is nil for totals.
type bucket struct {
	at     int64
	count  uint64
	values uint64
	sum    float64
	agg    *series.Agg
}

// window is the buckets of one group that aren't empty, in order: those of [head, due) are in the window, those from
// due on begin later than now.
type window struct {
	buckets []bucket
	head    int
	due     int
	cur     int64 // the bucket that now fell into at the last advance
	total   total

	// For what cannot be subtracted: all of [head, due), and of it all but the oldest block, which is the one that buckets
	// leave from. Nil when it is to be made anew from the blocks, and these from their buckets.
	merged *series.Agg
	rest   *series.Agg
	oldest int64                 // the block that rest is without
	blocks map[int64]*series.Agg // those that are known
}

// never is a bucket before all others, far enough from the end of int64 to count from.
const never = math.MinInt64 / 2

func newWindow() window { return window{cur: never} }

// empty says whether there is nothing in the window, and nothing to come.
func (w *window) empty() bool { return w.head == len(w.buckets) }

// add counts what one second of one series has seen; at is not before the window.
func (w *window) add(s *shape, at int64, d *series.Agg) {
	i := len(w.buckets)
	if i > w.head && w.buckets[i-1].at >= at {
		live := w.buckets[w.head:]
		i = w.head + sort.Search(len(live), func(k int) bool { return live[k].at >= at })
	}
	if i == len(w.buckets) || w.buckets[i].at != at {
		w.buckets = slices.Insert(w.buckets, i, bucket{at: at})
		if at <= w.cur {
			w.due++
		}
	}
	b := &w.buckets[i]
	b.count += d.Count
	b.values += d.Values
	b.sum += d.Sum
	if s.class != totals {
		if b.agg == nil {
			b.agg = &series.Agg{}
		}
		b.agg.Merge(s.relevant(d))
	}
	if at <= w.cur {
		w.total.add(d.Count, d.Values, d.Sum)
		w.enter(s, at, d)
	}
}

// relevant leaves out what extremes don't need: the sketches.
func (s *shape) relevant(d *series.Agg) *series.Agg {
	if s.class == sketches {
		return d
	}
	return &series.Agg{Count: d.Count, Values: d.Values, Sum: d.Sum, Min: d.Min, Max: d.Max, Last: d.Last, LastAt: d.LastAt}
}

// advance moves the window to end with the bucket cur.
func (w *window) advance(s *shape, cur int64) {
	if cur < w.cur {
		w.rewind(cur)
	}
	w.cur = cur
	left := w.head
	for ; w.head < w.due && w.buckets[w.head].at <= cur-s.n; w.head++ {
		b := &w.buckets[w.head]
		w.total.remove(b)
		w.leave(s, b.at)
		b.agg = nil
	}
	for ; w.due < len(w.buckets) && w.buckets[w.due].at <= cur; w.due++ {
		b := &w.buckets[w.due]
		if b.at <= cur-s.n { // has come and gone between two looks, and so has everything before it
			w.head, b.agg = w.due+1, nil
			continue
		}
		w.total.add(b.count, b.values, b.sum)
		w.enter(s, b.at, b.agg)
	}
	if w.head > left {
		w.settle()
	}
}

// settle makes up for what subtraction loses, and gives back the room of buckets that have left.
func (w *window) settle() {
	if w.head == w.due {
		w.total = total{}
	} else if w.total.doubtful() {
		w.recount()
	}
	if w.head > len(w.buckets)/2 {
		kept := copy(w.buckets, w.buckets[w.head:])
		clear(w.buckets[kept:])
		w.buckets = w.buckets[:kept]
		w.due -= w.head
		w.head = 0
		if cap(w.buckets) > 4*(kept+8) {
			w.buckets = slices.Clone(w.buckets)
		}
	}
}

// rewind handles a clock that was set back: buckets that were in the window are to come once more. Those that have
// left are gone.
func (w *window) rewind(cur int64) {
	for w.due > w.head && w.buckets[w.due-1].at > cur {
		w.due--
	}
	w.recount()
	w.merged, w.rest = nil, nil
	clear(w.blocks)
}

// enter counts d, of the bucket at, in what is merged already.
func (w *window) enter(s *shape, at int64, d *series.Agg) {
	if s.class == totals {
		return
	}
	d = s.relevant(d)
	block := s.blockOf(at)
	if w.merged != nil {
		w.merged.Merge(d)
	}
	if w.rest != nil && block != w.oldest {
		w.rest.Merge(d)
	}
	if known := w.blocks[block]; known != nil {
		known.Merge(d)
	}
}

// leave forgets what is merged of the bucket at.
func (w *window) leave(s *shape, at int64) {
	if s.class == totals {
		return
	}
	block := s.blockOf(at)
	w.merged = nil
	if block != w.oldest {
		w.rest = nil
	}
	delete(w.blocks, block)
}

// value is the window's value, whether it has one, and how many observations it is made of.
func (w *window) value(s *shape) (v float64, has bool, count uint64) {
	if s.class == totals {
		t := series.Agg{Count: w.total.count, Values: w.total.values, Sum: w.total.sum}
		if v, has = t.Value(s.kind, s.span); !has && math.IsInf(t.Sum, 0) {
			v, has = t.Sum, true // too large to be said, but a rule knows which side of its threshold that is
		}
		return v, has, t.Count
	}
	if w.merged == nil {
		w.merge(s)
	}
	v, has = w.merged.Value(s.kind, s.span)
	return v, has, w.merged.Count
}

// merge makes merged anew. Mostly that takes the buckets that are left of the oldest block, and rest.
func (w *window) merge(s *shape) {
	w.merged = &series.Agg{}
	if w.head == w.due {
		return
	}
	oldest := s.blockOf(w.buckets[w.head].at)
	end := w.mergeBlock(s, w.head, w.merged)
	if w.rest == nil || w.oldest != oldest {
		w.rest, w.oldest = &series.Agg{}, oldest
		for end < w.due {
			end = w.mergeBlock(s, end, w.rest)
		}
	}
	w.merged.Merge(w.rest)
}

// mergeBlock adds the block that begins with bucket i to a, and returns where the next one begins.
func (w *window) mergeBlock(s *shape, i int, a *series.Agg) (next int) {
	block := s.blockOf(w.buckets[i].at)
	known := w.blocks[block]
	fresh := known == nil
	if fresh {
		known = &series.Agg{}
	}
	for ; i < w.due && s.blockOf(w.buckets[i].at) == block; i++ {
		if fresh {
			known.Merge(w.buckets[i].agg)
		}
	}
	if w.blocks == nil {
		w.blocks = make(map[int64]*series.Agg)
	}
	w.blocks[block] = known
	a.Merge(known)
	return i
}

// blockOf is the number of the block that a bucket belongs to. With as many buckets in a block as blocks in a window, a
// look merges at most twice the root of the buckets, and mostly far fewer.
func (s *shape) blockOf(at int64) int64 { return at / s.perBlock }

// next is the first bucket in which the value may change though nothing is added: something leaves, or becomes due.
func (w *window) next(s *shape) int64 {
	next := int64(math.MaxInt64)
	if w.head < w.due {
		next = w.buckets[w.head].at + s.n
	}
	if w.due < len(w.buckets) {
		next = min(next, w.buckets[w.due].at)
	}
	return next
}

func (w *window) recount() {
	w.total = total{}
	for i := w.head; i < w.due; i++ {
		b := &w.buckets[i]
		w.total.add(b.count, b.values, b.sum)
	}
}

// total is a running total. A sum of floating-point numbers loses digits with each subtraction, and all of them when a
// huge value leaves: lost bounds what is lost, so that the sum is made anew before anybody could see it.
type total struct {
	count  uint64
	values uint64
	sum    float64
	scale  float64 // the sum of the magnitudes
	lost   float64
}

const epsilon = 0x1p-52

func (t *total) add(count, values uint64, sum float64) {
	t.count += count
	t.values += values
	t.sum += sum
	t.scale += math.Abs(sum)
	t.lost += t.scale * epsilon
}

func (t *total) remove(b *bucket) {
	t.count -= b.count
	t.values -= b.values
	t.lost += t.scale * epsilon
	t.sum -= b.sum
	t.scale = math.Max(0, t.scale-math.Abs(b.sum))
}

// doubtful says that the sum must be made anew; also when it has overflowed.
func (t *total) doubtful() bool { return math.IsInf(t.scale, 0) || !(t.lost <= t.scale*1e-12) }
