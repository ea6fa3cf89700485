package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestOverview(t *testing.T) {
	now := at("2026-03-04T10:05:30.5Z")
	runs := compile(t, metric.Definition{ID: 31, Slug: "runs", EventTypes: []string{"run"}, Dimensions: map[string]string{"result": "data.result"}})
	events := openStore(t)
	w := &writer{t: t, events: events, programs: map[tenant.ID][]*metric.Program{
		acme: {runs, compile(t, metric.Events(acme))}, rival: {compile(t, metric.Events(rival))}}}
	n := 0
	add := func(who tenant.ID, source, typ, data string, when time.Time, count int) {
		var evs []event.Stored
		for range count {
			n++
			evs = append(evs, event.Stored{Tenant: who, Event: event.Event{ID: fmt.Sprint(n), Source: source, Type: typ, Time: when, Received: when, Data: []byte(data), Identified: true}})
		}
		w.commit(evs)
	}
	add(acme, "stripe", "charge.succeeded", `{}`, at("2026-03-04T10:01:10Z"), 8)
	add(acme, "stripe", "charge.failed", `{}`, at("2026-03-04T10:02:10Z"), 2)
	add(acme, "stripe", "charge.failed", `{}`, at("2026-03-04T09:59:59Z"), 50) // before the window
	add(acme, "stripe", "charge.succeeded", `{}`, at("2026-03-04T10:05:20.123456789Z"), 2)
	add(acme, "github", "run", `{"result": "failure"}`, at("2026-03-04T10:03:00Z"), 6)
	add(acme, "github", "run", `{"result": "success"}`, at("2026-03-04T10:03:00Z"), 4)
	add(acme, "github", "push.error", `{}`, at("2026-03-04T10:03:30Z"), 10)
	add(acme, "old", "tick", `{}`, at("2026-03-01T23:59:59.5Z"), 1)
	add(rival, "secret", "tick", `{}`, at("2026-03-04T10:04:00Z"), 1000)

	o, err := (&Engine{Events: events}).Overview(context.Background(), acme, OverviewQuery{
		Window: 5 * time.Minute, Now: now, Sources: []string{"stripe", "github", "twilio"}, OpenIncidents: 3,
		About: func(source string) About {
			switch source {
			case "stripe":
				return About{Name: "Stripe", Vendor: "stripe", Firing: []string{"warning"}}
			case "github":
				all := Metric{Def: runs.Definition()}
				return About{Name: "GitHub", Vendor: "github", Health: &Health{Failed: Metric{all.Def, map[string][]string{"result": {"failure"}}}, Total: all}}
			case "twilio":
				return About{Name: "Twilio", Vendor: "twilio", Firing: []string{"critical"}}
			}
			return About{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Source, Name, Vendor string
		Status               Status
		Reason, Share, Last  string
		Incidents            int
	}
	var got []row
	for _, s := range o.Data {
		r := row{s.Source, s.Name, s.Vendor, s.Status, s.Reason, show(s.ErrorShare), "never", s.Incidents}
		if s.LastEventAt != nil {
			r.Last = stamp(*s.LastEventAt)
		}
		got = append(got, r)
	}
	want := []row{
		{"github", "GitHub", "github", StatusDown, "6 of 10 events failed (60 %)", "0.6", "2026-03-04T10:03:30Z", 0},
		{"old", "old", "", StatusIdle, "no events in the last 5m", "none", "2026-03-01T23:59:59.5Z", 0},
		{"stripe", "Stripe", "stripe", StatusDegraded, "2 of 12 events failed (17 %)", "0.16666666666666666", "2026-03-04T10:05:20.123456789Z", 1},
		{"twilio", "Twilio", "twilio", StatusDown, "no events in the last 5m, and a critical incident is open", "none", "never", 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	stripe := o.Data[2]
	// The window of 10:00:30.5 to 10:05:30.5 touches six minutes, and is counted from the first one's start.
	line := marshal(t, stripe.Sparkline)
	if want := `[[1772618400000,0],[1772618460000,8],[1772618520000,2],[1772618580000,0],[1772618640000,0],[1772618700000,2]]`; line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	minutes := 5 + 30.5/60
	if math.Abs(stripe.EventsPerMinute-12/minutes) > 1e-9 || math.Abs(o.Totals.EventsPerMinute-32/minutes) > 1e-9 || o.Totals.OpenIncidents != 3 {
		t.Errorf("got %v a minute of %v", stripe.EventsPerMinute, o.Totals)
	}
	o.Data[1].Sparkline = o.Data[1].Sparkline[:1]
	if b := marshal(t, o.Data[1]); b != `{"source":"old","name":"old","vendor":"","status":"idle","reason":"no events in the last 5m","events_per_minute":0,`+
		`"error_share":null,"last_event_at":"2026-03-01T23:59:59.5Z","sparkline":[[1772618400000,0]],"incidents":0}` {
		t.Errorf("got %s", b)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOverviewOfNothingIsAnEmptyList(t *testing.T) {
	o, err := (&Engine{Events: openStore(t)}).Overview(context.Background(), acme, OverviewQuery{Window: 15 * time.Minute, Now: at("2026-03-04T10:05:30Z")})
	if b := marshal(t, o); err != nil || b != `{"data":[],"totals":{"events_per_minute":0,"open_incidents":0}}` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestOverviewShowsTheSourcesThatSendMost(t *testing.T) {
	events := openStore(t)
	w := &writer{t: t, events: events, programs: map[tenant.ID][]*metric.Program{acme: {compile(t, metric.Events(acme))}}}
	now := at("2026-03-04T10:05:30Z")
	var evs []event.Stored
	for i := range MaxSources + 20 {
		for j := range 1 + i {
			evs = append(evs, event.Stored{Tenant: acme, Event: event.Event{ID: fmt.Sprint(i, "-", j), Source: fmt.Sprintf("s%03d", i), Type: "t", Time: now.Add(-time.Minute), Received: now}})
		}
	}
	w.commit(evs)
	o, err := (&Engine{Events: events}).Overview(context.Background(), acme, OverviewQuery{Window: 15 * time.Minute, Now: now, Sources: []string{"s000"}})
	if err != nil || len(o.Data) != MaxSources || o.Data[0].Source != "s000" || o.Data[1].Source != "s021" {
		t.Fatalf("got %d sources, %v", len(o.Data), err)
	}
}
