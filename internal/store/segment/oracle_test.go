package segment

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// oracle is events in the order in which they were committed, and says what must be found in them.
type oracle []event.Stored

func (o oracle) matching(t tenant.ID, f store.EventFilter) (all []event.Stored) {
	for _, ev := range o {
		kind := len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(s string) bool {
			return s == ev.Type || strings.HasSuffix(s, "*") && strings.HasPrefix(ev.Type, s[:len(s)-1])
		})
		if ev.Tenant == t && kind && (f.Source == "" || ev.Source == f.Source) && (f.ID == "" || ev.ID == f.ID) && (f.Subject == "" || ev.Subject == f.Subject) &&
			(f.From.IsZero() || !ev.Time.Before(f.From)) && (f.To.IsZero() || ev.Time.Before(f.To)) {
			all = append(all, ev)
		}
	}
	return all
}

func older(x, y event.Stored) int {
	return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Index, y.Index))
}

func (o oracle) page(t tenant.ID, p store.Page) []event.Stored {
	all := o.matching(t, p.EventFilter)
	slices.SortFunc(all, func(x, y event.Stored) int { return older(y, x) })
	if p.After != nil {
		last := event.Stored{Position: p.After.Position, Event: event.Event{Time: p.After.Time}}
		all = slices.DeleteFunc(all, func(ev event.Stored) bool { return older(ev, last) >= 0 })
	}
	return all[:min(len(all), p.Limit)]
}

func (o oracle) scan(t tenant.ID, q store.Scan) []event.Stored {
	all := slices.DeleteFunc(o.matching(t, q.EventFilter), func(ev event.Stored) bool {
		return !q.After.Before(ev.Position) || q.Upto != nil && q.Upto.Before(ev.Position)
	})
	slices.SortStableFunc(all, func(x, y event.Stored) int { return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Index, y.Index)) })
	if q.Limit > 0 {
		all = all[:min(len(all), q.Limit)]
	}
	if q.WithoutData {
		for i := range all {
			all[i].Data, all[i].Extensions = nil, nil
		}
	}
	return all
}

func (o oracle) find(t tenant.ID, source, id string) (event.Stored, bool) {
	all := o.matching(t, store.EventFilter{Source: source, ID: id})
	if len(all) == 0 {
		return event.Stored{}, false
	}
	return slices.MinFunc(all, func(x, y event.Stored) int {
		return cmp.Or(x.Received.Compare(y.Received), cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Index, y.Index))
	}), true
}

func (o oracle) identities(partition int, since time.Time) (all []store.Identity) {
	for _, ev := range o {
		if ev.Partition == partition && ev.Identified && !ev.Received.Before(since) {
			all = append(all, store.Identity{Tenant: ev.Tenant, Source: ev.Source, ID: ev.ID, Received: ev.Received})
		}
	}
	return all
}

// generator makes events of all kinds, and questions about them.
type generator struct {
	*rand.Rand
	seq  uint64
	back uint64 // where sequences that go back begin
	made oracle
}

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 1)), seq: 1 << 20, back: 1}
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) tenant() tenant.ID {
	return tenant.ID(g.one("big", "big", "big", "big", "big", "big", "big", "a", "aa", "ü", "\xff", fmt.Sprint("t", g.IntN(40))))
}

func partitionOf(t tenant.ID) int { return len(t) % 2 }

// at is a time: mostly one of few, a second apart, sometimes one at the end of all times.
func (g *generator) at() time.Time {
	switch g.IntN(100) {
	case 0:
		return time.Unix(0, math.MinInt64+g.Int64N(2)).UTC()
	case 1:
		return time.Unix(0, math.MaxInt64-g.Int64N(2)).UTC()
	case 2:
		return time.Unix(0, g.Int64N(3)-1).UTC()
	}
	return time.Unix(1_800_000_000+g.Int64N(2000), g.Int64N(2)*999_999_999).UTC()
}

func (g *generator) kind() string {
	return g.one("charge.succeeded", "charge.succeeded", "charge.succeeded", "charge.failed", "charge", "push", "ü", "", fmt.Sprint("rare.", g.IntN(30)))
}

func (g *generator) source() string { return g.one("stripe", "github", "s\x00", "") }
func (g *generator) subject() string {
	return g.one("", "", "cus_1", fmt.Sprint("cus_", g.IntN(200)), "\u2028")
}

func (g *generator) data() []byte {
	switch g.IntN(12) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return []byte(`null`)
	case 3:
		return []byte(g.one(`"\u0000"`, "\x00\x01\x02", "{", `{"a":{"a":{}}}`, "ü", `[1,2,[3]]`, `{"a" : 1 }`, `-1.50e+3`))
	case 4:
		if g.IntN(20) == 0 {
			return fmt.Appendf(nil, `{"long":"%s","n":%d}`, strings.Repeat(g.one("x", "äöü", `\n`), g.IntN(20_000)), g.IntN(10))
		}
	}
	return fmt.Appendf(nil, `{"id":"ch_%08x","amount":%d,"currency":"%s","paid":%t,"metadata":{"order":"%d"}}`, g.Uint32(), g.IntN(10_000), g.one("usd", "eur"), g.IntN(2) == 0, g.IntN(5))
}

func (g *generator) extensions() []byte {
	switch g.IntN(8) {
	case 0:
		return []byte{}
	case 1:
		return fmt.Appendf(nil, `{"traceparent":"%x"}`, g.Uint64())
	}
	return nil
}

// position is mostly behind all others; sometimes it is one from before all others, as in a log that began anew.
func (g *generator) position(i int) event.Position {
	if g.IntN(40) == 0 {
		g.seq++
	}
	if g.IntN(100) == 0 {
		g.back++
		return event.Position{Seq: g.back, Index: g.Uint32()}
	}
	return event.Position{Seq: g.seq, Index: uint32(i)}
}

func (g *generator) events(n int) oracle {
	var all oracle
	for range n {
		t := g.tenant()
		ev := event.Stored{Tenant: t, Partition: partitionOf(t), Position: g.position(len(g.made) + len(all)), Event: event.Event{
			ID: fmt.Sprintf("evt_%012x", g.Uint64()), Source: g.source(), Type: g.kind(), Subject: g.subject(), Time: g.at(), Received: g.at(),
			Identified: g.IntN(3) > 0, Data: g.data(), Extensions: g.extensions(),
		}}
		switch g.IntN(30) {
		case 0:
			ev.ID = fmt.Sprint(g.IntN(5))
		case 1:
			ev.ID = strings.Repeat("i", g.IntN(70_000)&math.MaxUint16)
		}
		all = append(all, ev)
	}
	g.made = append(g.made, all...)
	return all
}

func (g *generator) filter() (f store.EventFilter) {
	like := &g.made[g.IntN(len(g.made))]
	for range g.IntN(3) {
		f.Types = append(f.Types, g.one(like.Type, g.kind(), "charge*", "*", "rare.1*", "nothing"))
	}
	if g.IntN(4) == 0 {
		f.Source = g.one(like.Source, "nobody")
	}
	if g.IntN(6) == 0 {
		f.ID = g.one(like.ID, like.ID, "3", "none")
	}
	if g.IntN(5) == 0 {
		f.Subject = g.one(like.Subject, "nobody")
	}
	far := []time.Time{time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	if g.IntN(3) == 0 {
		f.From = g.at()
	}
	if g.IntN(3) == 0 {
		f.To = g.at()
	}
	if g.IntN(20) == 0 {
		f.From = far[g.IntN(2)]
	}
	if g.IntN(20) == 0 {
		f.To = far[g.IntN(2)]
	}
	return f
}

// kept is events as some segments and tails hold them, in the order in which they were committed.
type kept struct {
	t        testing.TB
	segments []*Segment
	tails    []*Tail
}

func (k *kept) set(t tenant.ID) *Set {
	s := &Set{Segments: k.segments}
	for _, tail := range k.tails {
		if v, ok := tail.View(t); ok {
			s.Views = append(s.Views, v)
		}
	}
	return s
}

func tailOf(events []event.Stored) *Tail {
	t := &Tail{}
	for i := range events {
		ev := events[i]
		ev.Data, ev.Extensions = bytes.Clone(ev.Data), bytes.Clone(ev.Extensions)
		t.Add(&ev)
		clear(ev.Data) // a tail keeps copies
		clear(ev.Extensions)
	}
	return t
}

func sealed(t testing.TB, b *Builder, tail *Tail) *Segment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.seg")
	info, err := b.Build(tail, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Release(); err != nil {
			t.Error(err)
		}
	})
	if s.Rows() != tail.Len() || info.Rows != tail.Len() || s.Size() != info.Bytes {
		t.Errorf("a segment of %d rows and %d bytes, made of %d; told were %+v", s.Rows(), s.Size(), tail.Len(), info)
	}
	return s
}

// merged makes one segment of several, as the store does.
func merged(t testing.TB, b *Builder, all []*Segment) *Segment {
	t.Helper()
	var r Reader
	tail := &Tail{}
	for _, s := range all {
		if err := r.All(t.Context(), s, tail.Add); err != nil {
			t.Fatal(err)
		}
	}
	return sealed(t, b, tail)
}
