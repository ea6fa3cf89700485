package segment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// cellOf is what an event has in a field, read with the standard library.
func cellOf(ev *event.Stored, f store.ColumnField) string {
	switch f.Attribute {
	case "id":
		return ev.ID
	case "source":
		return ev.Source
	case "type":
		return ev.Type
	case "subject":
		return ev.Subject
	}
	raw := json.RawMessage(ev.Data)
	for _, name := range f.Path {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || members[name] == nil {
			raw = nil
			break
		}
		raw = members[name]
	}
	if !f.Numbers {
		return string(raw)
	}
	number := math.NaN()
	if json.Unmarshal(raw, &number) != nil {
		number = math.NaN()
	}
	return fmt.Sprint(number)
}

// cell is what a row of a block has in a column.
func cell(c *store.Column, i int) string {
	switch {
	case c.Numbers != nil:
		return fmt.Sprint(c.Numbers[i])
	case c.Codes != nil:
		return string(c.Dict[c.Codes[i]])
	}
	return string(c.Dict[0])
}

// rowsOf counts rows, each spelt out.
type rowsOf map[string]int

func (r rowsOf) event(ev *event.Stored, q *store.ColumnScan) {
	row := []string{fmt.Sprint(ev.Time.UnixNano())}
	for _, f := range q.Fields {
		row = append(row, cellOf(ev, f))
	}
	r[strings.Join(row, "\n")]++
}

func (r rowsOf) block(b *store.ColumnBlock, q *store.ColumnScan) {
	for i := range b.Events {
		r.event(&b.Events[i], q)
	}
	for i, at := range b.Times {
		row := []string{fmt.Sprint(at)}
		for k := range q.Fields {
			row = append(row, cell(&b.Columns[k], i))
		}
		r[strings.Join(row, "\n")]++
	}
}

// columnQuestions are what charts ask for: of one type, of several, of all, in part of the time, by attributes and by paths of every form.
func columnQuestions() []store.ColumnScan {
	attribute := func(name string) store.ColumnField {
		return store.ColumnField{Field: metric.Field{Attribute: name}}
	}
	path := func(names ...string) store.ColumnField {
		return store.ColumnField{Field: metric.Field{Path: names}}
	}
	number := func(names ...string) store.ColumnField {
		return store.ColumnField{Field: metric.Field{Path: names}, Numbers: true}
	}
	start := time.Unix(1_800_000_000, 0) // of what vendors makes, which takes three seconds
	from, to := start.Add(-time.Hour), start.Add(time.Hour)
	return []store.ColumnScan{
		{From: from, To: to, Fields: []store.ColumnField{attribute("type"), number("amount"), path("currency")}},
		{From: from, To: to, Types: []string{"charge.succeeded"}, Fields: []store.ColumnField{path("currency"), number("amount"), path("card", "brand"), path("card")}},
		{From: from, To: to, Types: []string{"mail.open", "push"}, Fields: []store.ColumnField{path("repository"), path("category"), attribute("source"), attribute("subject")}},
		{From: start.Add(500 * time.Millisecond), To: start.Add(1500 * time.Millisecond), Types: []string{"message.*"}, Fields: []store.ColumnField{attribute("id"), path("To", "country"), number("NumSegments"), number("MessageStatus")}},
		{From: start.Add(time.Second), To: start.Add(1250 * time.Millisecond), Fields: []store.ColumnField{attribute("id"), path("forced")}},
		{From: from, To: to, Types: []string{"no.such.type"}, Fields: []store.ColumnField{path("currency")}},
		{From: from, To: to},
	}
}

func TestColumnsAreThoseOfTheEvents(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // so many blocks are decoded at once
	var all []event.Stored
	set := &Set{}
	for seed := range uint64(2) {
		some := vendorsOf(seed, 30_000)
		all = append(all, some...)
		set.Segments = append(set.Segments, sealed(t, NewBuilder(), tailOf(some)))
	}
	rest := vendorsOf(7, 5000)
	all = append(all, rest...)
	tail := tailOf(rest)
	var r Reader
	var asking sync.WaitGroup
	for _, c := range []struct {
		tenant tenant.ID
		blocks int // in all, at least
		kinds  int // in a block, at least
	}{{"tenant-00", 8, 1}, {"tenant-30", 2, 5}} {
		one := &Set{Segments: set.Segments}
		if v, ok := tail.View(c.tenant); ok {
			one.Views = append(one.Views, v)
		}
		blocks := one.blocks(c.tenant, newMatch(store.EventFilter{}))
		if len(blocks) < c.blocks || len(blocks[0].entry.kinds) < c.kinds || len(one.Views) == 0 {
			t.Fatalf("%s has %d blocks, the first of %d types, and %d tails", c.tenant, len(blocks), len(blocks[0].entry.kinds), len(one.Views))
		}
		for range 2 { // at the same time, with the memory of each other
			asking.Go(func() { checkColumns(t, &r, one, c.tenant, all) })
		}
	}
	asking.Wait()
}

func checkColumns(t *testing.T, r *Reader, set *Set, own tenant.ID, all []event.Stored) {
	for n, q := range columnQuestions() {
		want, got := rowsOf{}, rowsOf{}
		m := newMatch(store.EventFilter{Types: q.Types, From: q.From, To: q.To})
		for i := range all {
			if ev := &all[i]; ev.Tenant == own && m.kind(ev.Type) && m.time(ev.Time.UnixNano()) {
				want.event(ev, &q)
			}
		}
		err := r.ScanColumns(t.Context(), set, own, q, func(b *store.ColumnBlock) error { got.block(b, &q); return nil })
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s, question %d: %d rows of %d, %v", own, n, len(got), len(want), err)
		}
		if len(want) == 0 != slices.Contains(q.Types, "no.such.type") {
			t.Errorf("%s, question %d has %d rows", own, n, len(want))
		}
	}
}

func TestAQuestionByColumnsEndsWhenItsReaderDoes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	all := vendors(60_000)
	set := &Set{Segments: []*Segment{sealed(t, NewBuilder(), tailOf(all)), sealed(t, NewBuilder(), tailOf(all)), sealed(t, NewBuilder(), tailOf(all))}}
	q := columnQuestions()[0]
	own := all[0].Tenant
	var r Reader
	enough := errors.New("enough")
	before := runtime.NumGoroutine()
	for range 20 {
		calls := 0
		if err := r.ScanColumns(t.Context(), set, own, q, func(*store.ColumnBlock) error { calls++; return enough }); !errors.Is(err, enough) || calls != 1 {
			t.Fatalf("%v after %d calls", err, calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := r.ScanColumns(ctx, set, own, q, func(*store.ColumnBlock) error { cancel(); return nil }); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := r.ScanColumns(ctx, set, own, q, func(*store.ColumnBlock) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want what has ended before it began to say so", err)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines are left, there were %d", after, before)
	}
}
