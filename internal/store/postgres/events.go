package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	headColumns  = `time, received, seq, idx, "partition", identified, source, type, id, subject`
	eventColumns = headColumns + `, data, extensions`
)

// scanner reads events of one tenant. Sources and types repeat, and are kept once.
type scanner struct {
	tenant tenant.ID
	plain  bool // without data and extensions
	texts  map[string]string
}

func newScanner(t tenant.ID, plain bool) *scanner {
	return &scanner{tenant: t, plain: plain, texts: map[string]string{}}
}

// keep is the text that is stored as b.
func (s *scanner) keep(b []byte) string {
	if t, ok := s.texts[string(b)]; ok {
		return t
	}
	t := unpacked(string(b))
	if len(s.texts) < 4096 {
		s.texts[string(b)] = t
	}
	return t
}

func (s *scanner) scan(row pgx.Rows, ev *event.Stored) error {
	var at, received, seq int64
	var idx int32
	var source, kind view
	into := []any{&at, &received, &seq, &idx, &ev.Partition, &ev.Identified, &source, &kind, &ev.ID, &ev.Subject, &ev.Data, &ev.Extensions}
	if s.plain {
		into = into[:10]
	}
	if err := row.Scan(into...); err != nil {
		return err
	}
	ev.Tenant, ev.Time, ev.Received = s.tenant, time.Unix(0, at).UTC(), time.Unix(0, received).UTC()
	ev.Position = position(seq, int64(idx))
	ev.Source, ev.Type, ev.ID, ev.Subject = s.keep(source), s.keep(kind), unpacked(ev.ID), unpacked(ev.Subject)
	if ev.Data != nil {
		ev.Data = unpackedBytes(ev.Data)
	}
	if ev.Extensions != nil {
		ev.Extensions = unpackedBytes(ev.Extensions)
	}
	return nil
}

// view is bytes of the row itself, valid until the next one.
type view []byte

// ScanBytes implements pgtype.BytesScanner.
func (v *view) ScanBytes(b []byte) error {
	*v = b
	return nil
}

func sizeOf(ev *event.Stored) int {
	return len(ev.Data) + len(ev.Extensions) + len(ev.ID) + len(ev.Subject) + 200
}

// filter adds what an EventFilter asks for.
func (w *where) filter(f store.EventFilter) {
	if len(f.Types) > 0 {
		w.any(len(f.Types), func(i int) string {
			if prefix, ok := strings.CutSuffix(f.Types[i], "*"); ok {
				return `type ^@ ` + w.param(packed(prefix))
			}
			return `type = ` + w.param(packed(f.Types[i]))
		})
	}
	if f.Source != "" {
		w.and(`source = %s`, packed(f.Source))
	}
	if f.ID != "" {
		w.and(`id = %s`, packed(f.ID))
	}
	if f.Source != "" && f.ID != "" {
		// The tenant is known by the first parameter only in its packed form, which is the one that finders are made of elsewhere too.
		w.and(`finder = %s`, w.finder(f.Source, f.ID))
	}
	if f.Subject != "" {
		w.and(`subject = %s`, packed(f.Subject))
	}
	if !f.From.IsZero() {
		w.and(`time >= %s`, f.From.UnixNano())
	}
	if !f.To.IsZero() {
		w.and(`time < %s`, f.To.UnixNano())
	}
}

// finder is that of an event of the predicate's tenant.
func (w *where) finder(source, id string) int64 {
	t, _ := w.args[0].(string) // ofTenant has put it there
	return (&copying{}).finder(tenant.ID(unpacked(t)), source, id)
}

// Page implements store.Events.
func (s *Events) Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error) {
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	w := ofTenant(t)
	w.filter(p.EventFilter)
	if a := p.After; a != nil {
		at := a.Time.UnixNano()
		w.and(`time <= %s`, at)
		w.and(`(time < %s OR (seq, idx) < (%s::bigint, %s::bigint))`, at, int64(min(a.Seq, math.MaxInt64)), int64(a.Index))
	}
	sql := `SELECT ` + eventColumns + ` FROM events WHERE ` + w.sql + ` ORDER BY time DESC, seq DESC, idx DESC LIMIT ` + w.param(max(p.Limit, 1))
	return rowsOf[event.Stored]{op: "page of events", who: asTenant(t), ask: statement{sql, w.args}, scan: newScanner(t, false).scan, size: sizeOf}.all(ctx, s.DB)
}

// Event implements store.Events. Of several the first is the one that was received first.
func (s *Events) Event(ctx context.Context, t tenant.ID, source, id string) (event.Stored, error) {
	if err := s.gate.enter(ctx); err != nil {
		return event.Stored{}, err
	}
	defer s.gate.leave()
	w := ofTenant(t)
	w.and(`finder = %s`, w.finder(source, id))
	w.and(`source = %s AND id = %s`, packed(source), packed(id))
	sql := `SELECT ` + eventColumns + ` FROM events WHERE ` + w.sql + ` ORDER BY received, seq, idx LIMIT 1`
	return rowsOf[event.Stored]{op: fmt.Sprintf("event %.100q of source %.100q", id, source), who: asTenant(t), ask: statement{sql, w.args},
		scan: newScanner(t, false).scan}.one(ctx, s.DB)
}

// Scan implements store.Events.
func (s *Events) Scan(ctx context.Context, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	w := ofTenant(t)
	w.filter(q.EventFilter)
	// Rows of positions are compared in two steps, so that the first can go by the index.
	if a := q.After; a != (event.Position{}) {
		seq := int64(min(a.Seq, math.MaxInt64))
		w.and(`seq >= %s AND (seq > %s OR idx > %s::bigint)`, seq, seq, int64(a.Index))
	}
	if u := q.Upto; u != nil {
		seq := int64(min(u.Seq, math.MaxInt64))
		w.and(`seq <= %s AND (seq < %s OR idx <= %s::bigint)`, seq, seq, int64(u.Index))
	}
	columns := eventColumns
	if q.WithoutData {
		columns = headColumns
	}
	sql := `SELECT ` + columns + ` FROM events WHERE ` + w.sql + ` ORDER BY seq, idx`
	if q.Limit > 0 {
		sql += ` LIMIT ` + w.param(q.Limit)
	}
	return rowsOf[event.Stored]{op: "scan of events", who: asTenant(t), ask: statement{sql, w.args}, scan: newScanner(t, q.WithoutData).scan, size: sizeOf}.each(ctx, s.DB, each)
}

// Identities implements store.Events.
func (s *Events) Identities(ctx context.Context, partition int, since time.Time, each func(store.Identity) error) error {
	if err := s.gate.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	ask := statement{`SELECT tenant, source, id, received FROM events WHERE "partition" = $1 AND identified`, []any{partition}}
	if !since.IsZero() {
		ask.sql += ` AND received >= $2`
		ask.args = append(ask.args, since.UnixNano())
	}
	texts := newScanner("", true)
	return rowsOf[store.Identity]{op: fmt.Sprintf("identities of partition %d", partition), who: asOwner(partition), ask: ask, scan: func(row pgx.Rows, id *store.Identity) error {
		var name, source view
		var received int64
		if err := row.Scan(&name, &source, &id.ID, &received); err != nil {
			return err
		}
		id.Tenant, id.Source, id.ID, id.Received = tenant.ID(texts.keep(name)), texts.keep(source), unpacked(id.ID), time.Unix(0, received).UTC()
		return nil
	}}.each(ctx, s.DB, func(id *store.Identity) error { return each(*id) })
}
