package billing_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/billing"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func secretOf() (text string, key []byte) {
	key = []byte("0123456789abcdef0123456789abcdef")
	return "whsec_" + base64.StdEncoding.EncodeToString(key), key
}

// told is an event as a billing system reads it.
type told struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	Data        struct {
		Tenant   string    `json:"tenant"`
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Revision int64     `json:"revision"`
		Events   int64     `json:"events"`
		Queries  int64     `json:"queries"`
	} `json:"data"`
}

// receiver is a billing system that fails at times. It counts an event once, by source and id, and of an hour the highest revision.
type receiver struct {
	t        *testing.T
	server   *httptest.Server
	mu       sync.Mutex
	answers  []func(w http.ResponseWriter) // to the next requests; none: 204
	requests int
	ids      map[string]int // of events, and how often each came
	batches  map[string]int // of requests
	hours    map[string]told
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, ids: map[string]int{}, batches: map[string]int{}, hours: map[string]told{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	_, key := secretOf()
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(req.Header.Get("Webhook-Id") + "." + req.Header.Get("Webhook-Timestamp") + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || req.Header.Get("Webhook-Signature") != want {
		r.t.Errorf("signature %q, want %q", req.Header.Get("Webhook-Signature"), want)
	}
	var events []told
	if err := json.Unmarshal(body, &events); err != nil || !strings.HasPrefix(req.Header.Get("Content-Type"), "application/cloudevents-batch+json") {
		r.t.Errorf("%s: %v", req.Header.Get("Content-Type"), err)
	}
	r.requests++
	r.batches[req.Header.Get("Webhook-Id")]++
	for _, e := range events {
		r.ids[e.Source+" "+e.ID]++
		hour := e.Subject + " " + e.Data.From.Format(time.RFC3339)
		if e.Data.Revision > r.hours[hour].Data.Revision {
			r.hours[hour] = e
		}
	}
	if len(r.answers) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer := r.answers[0]
	r.answers = r.answers[1:]
	answer(w)
}

func status(n int) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(n) } }

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// forgetful is a book whose process dies before it has noted what was told.
type forgetful struct {
	store.UsageBook
	times int
}

func (f *forgetful) Bill(ctx context.Context, rows []store.Usage) error {
	if f.times--; f.times >= 0 {
		return errors.New("the process died")
	}
	return f.UsageBook.Bill(ctx, rows)
}

func open(t *testing.T) store.UsageBook {
	t.Helper()
	c, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.Usage()
}

func sender(t *testing.T, r *receiver, book store.UsageBook, now time.Time) *billing.Sender {
	t.Helper()
	secret, _ := secretOf()
	s, err := billing.New(billing.Config{URL: r.server.URL, Secret: secret, Source: "https://pulse.example", Book: book,
		Guard: egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEachHourIsToldAtLeastOnceAndCountsOnceWhateverFails(t *testing.T) {
	r, book := newReceiver(t), open(t)
	at := func(h int) time.Time { return noon().Add(time.Duration(h) * time.Hour) }
	var rows []store.Usage
	for h := -600; h <= 0; h++ { // more than fits into a request, and the present hour
		rows = append(rows, store.Usage{Tenant: "acme", Hour: at(h), Events: int64(1000 + h)})
	}
	rows = append(rows, store.Usage{Tenant: "evil", Hour: at(-2), Events: 7})
	if err := book.KeepUsage(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	r.answers = []func(http.ResponseWriter){status(500), cut, status(429), status(301), status(204), cut}
	now := noon().Add(6 * time.Minute)
	failed := 0
	dying := &forgetful{UsageBook: book, times: 1}
	for tries := 0; ; tries++ {
		err := sender(t, r, dying, now).Send(t.Context()) // each a new process
		if err == nil {
			break
		}
		if failed++; tries > 20 {
			t.Fatal(err)
		}
	}
	if failed != 6 {
		t.Errorf("failed %d times: 500, cut, 429, 301, a death, cut", failed)
	}
	if len(r.hours) != 601 || len(r.ids) != 601 || r.ids["https://pulse.example acme/"+at(-600).Format("2006-01-02T15")+"/1"] != 7 || len(r.batches) != 2 {
		t.Errorf("%d hours, %d ids, %d batches after %d requests", len(r.hours), len(r.ids), len(r.batches), r.requests)
	}
	e := r.hours["acme "+at(-1).Format(time.RFC3339)]
	if e.SpecVersion != "1.0" || e.Type != billing.EventType || e.Data.Tenant != "acme" || e.Data.Events != 999 || !e.Time.Equal(noon()) || !e.Data.To.Equal(noon()) {
		t.Errorf("an hour is %+v", e)
	}
	if _, early := r.hours["acme "+noon().Format(time.RFC3339)]; early {
		t.Error("the present hour was told")
	}
	before := r.requests
	if err := sender(t, r, book, now).Send(t.Context()); err != nil || r.requests != before {
		t.Errorf("when nothing is due: %v, %d requests", err, r.requests-before)
	}
	if err := book.AddUsage(t.Context(), []store.Usage{{Tenant: "evil", Hour: at(-2), Queries: 3}}); err != nil {
		t.Fatal(err)
	}
	if err := sender(t, r, book, now).Send(t.Context()); err != nil || r.requests != before+1 {
		t.Errorf("when an hour has changed: %v, %d requests", err, r.requests-before)
	}
	if e := r.hours["evil "+at(-2).Format(time.RFC3339)]; e.Data.Revision != 2 || e.Data.Events != 7 || e.Data.Queries != 3 || r.ids["https://pulse.example evil/2026-11-23T10/2"] != 1 {
		t.Errorf("the changed hour is %+v", e)
	}
}

func TestABillingSystemAtAPrivateAddressIsNotReachedUnlessAllowed(t *testing.T) {
	r, book := newReceiver(t), open(t)
	if err := book.KeepUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: noon().Add(-2 * time.Hour), Events: 1}}); err != nil {
		t.Fatal(err)
	}
	secret, _ := secretOf()
	s, err := billing.New(billing.Config{URL: r.server.URL + "/?token=hidden", Secret: secret, Source: "here", Book: book, Guard: egress.New(nil), Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context()); err == nil || r.requests != 0 || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v, %d requests", err, r.requests)
	}
	if _, err := billing.New(billing.Config{URL: r.server.URL, Secret: "whsec_short", Guard: egress.New(nil)}); err == nil || !strings.Contains(err.Error(), "PULSESTREAM_BILLING_SECRET") {
		t.Errorf("without a secret: %v", err)
	}
}
