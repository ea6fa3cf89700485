package duckdb

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	headColumns  = `tenant, "partition", seq, idx, id, source, type, subject, "time", received, identified`
	eventColumns = headColumns + `, data, extensions`
	newestFirst  = ` ORDER BY "time" DESC, seq DESC, idx DESC`
)

// stored reads an event from eventColumns, or from headColumns when withData is false. Strings that repeat are taken from in.
func (r *result) stored(row int, withData bool, in interner) event.Stored {
	ev := event.Stored{
		Tenant: tenant.ID(in.string(r.view(0, row))), Partition: int(r.int32(1, row)),
		Position: event.Position{Seq: r.uint64(2, row), Index: r.uint32(3, row)},
		Event: event.Event{
			ID: r.string(4, row), Source: in.string(r.view(5, row)), Type: in.string(r.view(6, row)), Subject: r.string(7, row),
			Time: time.Unix(0, r.int64(8, row)).UTC(), Received: time.Unix(0, r.int64(9, row)).UTC(), Identified: r.bool(10, row),
		},
	}
	if withData {
		ev.Data, ev.Extensions = r.bytes(11, row), r.bytes(12, row)
	}
	return ev
}

// interner keeps one copy of the few strings that most rows share.
type interner map[string]string

func (in interner) string(b []byte) string {
	if s, ok := in[string(b)]; ok {
		return s
	}
	if len(in) >= 4096 {
		clear(in)
	}
	s := string(b)
	in[s] = s
	return s
}

// Page implements store.Events. It looks at the newest stretch of time first and widens it until the page is full: the
// zone maps of "time" leave out all rows before it, however many there are.
func (s *Store) Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error) {
	upto := s.newest.Load()
	if p.After != nil {
		upto = min(upto, p.After.Time.UnixNano())
	}
	if !p.To.IsZero() {
		upto = min(upto, p.To.UnixNano()-1)
	}
	var page []event.Stored
	err := s.read(ctx, func(c *conn) error {
		for width := 15 * time.Minute; ; width *= 16 {
			from := int64(math.MinInt64)
			if width <= 100*24*time.Hour {
				from = upto - int64(width)
			}
			w := ofTenant(t)
			w.and(`"time" >= %s AND "time" <= %s`, from, upto)
			w.matching(&p.EventFilter)
			if a := p.After; a != nil {
				w.and(`("time" < %s OR seq < %s OR seq = %s AND idx < %s)`, a.Time.UnixNano(), a.Seq, a.Seq, a.Index)
			}
			r, err := c.query(ctx, `SELECT `+eventColumns+` FROM events WHERE `+w.sql+newestFirst+` LIMIT `+w.param(p.Limit), w.args...)
			if err != nil {
				return err
			}
			page = r.all(interner{})
			if len(page) == p.Limit || from == math.MinInt64 || !p.From.IsZero() && from <= p.From.UnixNano() {
				return nil
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// all reads the rest of a result of eventColumns and closes it.
func (r *result) all(in interner) []event.Stored {
	defer r.close()
	var events []event.Stored
	for r.next() {
		for i := range r.rows {
			events = append(events, r.stored(i, true, in))
		}
	}
	return events
}

// finder is what an event is looked for by. Two may have the same.
func finder(source, id string) uint32 {
	var stack [256]byte
	b := append(stack[:0], source...)
	b = append(b, 0)
	b = append(b, id...)
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, t tenant.ID, source, id string) (event.Stored, error) {
	var found []event.Stored
	err := s.read(ctx, func(c *conn) error {
		w := ofTenant(t)
		w.and(`finder = %s AND id = %s AND source = %s`, finder(source, id), id, source)
		r, err := c.query(ctx, `SELECT `+eventColumns+` FROM events WHERE `+w.sql+` ORDER BY received, seq, idx LIMIT 1`, w.args...)
		if err != nil {
			return err
		}
		found = r.all(interner{})
		return nil
	})
	if err != nil {
		return event.Stored{}, err
	}
	if len(found) == 0 {
		return event.Stored{}, fmt.Errorf("event %q of source %q: %w", id, source, store.ErrNotFound)
	}
	return found[0], nil
}
