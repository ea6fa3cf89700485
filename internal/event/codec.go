package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// The form of a batch in the log: a version byte, then each event as length-prefixed fields. Checksum and
// numbering are the bus's, around it.
const codecVersion = 1

const (
	flagIdentified = 1 << iota
	flagData
	flagExtensions
)

// ErrCodec is returned for bytes that are not a batch of this version.
var ErrCodec = errors.New("not an encoded batch of events")

// BeginBatch starts an encoded batch.
func BeginBatch(dst []byte) []byte { return append(dst, codecVersion) }

// AppendEvent adds one event to an encoded batch.
func AppendEvent(dst []byte, t tenant.ID, ev *Event) []byte {
	var flags byte
	if ev.Identified {
		flags |= flagIdentified
	}
	if ev.Data != nil {
		flags |= flagData
	}
	if ev.Extensions != nil {
		flags |= flagExtensions
	}
	dst = append(dst, flags)
	for _, s := range [...]string{string(t), ev.ID, ev.Source, ev.Type, ev.Subject} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	dst = binary.AppendVarint(dst, ev.Time.UnixNano())
	dst = binary.AppendVarint(dst, ev.Received.UnixNano())
	if ev.Data != nil {
		dst = append(binary.AppendUvarint(dst, uint64(len(ev.Data))), ev.Data...)
	}
	if ev.Extensions != nil {
		dst = append(binary.AppendUvarint(dst, uint64(len(ev.Extensions))), ev.Extensions...)
	}
	return dst
}

// Decoder reads batches. It keeps the distinct tenants, sources and types, of which there are few, so that they are not allocated anew.
type Decoder struct {
	interned map[string]string
	recent   [1 << recentBits]string // the last ones, by slot: most are found here
}

const (
	maxInterned = 4096
	recentBits  = 8
)

// Spread spreads names over 64 bits, of which the first are the best, by their length and ends: there they differ. It is for finding again, in a small table, one of few
// that come again and again; names of any number can be made that spread alike.
func Spread(s string) uint64 {
	var first, last uint64
	if n := len(s); n >= 8 {
		b := unsafe.Slice(unsafe.StringData(s), n) //nolint:gosec // only read
		first, last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	} else {
		for i := range n {
			first = first<<8 | uint64(s[i])
		}
	}
	const odd = 0x9e3779b97f4a7c15 // 2^64 by the golden ratio
	return ((first^uint64(len(s)))*odd ^ last) * odd
}

func (d *Decoder) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	recent := &d.recent[Spread(view(b))>>(64-recentBits)]
	if *recent == string(b) {
		return *recent
	}
	s, ok := d.interned[string(b)]
	if !ok {
		if d.interned == nil || len(d.interned) >= maxInterned {
			d.interned = make(map[string]string, 64)
		}
		s = string(b)
		d.interned[s] = s
	}
	*recent = s
	return s
}

// Decode calls each with every event of a batch, in order. ID, Subject, Data and Extensions are views of b: they say what b says, and as long as
// one of them is kept, all of b is. Who keeps one for longer than the batch has to copy it (strings.Clone, bytes.Clone); b must not
// change before. Tenant, Source and Type are the decoder's own, and may be kept. Position.Seq and Partition are the caller's to set; Index
// counts from 0.
func (d *Decoder) Decode(b []byte, each func(Stored) error) error {
	r, err := begin(b)
	if err != nil {
		return err
	}
	for i := uint32(0); len(r.b) > 0; i++ {
		var ev Stored
		if !d.next(&r, &ev) {
			return fmt.Errorf("%w: event %d is cut short", ErrCodec, i)
		}
		ev.Index = i
		if err := each(ev); err != nil {
			return err
		}
	}
	return nil
}

// fewEvents is for how many more there is room at least when there was none.
const fewEvents = 64

// Append is Decode into the memory of dst. After an error it has the events before what is wrong.
func (d *Decoder) Append(dst []Stored, b []byte) ([]Stored, error) {
	r, err := begin(b)
	if err != nil {
		return dst, err
	}
	for i := uint32(0); len(r.b) > 0; i++ {
		n := len(dst)
		if n < cap(dst) {
			dst = dst[:n+1]
			dst[n] = Stored{}
		} else {
			dst = append(slices.Grow(dst, max(n, fewEvents)), Stored{})
		}
		if !d.next(&r, &dst[n]) {
			return dst[:n], fmt.Errorf("%w: event %d is cut short", ErrCodec, i)
		}
		dst[n].Index = i
	}
	return dst, nil
}

func begin(b []byte) (reader, error) {
	if len(b) == 0 || b[0] != codecVersion {
		return reader{}, fmt.Errorf("%w: unknown version", ErrCodec)
	}
	return reader{b: b[1:]}, nil
}

func (d *Decoder) next(r *reader, ev *Stored) (ok bool) {
	flags := r.byte()
	ev.Tenant = tenant.ID(d.intern(r.bytes()))
	ev.ID = view(r.bytes())
	ev.Source = d.intern(r.bytes())
	ev.Type = d.intern(r.bytes())
	ev.Subject = view(r.bytes())
	ev.Time = time.Unix(0, r.varint()).UTC()
	ev.Received = time.Unix(0, r.varint()).UTC()
	ev.Identified = flags&flagIdentified != 0
	if flags&flagData != 0 {
		ev.Data = r.bytes()
	}
	if flags&flagExtensions != 0 {
		ev.Extensions = r.bytes()
	}
	return !r.bad
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes() []byte {
	if len(r.b) > 0 && int(r.b[0]) < min(len(r.b), 0x80) { // a length in one byte, as most are
		n := 1 + int(r.b[0])
		out := r.b[1:n:n]
		r.b = r.b[n:]
		return out
	}
	n, k := binary.Uvarint(r.b)
	if k <= 0 || n > uint64(len(r.b)-k) { //nolint:gosec // k is at most len(r.b)
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[k : k+int(n) : k+int(n)] //nolint:gosec // n is within len(r.b)
	r.b = r.b[k+int(n):]                //nolint:gosec // n is within len(r.b)
	return out
}

func (r *reader) varint() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}
