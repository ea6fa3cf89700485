package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

func timesKeepNanoseconds(t *testing.T, b *bench) {
	at := time.Date(2026, 3, 14, 12, 0, 0, 123456789, time.UTC)
	for _, at := range []time.Time{at, at.Add(1), time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(2261, 1, 1, 0, 0, 0, 1, time.UTC)} {
		e := ev(at.String(), 0)
		e.Time, e.Received = at, at.Add(1)
		b.commit(store.Commit{Events: []event.Stored{e}})
		got, err := b.Event(b.ctx, acme, "shop", e.ID)
		b.must(err)
		if !got.Time.Equal(at) || !got.Received.Equal(at.Add(1)) || got.Time.Location() != time.UTC {
			t.Errorf("%v came back as %v, received %v", at, got.Time, got.Received)
		}
	}
	for _, p := range []store.EventFilter{{From: at, To: at.Add(1)}, {From: at.Add(1), To: at.Add(2)}} {
		b.same("events of one nanosecond", len(b.page(acme, store.Page{EventFilter: p})), 1)
		b.same("scan of one nanosecond", len(b.scan(acme, store.Scan{EventFilter: p})), 1)
	}
	b.same("identities", len(b.identities(0, at.Add(2))), 2)
}

// naughty is text that stores like to get wrong.
func naughty() []string {
	return []string{
		"", " ", "'", `"`, `\`, `\0`, "--", "; DROP TABLE events; --", "$1", "%", "_", "null", "NULL", "\\N", "{}", "[1,2]", "a,b", "{a,b}", "\t\r\n", "\x01\x1f\x7f",
		"a\x00b", "\x00", "ä", "a\u0308", "日本語", "👩‍👩‍👧", "\U0001F600", "\u202eabc", "\ufeff", "\ufffd", strings.Repeat("x", 12), strings.Repeat("x", 13), strings.Repeat("ü", 512), "__other__",
	}
}

func dataComesBackByteForByte(t *testing.T, b *bench) {
	data := []string{
		`null`, `{}`, `""`, `9007199254740993`, `0.1000000000000000055511151231257827`, `-0`, `1E400`, `{"a":1,"a":2}`, " {\n\t\"b\" : [ ] }", `"\u0000\ud83d\ude00\/"`, `"\ud800"`,
		`"👩‍👩‍👧"`, `[` + strings.Repeat(`"x",`, 30000) + `1]`,
	}
	var events []event.Stored
	for i, d := range data {
		e := ev(fmt.Sprintf("data %d", i), i)
		e.Data, e.Extensions = []byte(d), []byte(`{"n":`+fmt.Sprint(i)+`,"n":1e2}`)
		events = append(events, e)
	}
	for i, s := range naughty() {
		e := ev("id "+s, 100+i)
		e.Source, e.Type, e.Subject = s, s, s
		events = append(events, e)
	}
	b.commit(store.Commit{Events: events})
	b.restart()
	got := b.scan(acme, store.Scan{})
	b.same("number of events", len(got), len(events))
	for i := range got {
		g, w := got[i], events[i]
		if g.ID != w.ID || g.Source != w.Source || g.Type != w.Type || g.Subject != w.Subject || !bytes.Equal(g.Data, w.Data) || !bytes.Equal(g.Extensions, w.Extensions) {
			t.Errorf("stored %.300q\n  read %.300q", fmt.Sprintf("%+v", w), fmt.Sprintf("%+v", g))
		}
		one, err := b.Event(b.ctx, acme, w.Source, w.ID)
		b.must(err)
		b.same("event", one, g)
	}
	for _, s := range naughty()[1:] {
		for _, f := range []store.EventFilter{{Types: []string{s}}, {Source: s}, {Subject: s}} {
			if page := b.page(acme, store.Page{EventFilter: f}); len(page) != 1 || page[0].ID != "id "+s {
				t.Errorf("filter %+q found %q", f, ids(page))
			}
		}
	}
}

func noDataIsNotNull(_ *testing.T, b *bench) {
	none, null := ev("none", 1), ev("null", 2)
	none.Data, null.Data, null.Extensions = nil, []byte("null"), []byte("{}")
	b.commit(store.Commit{Events: []event.Stored{none, null}})
	for _, events := range [][]event.Stored{b.scan(acme, store.Scan{}), {b.page(acme, store.Page{})[1], b.page(acme, store.Page{})[0]}} {
		b.same("no data", []bool{events[0].Data == nil, events[0].Extensions == nil}, []bool{true, true})
		b.same("null", []string{string(events[1].Data), string(events[1].Extensions)}, []string{"null", "{}"})
	}
}

func pagesHaveNoGapAndNoRepeat(t *testing.T, b *bench) {
	var want []event.Stored
	for i := range 20 {
		// Every time is there several times, within a message and in different ones; some events are late.
		events := evs(17, func(n int, e *event.Stored) {
			e.ID = fmt.Sprintf("%d/%d", i, n)
			e.Time = noon().Add(time.Duration((i+n%3)/2) * time.Minute)
			if n == 7 {
				e.Time = e.Time.Add(-time.Duration(i) * 300 * time.Hour)
			}
		})
		b.commit(store.Commit{Events: events})
		want = append(want, events...)
	}
	slices.SortFunc(want, func(x, y event.Stored) int {
		if c := y.Time.Compare(x.Time); c != 0 {
			return c
		}
		if x.Position.Before(y.Position) {
			return 1
		}
		return -1
	})
	for _, limit := range []int{1, 2, 7, 100, 1000, 5000} {
		var got []event.Stored
		var after *store.Cursor
		for {
			page := b.page(acme, store.Page{After: after, Limit: limit})
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			last := page[len(page)-1]
			after = &store.Cursor{Time: last.Time, Position: last.Position}
		}
		if !slices.Equal(ids(got), ids(want)) {
			t.Errorf("pages of %d:\n got %v\nwant %v", limit, ids(got), ids(want))
		}
	}
}

func pagesKeepToTheirFilter(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(12, func(i int, e *event.Stored) {
		e.Type = []string{"order.paid", "order.refunded", "orders", "visit"}[i%4]
		e.Source = []string{"shop", "app"}[i%2]
		e.Subject = fmt.Sprintf("c%d", i%3)
	})})
	for _, c := range []struct {
		filter store.EventFilter
		want   string
	}{
		{store.EventFilter{}, "[e11 e10 e9 e8 e7 e6 e5 e4 e3 e2 e1 e0]"},
		{store.EventFilter{Types: []string{"order.paid"}}, "[e8 e4 e0]"},
		{store.EventFilter{Types: []string{"order.*"}}, "[e9 e8 e5 e4 e1 e0]"},
		{store.EventFilter{Types: []string{"order*"}}, "[e10 e9 e8 e6 e5 e4 e2 e1 e0]"},
		{store.EventFilter{Types: []string{"order.refunded", "vis*"}}, "[e11 e9 e7 e5 e3 e1]"},
		{store.EventFilter{Types: []string{"*"}}, "[e11 e10 e9 e8 e7 e6 e5 e4 e3 e2 e1 e0]"},
		{store.EventFilter{Types: []string{"order"}}, "[]"},
		{store.EventFilter{Types: []string{"%", "order._*", "o?ders"}}, "[]"},
		{store.EventFilter{Source: "app"}, "[e11 e9 e7 e5 e3 e1]"},
		{store.EventFilter{Source: "app", Types: []string{"visit"}, Subject: "c0"}, "[e3]"},
		{store.EventFilter{Source: "app", ID: "e3"}, "[e3]"},
		{store.EventFilter{Source: "app", ID: "e4"}, "[]"},
		{store.EventFilter{ID: "e4"}, "[e4]"},
		{store.EventFilter{ID: "e"}, "[]"},
		{store.EventFilter{From: noon().Add(3 * time.Second), To: noon().Add(6 * time.Second)}, "[e5 e4 e3]"},
	} {
		b.same(fmt.Sprintf("page of %+v", c.filter), ids(b.page(acme, store.Page{EventFilter: c.filter})), c.want)
		scanned := ids(b.scan(acme, store.Scan{EventFilter: c.filter}))
		slices.Reverse(scanned)
		b.same(fmt.Sprintf("scan of %+v", c.filter), scanned, c.want)
	}
}

func pagesFindFewEventsFarApart(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(6, func(i int, e *event.Stored) { e.Time = noon().AddDate(0, -i*i*i, 0) })})
	b.same("page", ids(b.page(acme, store.Page{})), "[e0 e1 e2 e3 e4 e5]")
	b.same("page of 2", ids(b.page(acme, store.Page{Limit: 2, After: &store.Cursor{Time: noon(), Position: event.Position{Seq: 1}}})), "[e1 e2]")
	b.same("page behind all", ids(b.page(acme, store.Page{After: &store.Cursor{Time: noon().AddDate(-60, 0, 0)}})), "[]")
}

func anEventIsFoundBySourceAndID(t *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(3, nil)})
	again := ev("e1", 500)
	again.Data = []byte(`"again"`)
	elsewhere := ev("e9", 9)
	elsewhere.Source = "app"
	b.commit(store.Commit{Events: []event.Stored{again, elsewhere}})
	got, err := b.Event(b.ctx, acme, "shop", "e1")
	b.must(err)
	b.same("event", string(got.Data), `{"n":1}`)
	b.same("position", got.Position, event.Position{Seq: 1, Index: 1})
	for _, id := range []string{"e9", "E1", "", "e"} {
		if _, err := b.Event(b.ctx, acme, "shop", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Event %q: %v, want ErrNotFound", id, err)
		}
	}
}

func scansGoInLogOrder(_ *testing.T, b *bench) {
	for i := range 5 {
		b.commit(store.Commit{Events: evs(4, func(n int, e *event.Stored) {
			e.ID = fmt.Sprintf("%d.%d", i+1, n)
			e.Time = noon().Add(-time.Duration(i*4+n) * time.Hour) // against the log's order
		})})
	}
	for _, c := range []struct {
		scan store.Scan
		want string
	}{
		{store.Scan{After: event.Position{Seq: 4}}, "[4.1 4.2 4.3 5.0 5.1 5.2 5.3]"},
		{store.Scan{After: event.Position{Seq: 4, Index: 3}}, "[5.0 5.1 5.2 5.3]"},
		{store.Scan{After: event.Position{Seq: 4, Index: 1 << 31}}, "[5.0 5.1 5.2 5.3]"},
		{store.Scan{Upto: &event.Position{Seq: 2, Index: 1}}, "[1.0 1.1 1.2 1.3 2.0 2.1]"},
		{store.Scan{After: event.Position{Seq: 1, Index: 2}, Upto: &event.Position{Seq: 2}}, "[1.3 2.0]"},
		{store.Scan{After: event.Position{Seq: 2}, Upto: &event.Position{Seq: 2, Index: 2}}, "[2.1 2.2]"},
		{store.Scan{After: event.Position{Seq: 2, Index: 2}, Upto: &event.Position{Seq: 2, Index: 2}}, "[]"},
		{store.Scan{After: event.Position{Seq: 5, Index: 3}}, "[]"},
		{store.Scan{After: event.Position{Seq: 3}, Limit: 4}, "[3.1 3.2 3.3 4.0]"},
		{store.Scan{Limit: 1}, "[1.0]"},
		{store.Scan{After: event.Position{Seq: 4}, WithoutData: true, Limit: 2}, "[4.1 4.2]"},
		{store.Scan{EventFilter: store.EventFilter{From: noon().Add(-5 * time.Hour)}}, "[1.0 1.1 1.2 1.3 2.0 2.1]"},
	} {
		b.same(fmt.Sprintf("scan %+v", c.scan), ids(b.scan(acme, c.scan)), c.want)
	}
	for _, e := range b.scan(acme, store.Scan{WithoutData: true}) {
		b.same("data", []bool{e.Data == nil, e.Extensions == nil}, []bool{true, true})
	}
}

func scansOfManyMessages(t *testing.T, b *bench) {
	var want []string
	seq := uint64(1)
	for i := range 30 {
		c := store.Commit{From: b.offsets[0]}
		for range 50 {
			seq += uint64(i % 5) // with holes
			e := ev(fmt.Sprint(seq), int(seq))
			e.Seq = seq
			seq++
			want = append(want, e.ID)
			c.Events = append(c.Events, e)
		}
		c.To = store.Offset{Incarnation: "one", Seq: seq}
		var err error
		b.offsets[0], err = b.Commit(b.ctx, &c)
		b.must(err)
	}
	if got := ids(b.scan(acme, store.Scan{})); !slices.Equal(got, want) {
		t.Errorf("scan: %d events, want %d: %v", len(got), len(want), got)
	}
	if got := b.identities(0, time.Time{}); len(got) != len(want) {
		t.Errorf("%d identities, want %d", len(got), len(want))
	}
	for _, limit := range []int{1, 49, 800} {
		var got []string
		var after event.Position
		for {
			events := b.scan(acme, store.Scan{After: after, Limit: limit})
			if len(events) == 0 {
				break
			}
			got, after = append(got, ids(events)...), events[len(events)-1].Position
			if limit == 1 && len(got) == 20 {
				break
			}
		}
		if !slices.Equal(got, want[:len(got)]) || limit > 1 && len(got) != len(want) {
			t.Errorf("scans of %d: %d events, want %d: %v", limit, len(got), len(want), got)
		}
	}
}

func callbackErrorsStopReads(t *testing.T, b *bench) {
	for i := range 3 {
		b.commit(everything(i))
	}
	enough := errors.New("enough")
	calls := 0
	stop := func() error {
		calls++
		return enough
	}
	for name, err := range map[string]error{
		"Identities": b.Identities(b.ctx, 0, time.Time{}, func(store.Identity) error { return stop() }),
		"Scan":       b.Scan(b.ctx, acme, store.Scan{}, func(*event.Stored) error { return stop() }),
		"Rollups": b.Rollups(b.ctx, acme, store.RollupQuery{Metric: 1, Step: time.Minute, From: noon(), To: noon().Add(time.Hour)},
			func(*series.Rollup) error { return stop() }),
	} {
		if err != enough { //nolint:errorlint // as it is
			t.Errorf("%s: %v, want the callback's own error", name, err)
		}
	}
	b.same("calls", calls, 3)
}

func identitiesSinceATime(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(6, func(i int, e *event.Stored) { e.Identified = i != 3 })})
	elsewhere := ev("elsewhere", 5)
	elsewhere.Tenant = other
	b.commit(store.Commit{Partition: 1, Events: []event.Stored{elsewhere}})
	var want []store.Identity
	for _, i := range []int{2, 4, 5} {
		e := ev(fmt.Sprintf("e%d", i), i)
		want = append(want, store.Identity{Tenant: acme, Source: "shop", ID: e.ID, Received: e.Received})
	}
	b.same("identities", b.identities(0, want[0].Received), want)
	b.same("identities of the other partition", b.identities(1, time.Time{}), []store.Identity{
		{Tenant: other, Source: "shop", ID: "elsewhere", Received: elsewhere.Received},
	})
	b.same("identities of no partition", len(b.identities(2, time.Time{})), 0)
}

func anEndingContextStopsAReadUnderWay(t *testing.T, b *bench) {
	for range 4 {
		b.commit(store.Commit{Events: evs(5000, nil)})
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	n := 0
	err := b.Scan(ctx, acme, store.Scan{}, func(*event.Stored) error {
		if n++; n == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v after %d events, want context.Canceled", err, n)
	}
	b.same("events afterwards", len(b.scan(acme, store.Scan{WithoutData: true})), 20000)
}

// A store may plan a query by what it holds at the time; the plan must not outlive that.
func emptyIsNotForEver(_ *testing.T, b *bench) {
	for n, want := range []string{
		"0 events, 0 identities, 0 rollups, 0 fills, 0 states, 0 transitions, 0 incidents, at 0",
		"1 events, 1 identities, 1 rollups, 1 fills, 1 states, 1 transitions, 1 incidents, at 1",
		"2 events, 2 identities, 2 rollups, 2 fills, 2 states, 2 transitions, 2 incidents, at 2",
	} {
		b.same("counts", b.counts(), want)
		_, err := b.Event(b.ctx, acme, "shop", fmt.Sprintf("e%d", n+1))
		b.same("found too early", errors.Is(err, store.ErrNotFound), true)
		b.commit(everything(n + 1))
		_, err = b.Event(b.ctx, acme, "shop", fmt.Sprintf("e%d", n+1))
		b.must(err)
	}
}
