package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// receivedIn are n events of a tenant that were received in an hour of the suite's day, of some size.
func receivedIn(t tenant.ID, hour, n int) (out []event.Stored) {
	for i := range n {
		e := ev(fmt.Sprintf("%s-%d-%d", t, hour, i), i)
		e.Tenant, e.Data, e.Extensions = t, []byte(`{"text":"ä"}`), []byte(`{"a":1}`)
		e.Received = time.Date(2026, 3, 14, hour, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Nanosecond)
		out = append(out, e)
	}
	return out
}

func (b *bench) usage(t tenant.ID, from, to time.Time) []store.Usage {
	b.t.Helper()
	all, err := b.Usage(b.ctx, t, from, to)
	b.must(err)
	return all
}

func hourOfDay(h int) time.Time { return time.Date(2026, 3, 14, h, 0, 0, 0, time.UTC) }

// usageOf is what events make of usage.
func usageOf(t tenant.ID, hour int, events []event.Stored) store.Usage {
	u := store.Usage{Tenant: t, Hour: hourOfDay(hour)}
	for i := range events {
		u.Events++
		u.Bytes += int64(len(events[i].ID)+len(events[i].Source)+len(events[i].Type)+len(events[i].Subject)) + int64(len(`{"text":"ä"}`)+len(`{"a":1}`))
	}
	return u
}

func usageIsCounted(_ *testing.T, b *bench) {
	day, next := hourOfDay(0), hourOfDay(24)
	b.same("usage of nothing", len(b.usage("", day, next)), 0)
	seven, eight, theirs := receivedIn(acme, 7, 3), receivedIn(acme, 8, 2), receivedIn(other, 7, 1)
	b.commit(store.Commit{Events: append(append(append([]event.Stored{}, seven[:1]...), theirs...), seven[1:]...)})
	b.commit(store.Commit{Events: eight})
	more := receivedIn(acme, 7, 5)[3:] // of the first hour, in a later commit
	b.commit(store.Commit{Events: more})
	all := []store.Usage{usageOf(acme, 7, append(seven, more...)), usageOf(acme, 8, eight), usageOf(other, 7, theirs)}
	check := func(when string) {
		b.t.Helper()
		b.same("usage of all "+when, b.usage("", day, next), all)
		b.same("usage of a tenant "+when, b.usage(acme, day, next), all[:2])
		b.same("usage of another "+when, b.usage(other, day, next), all[2:])
		b.same("usage of one hour "+when, b.usage(acme, hourOfDay(8), hourOfDay(9)), all[1:2])
		b.same("usage of a part of an hour "+when, b.usage(acme, hourOfDay(7).Add(59*time.Minute), hourOfDay(7).Add(60*time.Minute)), all[:1])
		b.same("usage before "+when, len(b.usage("", day, hourOfDay(7))), 0)
	}
	check("at once")
	b.compact()
	check("after upkeep")
	b.restart()
	check("after a restart")
}

func usageFollowsCommits(_ *testing.T, b *bench) {
	events := receivedIn(acme, 7, 4)
	b.commit(store.Commit{Events: events})
	want := []store.Usage{usageOf(acme, 7, events)}
	from := b.offsets[0]
	late := receivedIn(acme, 7, 9)[4:]
	for i := range late {
		late[i].Seq = from.Seq + 1
	}
	c := store.Commit{From: from, To: store.Offset{Incarnation: "one", Seq: from.Seq + 1}, Events: late, DryRun: true}
	if _, err := b.Commit(b.ctx, &c); err != nil {
		b.t.Fatal(err)
	}
	b.same("after a dry run", b.usage(acme, hourOfDay(0), hourOfDay(24)), want)
	stale := c
	stale.DryRun, stale.From = false, store.Offset{Incarnation: "one", Seq: from.Seq + 7, Revision: from.Revision}
	b.fenced(stale)
	b.same("after a commit that was fenced", b.usage(acme, hourOfDay(0), hourOfDay(24)), want)
	c.DryRun = false
	to, err := b.Commit(b.ctx, &c)
	b.must(err)
	b.offsets[0] = to
	b.fenced(c) // the worker before it died, say, did not hear of the first
	b.same("after the same once more", b.usage(acme, hourOfDay(0), hourOfDay(24)), []store.Usage{usageOf(acme, 7, append(events, late...))})
	b.commit(store.Commit{}) // a tick
	b.same("after a tick", b.usage(acme, hourOfDay(0), hourOfDay(24)), []store.Usage{usageOf(acme, 7, append(events, late...))})
}
