package rollup

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/series"
)

// cells are aggregates by time and group. They keep their memory.
type cells struct {
	all   []cell
	slots []int32 // one more than an index of all, by hash; 0 for none
	shift int

	groups []series.Labels
	codes  map[string]int32 // of groups, by appendKey
	ranks  []int32          // of groups in the order of their labels
	order  []int32          // of cells
	more   []int32
	ends   []int32
	key    []byte
}

type cell struct {
	bucket int64
	group  int32
	agg    series.Agg
}

func (c *cells) reset() {
	if cap(c.all) > 1<<17 { // an unusual question
		c.all, c.slots, c.order, c.more = nil, nil, nil, nil
	}
	clear(c.all) // lets go of the sketches
	c.all = c.all[:0]
	clear(c.slots)
	clear(c.groups)
	c.groups = c.groups[:0]
	if len(c.codes) > 1<<12 {
		c.codes = nil
	}
	clear(c.codes)
}

// group is the code of the labels whose key is c.key; labels is called when they are new.
func (c *cells) group(labels func() series.Labels) int32 {
	code, ok := c.codes[string(c.key)]
	if !ok {
		if c.codes == nil {
			c.codes = map[string]int32{}
		}
		code = int32(len(c.groups)) //nolint:gosec // far fewer
		c.codes[string(c.key)] = code
		c.groups = append(c.groups, labels())
	}
	return code
}

func slotOf(bucket int64, group int32, shift int) uint64 {
	h := (uint64(bucket) ^ uint64(group)*0xbf58476d1ce4e5b9) * 0x9e3779b97f4a7c15 //nolint:gosec // bits are meant
	return h >> shift
}

// at is the aggregate of a bucket and group, empty when there was none. It is good until the next call.
func (c *cells) at(bucket int64, group int32) *series.Agg {
	if 2*len(c.all) >= len(c.slots) {
		c.grow(max(256, 4*len(c.slots)))
	}
	mask := uint64(len(c.slots) - 1) //nolint:gosec // not empty
	for i := slotOf(bucket, group, c.shift); ; i = (i + 1) & mask {
		s := c.slots[i]
		if s == 0 {
			c.all = append(c.all, cell{bucket: bucket, group: group})
			c.slots[i] = int32(len(c.all)) //nolint:gosec // far fewer
			return &c.all[len(c.all)-1].agg
		}
		if x := &c.all[s-1]; x.bucket == bucket && x.group == group {
			return &x.agg
		}
	}
}

// grow makes a table of n slots, a power of two, of what there is.
func (c *cells) grow(n int) {
	if cap(c.slots) < n {
		c.slots = make([]int32, n)
	}
	c.slots = c.slots[:n]
	clear(c.slots)
	c.shift = 64 - bits.TrailingZeros(uint(n))
	mask := uint64(n - 1) //nolint:gosec // positive
	for at := range c.all {
		i := slotOf(c.all[at].bucket, c.all[at].group, c.shift)
		for c.slots[i] != 0 {
			i = (i + 1) & mask
		}
		c.slots[i] = int32(at + 1)
	}
}

// emit gives the cells of buckets before end in the order of buckets and then of labels, and forgets them.
func (c *cells) emit(end int64, each func(bucket int64, labels series.Labels, a *series.Agg) error) error {
	c.sort(end)
	for _, i := range c.order {
		x := &c.all[i]
		if err := each(x.bucket, c.groups[x.group], &x.agg); err != nil {
			return err
		}
	}
	kept := c.all[:0]
	for i := range c.all {
		if c.all[i].bucket >= end {
			kept = append(kept, c.all[i])
		}
	}
	clear(c.all[len(kept):])
	c.all = kept
	if len(c.slots) > 0 {
		c.grow(len(c.slots))
	}
	return nil
}

// sort puts those cells into order that emit gives: they are counted into their groups, and then into their buckets.
func (c *cells) sort(end int64) {
	c.rank()
	c.more = c.more[:0]
	first, last := int64(0), int64(0)
	for i := range c.all {
		if b := c.all[i].bucket; b < end {
			if len(c.more) == 0 {
				first, last = b, b
			}
			first, last = min(first, b), max(last, b)
			c.more = append(c.more, int32(i))
		}
	}
	c.order = grown(c.order, len(c.more))
	if len(c.groups) > 1 {
		c.count(len(c.groups), c.order, c.more, func(i int32) int64 { return int64(c.ranks[c.all[i].group]) })
		c.more, c.order = c.order, c.more
	}
	if width := last - first; width < int64(4*len(c.more)+1024) {
		c.count(int(width)+1, c.order, c.more, func(i int32) int64 { return c.all[i].bucket - first })
		return
	}
	c.order = append(c.order[:0], c.more...) // few cells in a long time
	slices.SortStableFunc(c.order, func(a, b int32) int {
		if x, y := c.all[a].bucket, c.all[b].bucket; x < y {
			return -1
		} else if x > y {
			return 1
		}
		return 0
	})
}

// count puts what is in from into to, by a number below n of each; equal ones stay in their order.
func (c *cells) count(n int, to, from []int32, number func(int32) int64) {
	c.ends = grown(c.ends, n+1)
	clear(c.ends)
	for _, i := range from {
		c.ends[number(i)+1]++
	}
	for i := range n {
		c.ends[i+1] += c.ends[i]
	}
	for _, i := range from {
		at := number(i)
		to[c.ends[at]] = i
		c.ends[at]++
	}
}

// rank finds the places of the groups in the order of their labels.
func (c *cells) rank() {
	order := grown(c.order, len(c.groups))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return slices.CompareFunc(c.groups[a], c.groups[b], strings.Compare) })
	c.ranks = grown(c.ranks, len(c.groups))
	for at, i := range order {
		c.ranks[i] = int32(at)
	}
	c.order = order
}
