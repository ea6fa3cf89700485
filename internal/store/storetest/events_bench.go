package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// acme and other are the tenants of the tests. Other always has something that acme must not see.
const (
	acme  tenant.ID = "acme"
	other tenant.ID = "other"
)

// noon is when the tests take place.
func noon() time.Time { return time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC) }

// bench is what a test works at: a store, and shorthands that fail the test.
type bench struct {
	t    *testing.T
	ctx  context.Context
	dir  string
	open func(t *testing.T, dir string) store.Events
	store.Events
	offsets map[int]store.Offset
}

func newBench(t *testing.T, open func(t *testing.T, dir string) store.Events) *bench {
	b := &bench{t: t, ctx: t.Context(), dir: t.TempDir(), open: open, offsets: map[int]store.Offset{}}
	b.Events = open(t, b.dir)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

func (b *bench) restart() {
	b.t.Helper()
	b.must(b.Close())
	b.Events = b.open(b.t, b.dir)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// commit commits c to partition 0 from where it is, with the next sequence number, which its events get too.
func (b *bench) commit(c store.Commit) {
	b.t.Helper()
	c.From = b.offsets[c.Partition]
	c.To = store.Offset{Incarnation: "one", Seq: c.From.Seq + 1}
	for i := range c.Events {
		c.Events[i].Partition = c.Partition
		c.Events[i].Seq, c.Events[i].Index = c.To.Seq, uint32(i)
	}
	to, err := b.Commit(b.ctx, &c)
	b.must(err)
	b.offsets[c.Partition] = to
}

// compact compacts a store that can.
func (b *bench) compact() {
	b.t.Helper()
	if c, ok := b.Events.(interface {
		Compact(ctx context.Context) (int, error)
	}); ok {
		_, err := c.Compact(b.ctx)
		b.must(err)
	}
}

// ev is an event of acme with an id, n seconds after noon.
func ev(id string, n int) event.Stored {
	at := noon().Add(time.Duration(n) * time.Second)
	return event.Stored{Tenant: acme, Event: event.Event{
		ID: id, Source: "shop", Type: "order.paid", Subject: "customer-1", Time: at, Received: at.Add(time.Millisecond),
		Data: []byte(`{"n":` + fmt.Sprint(n) + `}`), Identified: true,
	}}
}

func evs(n int, change func(i int, e *event.Stored)) []event.Stored {
	events := make([]event.Stored, n)
	for i := range events {
		events[i] = ev(fmt.Sprintf("e%d", i), i)
		if change != nil {
			change(i, &events[i])
		}
	}
	return events
}

func (b *bench) page(t tenant.ID, p store.Page) []event.Stored {
	b.t.Helper()
	if p.Limit == 0 {
		p.Limit = 1000
	}
	events, err := b.Page(b.ctx, t, p)
	b.must(err)
	return events
}

func (b *bench) scan(t tenant.ID, s store.Scan) []event.Stored {
	b.t.Helper()
	var events []event.Stored
	b.must(b.Scan(b.ctx, t, s, func(e *event.Stored) error {
		own := *e
		own.Keep(nil)
		events = append(events, own)
		return nil
	}))
	if s.After == (event.Position{}) && s.Upto == nil && s.Limit == 0 && !s.WithoutData {
		b.sameRows(t, s.EventFilter, events)
	}
	return events
}

// sameRows asks a store that has batches for the events that a scan gave.
func (b *bench) sameRows(t tenant.ID, f store.EventFilter, scanned []event.Stored) {
	b.t.Helper()
	rows, ok := b.Events.(store.Rows)
	if !ok {
		return
	}
	var got []string
	last := 0.0
	var reading sync.WaitGroup // a batch is read beside the next, and the last one beside the end
	err := rows.Rows(b.ctx, t, f, func(events []event.Stored, done float64, release func()) error {
		if len(events) == 0 || done < last || done > 1 {
			b.t.Errorf("a batch of %d rows at %g, behind %g", len(events), done, last)
		}
		last = done
		reading.Wait()
		reading.Go(func() {
			runtime.Gosched()
			for i := range events {
				got = append(got, fmt.Sprintf("%#v", events[i]))
			}
			release()
		})
		return nil
	})
	if errors.Is(err, store.ErrOneByOne) {
		return
	}
	b.must(err)
	var want []string
	for i := range scanned {
		want = append(want, fmt.Sprintf("%#v", scanned[i]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("the rows of %+v are %d events, and not those of a scan, %d: %.500q\nwant %.500q", f, len(got), len(want), got, want)
	}
}

func (b *bench) identities(partition int, since time.Time) []store.Identity {
	b.t.Helper()
	var all []store.Identity
	b.must(b.Identities(b.ctx, partition, since, func(i store.Identity) error {
		i.Source, i.ID = strings.Clone(i.Source), strings.Clone(i.ID)
		all = append(all, i)
		return nil
	}))
	slices.SortFunc(all, func(x, y store.Identity) int { return x.Received.Compare(y.Received) })
	return all
}

func (b *bench) rollups(t tenant.ID, q store.RollupQuery) []series.Rollup {
	b.t.Helper()
	var all []series.Rollup
	b.must(b.Rollups(b.ctx, t, q, func(r *series.Rollup) error {
		kept := *r
		kept.Labels = slices.Clone(r.Labels)
		kept.Agg = *r.Agg.Clone()
		all = append(all, kept)
		return nil
	}))
	return all
}

func (b *bench) partition(n int) store.PartitionState {
	b.t.Helper()
	p, err := b.Partition(b.ctx, n)
	b.must(err)
	return p
}

func (b *bench) transitions(after uint64) []store.NumberedTransition {
	b.t.Helper()
	all, err := b.Transitions(b.ctx, after, 1000)
	b.must(err)
	return all
}

func (b *bench) fenced(c store.Commit) {
	b.t.Helper()
	if _, err := b.Commit(b.ctx, &c); !errors.Is(err, store.ErrFenced) {
		b.t.Errorf("Commit from %+v: %v, want ErrFenced", c.From, err)
	}
}

// same says what is different about two values that should print the same, in full.
func (b *bench) same(what string, got, want any) {
	b.t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		b.t.Errorf("%s:\n got %.2000s\nwant %.2000s", what, g, w)
	}
}

func ids(events []event.Stored) []string {
	var all []string
	for i := range events {
		all = append(all, events[i].ID)
	}
	return all
}
