package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

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

// Decoder reads batches; it keeps the few distinct tenants, sources and types so that they are not allocated anew.
type Decoder struct{ interned map[string]string }

const maxInterned = 4096

func (d *Decoder) intern(b []byte) string {
	if s, ok := d.interned[string(b)]; ok {
		return s
	}
	if d.interned == nil || len(d.interned) >= maxInterned {
		d.interned = make(map[string]string, 64)
	}
	s := string(b)
	d.interned[s] = s
	return s
}

// Decode calls each with every event of a batch, in order. Data and Extensions are views of b. Position.Seq and
// Partition are the caller's to set; Index counts from 0.
func (d *Decoder) Decode(b []byte, each func(Stored) error) error {
	if len(b) == 0 || b[0] != codecVersion {
		return fmt.Errorf("%w: unknown version", ErrCodec)
	}
	r := reader{b: b[1:]}
	for i := uint32(0); len(r.b) > 0; i++ {
		var ev Stored
		flags := r.byte()
		ev.Tenant = tenant.ID(d.intern(r.bytes()))
		ev.ID = string(r.bytes())
		ev.Source = d.intern(r.bytes())
		ev.Type = d.intern(r.bytes())
		ev.Subject = string(r.bytes())
		ev.Time = time.Unix(0, r.varint()).UTC()
		ev.Received = time.Unix(0, r.varint()).UTC()
		ev.Identified = flags&flagIdentified != 0
		if flags&flagData != 0 {
			ev.Data = r.bytes()
		}
		if flags&flagExtensions != 0 {
			ev.Extensions = r.bytes()
		}
		if r.bad {
			return fmt.Errorf("%w: event %d is cut short", ErrCodec, i)
		}
		ev.Index = i
		if err := each(ev); err != nil {
			return err
		}
	}
	return nil
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
