package duckdb

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/offheap"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/rollup"
	"github.com/pulsestream/pulsestream/internal/store/segment"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// recent is what commits have brought since the last flush. Readers see it beside what is on disk; a process that dies forgets it, and
// the partitions' owners bring it again from the log, because the offsets on disk are those of the last flush.
type recent struct {
	number int64 // of the flush that will write it
	since  time.Time
	tail   segment.Tail
	most   int // bytes of events with which it is full

	rollups map[metricKey]*recentRollups
	cells   int
	key     []byte // scratch

	usage   store.Counted
	offsets map[int]store.Offset
	parts   map[int]*recentPart
	// urgent are what cannot be brought again, or has to be seen by those who read only the tables: in the order of the commits.
	urgent []*store.Commit
	rest   uint64 // bytes that all but events and rollups will take

	readers int  // of the tail
	over    bool // it is on disk: the last reader frees the tail
}

type metricKey struct {
	tenant tenant.ID
	metric int64
}

// recentRollups is what a metric's commits have brought, merged.
type recentRollups struct {
	cells map[string]*series.Rollup // of minutes, by start and labels
}

// recentPart is what replaces what a partition had before.
type recentPart struct {
	fills  []store.Fill
	states []alert.State
	latest int // states when they were last reduced to the latest
	urgent []*store.Commit
}

func newRecent(number int64, most int, memory *offheap.Slabs) *recent {
	return &recent{number: number, tail: segment.Tail{Memory: memory}, most: most, rollups: map[metricKey]*recentRollups{}, offsets: map[int]store.Offset{}, parts: map[int]*recentPart{}}
}

// A flush is due when this much has been gathered, so that what a crash makes the owners do again takes a second or two, or when it is flushAge old. The more
// is written at a time, the less an event costs: twice as many take 5 % less of the whole.
const (
	flushRows  = 1 << 19
	flushBytes = 320 << 20 // of events; less where there is little memory
	flushCells = 1 << 16
	flushAge   = 2 * time.Second
)

// flushBytesOf is the bytes of events with which a flush is due, by what DuckDB may have, a quarter of the memory or so, of which it takes little. There are two
// such tails at a time, and memory for as much that is free.
func flushBytesOf(memoryLimit int64) int { return int(min(flushBytes, memoryLimit/8)) }

func (r *recent) empty() bool { return len(r.offsets) == 0 }

// full says that no more should be added before a flush.
func (r *recent) full() bool {
	return r.tail.Len() >= flushRows || r.tail.Bytes() >= r.most || r.cells >= flushCells
}

func (r *recent) due(now time.Time) bool {
	return !r.empty() && (r.full() || now.Sub(r.since) >= flushAge)
}

// isUrgent says whether a commit has to be on disk before it is told to have succeeded.
func isUrgent(c *store.Commit) bool { return len(c.Transitions)+len(c.Quarantine)+len(c.Released) > 0 }

// add takes a commit in.
func (r *recent) add(c *store.Commit, to store.Offset, now time.Time) {
	if r.empty() {
		r.since = now
	}
	r.offsets[c.Partition] = to
	for i := range c.Events {
		r.tail.Add(&c.Events[i])
		r.usage.Add(&c.Events[i])
	}
	r.addRollups(c.Rollups)
	r.rest += rest(c)
	if len(c.Fills)+len(c.States) > 0 {
		p := r.parts[c.Partition]
		if p == nil {
			p = &recentPart{}
			r.parts[c.Partition] = p
		}
		p.fills = append(p.fills, c.Fills...)
		if p.states = append(p.states, c.States...); len(p.states) > max(1<<14, 2*p.latest) {
			p.states = alert.Latest(p.states)
			p.latest = len(p.states)
		}
	}
	if isUrgent(c) {
		r.urgent = append(r.urgent, &store.Commit{Partition: c.Partition, Transitions: slices.Clone(c.Transitions),
			Quarantine: slices.Clone(c.Quarantine), Released: slices.Clone(c.Released)})
	}
}

func (r *recent) addRollups(rollups []series.Rollup) {
	var last metricKey
	var of *recentRollups
	for i := range rollups {
		u := &rollups[i]
		if k := (metricKey{u.Tenant, u.Metric}); of == nil || k != last {
			if of = r.rollups[k]; of == nil {
				of = &recentRollups{cells: map[string]*series.Rollup{}}
				r.rollups[k] = of
			}
			last = k
		}
		r.key = appendCellKey(r.key[:0], u)
		cell := of.cells[string(r.key)]
		if cell == nil {
			cell = &series.Rollup{Tenant: u.Tenant, Metric: u.Metric, Labels: slices.Clone(u.Labels), Step: u.Step, Start: u.Start}
			of.cells[string(r.key)] = cell
			r.cells++
		}
		cell.Agg.Merge(&u.Agg)
	}
}

func appendCellKey(key []byte, u *series.Rollup) []byte {
	key = binary.LittleEndian.AppendUint64(key, uint64(u.Start.UnixNano()))
	for _, l := range u.Labels {
		key = append(binary.AppendUvarint(key, uint64(len(l))), l...)
	}
	return key
}

// minutes are the rollups, in the order in which they are stored.
func (r *recent) minutes() []*series.Rollup {
	out := make([]*series.Rollup, 0, r.cells)
	for _, of := range r.rollups {
		for _, cell := range of.cells {
			out = append(out, cell)
		}
	}
	rollup.Sort(out)
	return out
}

// memory is what the store holds in memory of its own. Commits change it, and flushes hand over from it to the disk.
type memory struct {
	mu       sync.Mutex
	slabs    offheap.Slabs // of tails
	most     int           // bytes of a tail
	active   *recent       // what commits add to
	frozen   *recent       // what a flush is writing, nil when none is
	offsets  map[int]store.Offset
	unsure   map[int]unsure
	segments *files[*segment.Segment]
	rollups  *files[*rollup.File]
	// handover is held by a reader of tables from before its snapshot until it has what is not in that yet; a flush takes it alone to put what is on
	// disk now in the place of what was in memory.
	handover sync.RWMutex
}

// unsure is an urgent commit of which it was told that it failed, because it is not on disk. It waits in memory like all others, so when it is made again
// it is not added a second time.
type unsure struct {
	from, to store.Offset
	number   int64 // of the flush that will write it
}

func (m *memory) unsettled(c *store.Commit, to store.Offset, number int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unsure == nil {
		m.unsure = map[int]unsure{}
	}
	m.unsure[c.Partition] = unsure{c.From, to, number}
}

// read counts those who read the tails of recents, which stay until unread. It is called with mu held.
func (m *memory) read(all []*recent) {
	for _, r := range all {
		r.readers++
	}
}

func (m *memory) unread(all []*recent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range all {
		r.readers--
		r.free()
	}
}

// free gives a tail's memory back that nobody needs any more. It is called with mu held.
func (r *recent) free() {
	if r.over && r.readers == 0 {
		r.tail.Free()
	}
}

// settle makes the rollups of a frozen recent sound to be read by a flush and others at a time. Whoever reads is held off for one metric's at a time.
func (m *memory) settle(r *recent) {
	for _, of := range r.rollups {
		m.mu.Lock()
		for _, cell := range of.cells {
			cell.Agg.Freeze()
		}
		m.mu.Unlock()
	}
}

// recents are those that are not on disk as of flush number flushed, oldest first. It is called with mu held.
func (m *memory) recents(flushed int64) []*recent {
	var all []*recent
	for _, r := range []*recent{m.frozen, m.active} {
		if r != nil && r.number > flushed {
			all = append(all, r)
		}
	}
	return all
}

// Rest is what a store had in memory when it was closed and could not bring to disk.
type Rest struct {
	recents []*recent
	offsets map[int]store.Offset
	unsure  map[int]unsure
}

// Rest is for the store that is opened in the place of this one, which is closed: who has seen a commit goes on seeing it.
func (s *Store) Rest() *Rest {
	m := &s.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Rest{recents: m.recents(s.flushed.Load()), offsets: m.offsets, unsure: m.unsure}
}

// inherit takes up what another store had in memory, but for what is on disk as of a flush: of that, nobody knew.
func (m *memory) inherit(r *Rest, flushed int64) {
	var young []*recent
	for _, one := range r.recents {
		if one.number > flushed && !one.empty() {
			young = append(young, one)
		}
	}
	switch len(young) {
	case 0:
		return
	case 1:
		m.active = young[0]
	default:
		m.frozen, m.active = young[0], young[1]
	}
	m.offsets, m.unsure = r.offsets, r.unsure
}
