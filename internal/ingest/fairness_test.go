package ingest_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// doorway is a door with a clock that the test moves, whose senders are named by a header.
type doorway struct {
	now     time.Time
	senders map[string]ingest.Sender
	refused map[string]int // by tenant and reason
	handler http.Handler
}

func newDoorway(t *testing.T, quotas ingest.Quotas, senders map[string]ingest.Sender) *doorway {
	t.Helper()
	d := &doorway{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), senders: senders, refused: map[string]int{}}
	c := ingest.NewCommitter(&roomyLog{}, 1<<20, time.Now)
	t.Cleanup(c.Stop)
	now := func() time.Time { return d.now }
	room := limit.NewRoom(64 << 20)
	d.handler = ingest.NewDoor(ingest.DoorConfig{Committer: c, Meter: limit.NewLocal(now), Quotas: quotas, Room: room, Readers: 1, Ready: func() error { return nil },
		Refused: func(id tenant.ID, reason string) { d.refused[string(id)+" "+reason]++ }, Now: now, Log: slog.New(slog.DiscardHandler)}).
		Events(func(r *http.Request) (ingest.Sender, error) { return d.senders[r.Header.Get("Sender")], nil })
	return d
}

func (d *doorway) send(sender, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sender", sender)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func TestATenantAtTwentyTimesItsShareGets429AndItsNeighboursNoticeNothing(t *testing.T) {
	const share, seconds = 100, 20 // events a second
	senders := map[string]ingest.Sender{}
	for _, id := range []string{"flood", "calm", "busy"} {
		senders[id] = ingest.Sender{Tenant: tenant.ID(id), Name: id, Retention: time.Hour, Rate: share}
	}
	d := newDoorway(t, nil, senders)
	status := map[string]map[int]int{"flood": {}, "calm": {}, "busy": {}}
	for tick := range seconds * share * 20 { // the flood sends at each
		d.now = d.now.Add(time.Second / (share * 20))
		send := func(id string) {
			w := d.send(id, `{"type":"a"}`)
			status[id][w.Code]++
			if w.Code == http.StatusTooManyRequests && (w.Header().Get("Retry-After") == "" || w.Header().Get("RateLimit-Policy") != `"events";q=100;w=1`) {
				t.Fatalf("a refusal says %v", w.Header())
			}
		}
		send("flood")
		if tick%20 == 0 {
			send("busy") // all that it may
		}
		if tick%200 == 0 {
			send("calm")
		}
	}
	if n := status["flood"][http.StatusAccepted]; float64(n) > (share+share*seconds)*1.01 || n < share*seconds {
		t.Errorf("of the flood %d were taken, at most %d are its part", n, share+share*seconds)
	}
	if n := status["flood"][http.StatusTooManyRequests]; n != seconds*share*20-status["flood"][http.StatusAccepted] || d.refused["flood rate"] != n {
		t.Errorf("of the flood: %v, refused %v", status["flood"], d.refused)
	}
	if len(status["calm"]) != 1 || status["calm"][http.StatusAccepted] != seconds*share/10 || len(status["busy"]) != 1 || status["busy"][http.StatusAccepted] != seconds*share {
		t.Errorf("its neighbours: calm %v, busy %v", status["calm"], status["busy"])
	}
}

func TestAKeysRateIsHeldBesideItsTenants(t *testing.T) {
	tenants := func(key string, rate, keyRate float64) ingest.Sender {
		return ingest.Sender{Tenant: "acme", Name: key, Retention: time.Hour, Rate: rate, Key: "key:" + key, KeyRate: keyRate}
	}
	d := newDoorway(t, nil, map[string]ingest.Sender{"slow": tenants("slow", 100, 10), "fast": tenants("fast", 100, 0)})
	taken := map[string]int{}
	for range 1000 {
		for _, key := range []string{"slow", "fast"} {
			if w := d.send(key, `{"type":"a"}`); w.Code == http.StatusAccepted {
				taken[key]++
			}
		}
	}
	// What the slow key was refused has not used up what the tenant may.
	if taken["slow"] != 10 || taken["fast"] != 90 {
		t.Errorf("at once: %v, want 10 of the slow key, of 100 of the tenant", taken)
	}
	if d.refused["acme key-rate"] == 0 || d.refused["acme rate"] == 0 {
		t.Errorf("refused: %v", d.refused)
	}
	d.now = d.now.Add(time.Second)
	w := d.send("slow", `{"type":"a"}`)
	if w.Code != http.StatusAccepted || w.Header().Get("RateLimit-Policy") != `"events";q=100;w=1, "key";q=10;w=1` || !strings.HasPrefix(w.Header().Get("RateLimit"), `"events";r=99;t=1, "key";r=9;`) {
		t.Errorf("a second later: %d %v", w.Code, w.Header())
	}
}

// month is a tenant's month: what is used of it, and how long it lasts.
type month struct {
	events, bytes int64
	left          time.Duration
}

func (m *month) Month(tenant.ID) (events, bytes int64, resets time.Duration) {
	return m.events, m.bytes, m.left
}
func (m *month) Taken(_ tenant.ID, events, bytes int64) {
	m.events, m.bytes = m.events+events, m.bytes+bytes
}

func TestAQuotaOfTheMonthRefusesUntilTheMonthIsOver(t *testing.T) {
	ten, many := int64(10), int64(1000)
	m := &month{left: 100 * time.Hour}
	d := newDoorway(t, m, map[string]ingest.Sender{
		"acme": {Tenant: "acme", Name: "acme", Retention: time.Hour, Quotas: tenant.Quotas{EventsPerMonth: &ten, BytesPerMonth: &many}},
		"free": {Tenant: "free", Name: "free", Retention: time.Hour}})
	const body = `{"type":"a","id":"x","source":"s","data":[1]}`
	size := (&event.Event{ID: "x", Source: "s", Type: "a", Data: []byte("[1]")}).Size()
	for i := range int64(9) {
		w := d.send("acme", body)
		want := fmt.Sprintf(`"month";r=%d;t=360000, "month-bytes";r=%d;t=360000`, ten-i, many-i*size)
		if w.Code != http.StatusAccepted || w.Header().Get("RateLimit") != want {
			t.Fatalf("%d, RateLimit %s, want %s", w.Code, w.Header().Get("RateLimit"), want)
		}
	}
	if w := d.send("acme", `[`+strings.Repeat(body+`,`, 4)+body+`]`); w.Code != http.StatusAccepted { // there is room for one, and a half is not refused
		t.Errorf("the last: %d", w.Code)
	}
	if m.events != 14 || m.bytes != 14*size {
		t.Errorf("used: %+v, want 14 events of %d bytes", m, size)
	}
	for left, retry := range map[time.Duration]int{100 * time.Hour: 3600, 90 * time.Second: 90, time.Millisecond: 1} {
		m.left = left
		w := d.send("acme", body)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != strconv.Itoa(retry) || !strings.Contains(w.Body.String(), "quota_exceeded") {
			t.Errorf("with %v left: %d, Retry-After %s, want %d", left, w.Code, w.Header().Get("Retry-After"), retry)
		}
	}
	if w := d.send("free", body); w.Code != http.StatusAccepted || w.Header().Get("RateLimit") != "" {
		t.Errorf("one without a quota: %d %v", w.Code, w.Header())
	}
	m.events, m.bytes = 0, many
	if w := d.send("acme", body); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "bytes of events") {
		t.Errorf("bytes used up: %d %s", w.Code, w.Body)
	}
}
