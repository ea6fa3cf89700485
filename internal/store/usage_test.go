package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestEventsAreCountedByTenantAndHourOfReceipt(t *testing.T) {
	hour := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	var c Counted
	for _, e := range []struct {
		tenant tenant.ID
		at     string
	}{
		{"a", "2026-11-23T09:59:59.999999999Z"}, {"a", "2026-11-23T10:00:00Z"}, {"b", "2026-11-23T10:00:00Z"}, {"a", "2026-11-23T10:59:59Z"},
		{"a", "1969-12-31T23:00:00Z"}, {"a", "1969-12-31T22:59:59Z"}, {"b", "2026-11-23T12:30:00+01:30"},
	} {
		c.Add(&event.Stored{Tenant: e.tenant, Event: event.Event{ID: "12", Source: "s", Type: "t", Received: hour(e.at), Data: []byte("{}")}})
	}
	got := map[string]Counts{}
	c.Each(func(k UsageKey, n Counts) { got[string(k.Tenant)+" "+HourAt(k.Hour).Format("2006-01-02T15")] = n })
	for k, events := range map[string]int64{"a 2026-11-23T09": 1, "a 2026-11-23T10": 2, "b 2026-11-23T10": 1, "a 1969-12-31T23": 1, "a 1969-12-31T22": 1, "b 2026-11-23T11": 1} {
		if got[k] != (Counts{events, 6 * events}) {
			t.Errorf("%s: %+v, want %d", k, got[k], events)
		}
	}
	if c.Len() != 6 {
		t.Errorf("%v", got)
	}
}

// BenchmarkCount counts a thousand events of fifty tenants, one after the other in requests of twenty.
func BenchmarkCount(b *testing.B) {
	events := make([]event.Stored, 1000)
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	for i := range events {
		events[i].Event = event.Event{ID: "evt_0123456789", Source: "shop", Type: "charge.succeeded", Received: now, Data: make([]byte, 300)}
		events[i].Tenant = tenant.ID(fmt.Sprint("tenant-", i/20))
	}
	b.ReportAllocs()
	var c Counted // of a flush, which has thousands
	for b.Loop() {
		for i := range events {
			c.Add(&events[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
}
