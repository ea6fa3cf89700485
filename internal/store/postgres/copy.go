package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// copying is rows in COPY's binary format. It is written by hand, and not by pgx from values in interfaces, because that takes as long as the server's part.
type copying struct {
	b       []byte
	scratch []byte
}

// begin begins anew, in the same memory.
func (c *copying) begin() {
	c.b = append(c.b[:0], "PGCOPY\n\xff\r\n\x00"+"\x00\x00\x00\x00"+"\x00\x00\x00\x00"...) // no flags, no extension
}

// into sends the rows to a table of the transaction.
func (c *copying) into(ctx context.Context, tx pgx.Tx, table string) error {
	c.b = append(c.b, 0xff, 0xff)
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.b), `COPY `+table+` FROM STDIN BINARY`)
	return err
}

func (c *copying) row(columns int) { c.b = binary.BigEndian.AppendUint16(c.b, uint16(columns)) } //nolint:gosec // a few

func (c *copying) length(n int) { c.b = binary.BigEndian.AppendUint32(c.b, uint32(n)) } //nolint:gosec // less than a commit

func (c *copying) null() { c.b = append(c.b, 0xff, 0xff, 0xff, 0xff) }

func (c *copying) int64(v int64) {
	c.length(8)
	c.b = binary.BigEndian.AppendUint64(c.b, uint64(v)) //nolint:gosec // its bits
}

func (c *copying) int32(v int32) {
	c.length(4)
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(v)) //nolint:gosec // its bits
}

func (c *copying) float64(v float64) {
	c.length(8)
	c.b = binary.BigEndian.AppendUint64(c.b, math.Float64bits(v))
}

func (c *copying) bool(v bool) {
	c.length(1)
	if v {
		c.b = append(c.b, 1)
	} else {
		c.b = append(c.b, 0)
	}
}

func (c *copying) text(s string) {
	if strings.IndexByte(s, 0) >= 0 || strings.IndexByte(s, 1) >= 0 {
		s = packed(s)
	}
	c.length(len(s))
	c.b = append(c.b, s...)
}

// optional is a text, null for nil.
func (c *copying) optional(b []byte) {
	if b == nil {
		c.null()
		return
	}
	if bytes.IndexByte(b, 0) >= 0 || bytes.IndexByte(b, 1) >= 0 {
		b = appendPacked(nil, b)
	}
	c.bytes(b)
}

func (c *copying) bytes(b []byte) {
	c.length(len(b))
	c.b = append(c.b, b...)
}

// texts is a text[].
func (c *copying) texts(all []string) {
	const oid, noNulls, lowerBound = 25, 0, 1
	at := len(c.b)
	c.length(0)
	if len(all) == 0 {
		for _, v := range []uint32{0, noNulls, oid} {
			c.b = binary.BigEndian.AppendUint32(c.b, v)
		}
	} else {
		for _, v := range []uint32{1, noNulls, oid, uint32(len(all)), lowerBound} { //nolint:gosec // a few
			c.b = binary.BigEndian.AppendUint32(c.b, v)
		}
		for _, s := range all {
			c.text(s)
		}
	}
	binary.BigEndian.PutUint32(c.b[at:], uint32(len(c.b)-at-4)) //nolint:gosec // less than a commit
}

// event is a row of one.
func (c *copying) event(ev *event.Stored) {
	c.row(14)
	c.int64(ev.Time.UnixNano())
	c.int64(ev.Received.UnixNano())
	c.int64(int64(ev.Seq)) //nolint:gosec // check refuses larger ones, as it does for those that follow
	c.int64(c.finder(ev.Tenant, ev.Source, ev.ID))
	c.int32(int32(ev.Index))     //nolint:gosec // as above
	c.int32(int32(ev.Partition)) //nolint:gosec // as above
	c.bool(ev.Identified)
	c.text(string(ev.Tenant))
	c.text(ev.Source)
	c.text(ev.Type)
	c.text(ev.ID)
	c.text(ev.Subject)
	c.optional(ev.Data)
	c.optional(ev.Extensions)
}

// finder is what an event is looked up by. Others may have the same.
func (c *copying) finder(t tenant.ID, source, id string) int64 {
	b := append(append(c.scratch[:0], t...), 0)
	b = append(append(append(b, source...), 0), id...)
	c.scratch = b
	return int64(xxhash.Sum64(b)) //nolint:gosec // its bits
}

// rollups has a row for each rollup.
func (c *copying) rollups(partition int, all []series.Rollup) {
	c.begin()
	for i := range all {
		c.rollup(partition, &all[i])
	}
}

func (c *copying) rollup(partition int, r *series.Rollup) {
	c.row(14)
	c.int64(r.Start.UnixNano())
	c.int64(r.Metric)
	c.agg(&r.Agg)
	c.int32(int32(partition)) //nolint:gosec // as above
	c.text(string(r.Tenant))
	key := seriesKey(r.Labels)
	c.bytes(key[:])
	c.texts(r.Labels)
	c.scratch = r.Agg.AppendSketches(c.scratch[:0])
	if len(c.scratch) == 0 {
		c.null()
	} else {
		c.bytes(c.scratch)
	}
}

// agg is the seven columns of an aggregate without its sketches.
func (c *copying) agg(a *series.Agg) {
	c.int64(int64(a.Count))  //nolint:gosec // far from the end
	c.int64(int64(a.Values)) //nolint:gosec // as above
	c.float64(a.Sum)
	if a.Values == 0 {
		for range 4 {
			c.null()
		}
		return
	}
	c.float64(a.Min)
	c.float64(a.Max)
	c.float64(a.Last)
	c.int64(a.LastAt)
}

// digest is 16 bytes of a SHA-256: no sender can make two texts that have the same.
type digest [16]byte

// seriesKey stands for labels where they would be too long: an index takes no more than 2.7 kB.
func seriesKey(l series.Labels) digest {
	var stack [256]byte
	b := l.AppendKey(stack[:0])
	b = append(b, byte(len(l)&0xff)) // labels of the same key and another number are others
	return digestOf(b)
}

func digestOf(b []byte) digest {
	sum := sha256.Sum256(b)
	return digest(sum[:16])
}
