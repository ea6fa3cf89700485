package segment

import (
	"encoding/binary"
	"math"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/offheap"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Tail is events in memory, in the order in which they were added. It holds no pointer for an event, so hundreds of thousands of them cost
// the garbage collector nothing. Adding is for one goroutine at a time; a View may be read while more is added, until Free.
type Tail struct {
	// Memory is where events go; nil: the garbage collector's.
	Memory *offheap.Slabs

	slabs   []offheap.Slab
	left    []byte // of the last slab
	tenants map[tenant.ID]*rows
	order   []*rows // by first event
	last    *rows   // that an event was added to
	count   int
	bytes   int
}

// row is an event but for its texts, which are in the arena.
type row struct {
	time, received int64 // Unix nanoseconds
	seq            uint64
	hash           uint64 // of source and id
	index          uint32
	kind, source   uint32 // into names
	chunk, off     uint32 // of the texts
	flags          uint8
}

func (r *row) position() event.Position { return event.Position{Seq: r.seq, Index: r.index} }

const (
	flagIdentified = 1 << iota
	flagData
	flagExtensions
)

const (
	minRows, maxRows   = 16, 1024          // in a chunk of rows; chunks double
	minArena, maxArena = 2 << 10, 64 << 10 // bytes in a chunk of texts
	textHeader         = 12
	rowSize            = int(unsafe.Sizeof(row{}))
)

// rows is what one tenant has.
type rows struct {
	View
	ids    map[string]uint32       // of names
	recent [1 << recentBits]uint32 // some of names, by where they spread: most are found here
	used   int                     // bytes of the last chunk of the arena
	filled int                     // rows of the last chunk of rows
	last   event.Position          // of the row before
}

// View is a tenant's events in a Tail at one moment.
type View struct {
	Tenant    tenant.ID
	Partition int
	N         int
	// Bounds of what the rows have.
	MinTime, MaxTime         int64
	MinSeq, MaxSeq           uint64
	MinReceived, MaxReceived int64

	mixed  bool // the rows are not in the order of the log
	names  []string
	chunks [][]row
	arena  [][]byte
}

// Add appends a copy of an event.
func (t *Tail) Add(ev *event.Stored) {
	r := t.last
	if r == nil || r.Tenant != ev.Tenant {
		r = t.of(ev.Tenant, ev.Partition)
	}
	at, received := ev.Time.UnixNano(), ev.Received.UnixNano()
	size := textHeader + len(ev.ID) + len(ev.Subject) + len(ev.Data) + len(ev.Extensions)
	dst, chunk, off := t.room(r, size)
	n := row{time: at, received: received, seq: ev.Seq, index: ev.Index, hash: hash(ev.Source, ev.ID),
		kind: r.name(ev.Type), source: r.name(ev.Source), chunk: chunk, off: off}
	if ev.Identified {
		n.flags |= flagIdentified
	}
	if ev.Data != nil {
		n.flags |= flagData
	}
	if ev.Extensions != nil {
		n.flags |= flagExtensions
	}
	binary.LittleEndian.PutUint16(dst, uint16(len(ev.ID)))             //nolint:gosec // bounded: see CheckAttribute
	binary.LittleEndian.PutUint16(dst[2:], uint16(len(ev.Subject)))    //nolint:gosec // likewise
	binary.LittleEndian.PutUint32(dst[4:], uint32(len(ev.Data)))       //nolint:gosec // at most MaxBytes
	binary.LittleEndian.PutUint32(dst[8:], uint32(len(ev.Extensions))) //nolint:gosec // likewise
	dst = dst[textHeader:]
	dst = dst[copy(dst, ev.ID):]
	dst = dst[copy(dst, ev.Subject):]
	dst = dst[copy(dst, ev.Data):]
	copy(dst, ev.Extensions)
	t.add(r, &n)
	t.count++
	t.bytes += size + rowSize
}

// Free gives the memory back. Nobody may read a View any more, nor what one has given.
func (t *Tail) Free() {
	if t.Memory != nil {
		t.Memory.Give(&t.slabs)
	}
	*t = Tail{Memory: t.Memory}
}

// chunk gives n bytes that hold anything, or fewer but at least least, so that the end of a slab is not wasted. They begin at a multiple of 8.
func (t *Tail) chunk(n, least int) []byte {
	if t.Memory == nil || least > offheap.SlabSize {
		return make([]byte, n)
	}
	if len(t.left) < least {
		s := t.Memory.Take()
		t.slabs = append(t.slabs, s)
		t.left = s.Bytes
	}
	n = min(n, len(t.left))
	b := t.left[:n:n]
	t.left = t.left[min((n+7)&^7, len(t.left)):]
	return b
}

// Fits says whether an event's texts are short enough to be kept.
func Fits(ev *event.Stored) bool {
	return len(ev.ID) <= math.MaxUint16 && len(ev.Subject) <= math.MaxUint16 && len(ev.Data) < math.MaxInt32 && len(ev.Extensions) < math.MaxInt32
}

// Len is the number of events.
func (t *Tail) Len() int { return t.count }

// Bytes is about what they take in memory.
func (t *Tail) Bytes() int { return t.bytes }

// View returns the tenant's events; false when there are none.
func (t *Tail) View(id tenant.ID) (View, bool) {
	r := t.tenants[id]
	if r == nil {
		return View{}, false
	}
	return r.View, true
}

// Views returns the events of all tenants of a partition.
func (t *Tail) Views(partition int) []View {
	var all []View
	for _, r := range t.order {
		if r.Partition == partition {
			all = append(all, r.View)
		}
	}
	return all
}

func (t *Tail) of(id tenant.ID, partition int) *rows {
	r := t.tenants[id]
	if r == nil {
		if t.tenants == nil {
			t.tenants = map[tenant.ID]*rows{}
		}
		r = &rows{View: View{Tenant: id, Partition: partition, MinTime: math.MaxInt64, MaxTime: math.MinInt64, MinSeq: math.MaxUint64,
			MinReceived: math.MaxInt64, MaxReceived: math.MinInt64}, ids: map[string]uint32{}}
		t.tenants[id] = r
		t.order = append(t.order, r)
	}
	t.last = r
	return r
}

const recentBits = 5

func (r *rows) name(s string) uint32 {
	recent := &r.recent[event.Spread(s)>>(64-recentBits)]
	if i := *recent; int(i) < len(r.names) && r.names[i] == s {
		return i
	}
	i, ok := r.ids[s]
	if !ok {
		i = r.added(s)
	}
	*recent = i
	return i
}

// added adds a name.
func (r *rows) added(s string) uint32 {
	s = string(append([]byte(nil), s...)) // it may be a view
	i := uint32(len(r.names))             //nolint:gosec // fewer than rows
	r.names = append(r.names, s)
	r.ids[s] = i
	return i
}

// room reserves bytes of a tenant's texts.
func (t *Tail) room(r *rows, size int) (dst []byte, chunk, off uint32) {
	n := len(r.arena)
	if n == 0 || len(r.arena[n-1])-r.used < size {
		next := minArena
		if n > 0 {
			next = min(2*len(r.arena[n-1]), maxArena)
		}
		r.arena = append(r.arena, t.chunk(max(next, size), size))
		r.used = 0
		n++
	}
	dst = r.arena[n-1][r.used : r.used+size]
	chunk, off = uint32(n-1), uint32(r.used) //nolint:gosec // within a chunk
	r.used += size
	return dst, chunk, off
}

func (t *Tail) add(r *rows, n *row) {
	last := len(r.chunks) - 1
	if last < 0 || r.filled == len(r.chunks[last]) {
		size := minRows
		if last >= 0 {
			size = min(2*len(r.chunks[last]), maxRows)
		}
		b := t.chunk(size*rowSize, rowSize)
		//nolint:gosec // rows hold no pointers, and chunks begin at a multiple of 8
		r.chunks, r.filled = append(r.chunks, unsafe.Slice((*row)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/rowSize)), 0
		last++
	}
	// A view that was taken before has N as it was, and looks at nothing behind.
	r.chunks[last][r.filled] = *n
	r.mixed = r.mixed || n.position().Before(r.last)
	r.last = n.position()
	r.filled++
	r.N++
	r.MinTime, r.MaxTime = min(r.MinTime, n.time), max(r.MaxTime, n.time)
	r.MinSeq, r.MaxSeq = min(r.MinSeq, n.seq), max(r.MaxSeq, n.seq)
	r.MinReceived, r.MaxReceived = min(r.MinReceived, n.received), max(r.MaxReceived, n.received)
}

// hash is what an event is looked for by. It is kept in files.
func hash(source, id string) uint64 {
	var room [160]byte // most fit
	return xxhash.Sum64(append(append(append(room[:0], source...), 0), id...))
}

// each calls f with every row, in the order in which they were added.
func (v *View) each(f func(*row)) {
	left := v.N
	for _, chunk := range v.chunks {
		n := min(left, len(chunk))
		for i := range n {
			f(&chunk[i])
		}
		left -= n
	}
}

// eachBack is each in the opposite order.
func (v *View) eachBack(f func(*row)) {
	first := 0 // row of the last chunk that this view sees
	last := 0
	for ; last < len(v.chunks) && first+len(v.chunks[last]) < v.N; last++ {
		first += len(v.chunks[last])
	}
	for n := v.N - first; last >= 0 && n > 0; {
		chunk := v.chunks[last]
		for i := n - 1; i >= 0; i-- {
			f(&chunk[i])
		}
		if last--; last >= 0 {
			n = len(v.chunks[last])
		}
	}
}

// texts finds the parts of a row's texts. They are views.
func (v *View) texts(r *row) (id, subject string, data, extensions []byte) {
	b := v.arena[r.chunk][r.off:]
	n, m := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	d, x := int(binary.LittleEndian.Uint32(b[4:])), int(binary.LittleEndian.Uint32(b[8:]))
	b = b[textHeader:]
	id, subject = view(b[:n]), view(b[n:n+m])
	b = b[n+m:]
	if r.flags&flagData != 0 {
		data = b[:d:d]
	}
	if r.flags&flagExtensions != 0 {
		extensions = b[d : d+x : d+x]
	}
	return id, subject, data, extensions
}

// event makes the event of a row; its texts are views.
func (v *View) event(r *row) event.Stored {
	ev := event.Stored{Tenant: v.Tenant, Partition: v.Partition, Position: event.Position{Seq: r.seq, Index: r.index}}
	ev.ID, ev.Subject, ev.Data, ev.Extensions = v.texts(r)
	ev.Type, ev.Source = v.names[r.kind], v.names[r.source]
	ev.Time, ev.Received = time.Unix(0, r.time).UTC(), time.Unix(0, r.received).UTC()
	ev.Identified = r.flags&flagIdentified != 0
	return ev
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // saves a copy of every text
