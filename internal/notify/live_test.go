package notify_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/egress"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/notify/email"
	"github.com/pulsestream/pulsestream/internal/notify/webhook"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
)

// commits is a list of transitions that grows.
type commits struct {
	mu   sync.Mutex
	list []store.NumberedTransition
}

func (c *commits) Transitions(_ context.Context, after uint64, limit int) ([]store.NumberedTransition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := min(int(after), len(c.list))
	return slices.Clone(c.list[from:min(from+limit, len(c.list))]), nil
}

func (c *commits) add(t alert.Transition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, store.NumberedTransition{Number: uint64(len(c.list) + 1), Transition: t})
}

// As app wires it: the real queue on disk, the real webhook through the real guard to a real socket.
func TestCommittedTransitionIsAWebhookWithinMilliseconds(t *testing.T) {
	arrived := make(chan time.Time, 100)
	down := new(atomic.Bool)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || !json.Valid(b) {
			t.Errorf("%s %v", b, err)
		}
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		arrived <- time.Now()
	}))
	defer srv.Close()
	catalog, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	defer catalog.Close()

	guard := egress.New([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	types := notify.Registry{
		webhook.Name: webhook.New(webhook.Config{Guard: guard}),
		email.Name:   email.New(email.Config{Guard: guard}),
	}
	tp, err := types.Type(webhook.Name)
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := tp.Configure(json.RawMessage(`{"url":"`+srv.URL+`"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := notify.Channel{Type: webhook.Name, Config: config}.Body()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindChannel, Slug: "ops", Body: body, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	source := &commits{}
	var ahead atomic.Int64 // of the wall clock
	n := notify.New(notify.Config{Poll: 10 * time.Second}, notify.Deps{
		Transitions: source, Queue: catalog.Queue(), Channels: notify.CatalogChannels(catalog), Types: types, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range 20 {
		begin := time.Now()
		source.add(alert.Transition{ID: string(rune('a' + i)), Tenant: "acme", Incident: "inc", Kind: alert.PhaseFiring, At: begin, StartedAt: begin, Channels: []string{"ops"}})
		n.Wake()
		took = append(took, (<-arrived).Sub(begin))
	}
	slices.Sort(took)
	t.Logf("commit to webhook: median %s, worst %s", took[10], took[19])
	if took[10] > 200*time.Millisecond {
		t.Errorf("median %s", took[10])
	}
	// A receiver that is down and comes back.
	down.Store(true)
	source.add(alert.Transition{ID: "late", Tenant: "acme", Incident: "inc-2", Kind: alert.PhaseFiring, At: time.Now(), Channels: []string{"ops"}})
	n.Wake()
	<-arrived
	down.Store(false)
	deadline := time.After(10 * time.Second)
	for n.Stats().Retried == 0 {
		select {
		case <-deadline:
			t.Fatal("the failure was not recorded")
		case <-time.After(time.Millisecond):
		}
	}
	ahead.Add(int64(10 * time.Second))
	n.Wake()
	<-arrived
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	jobs, err := catalog.Queue().Jobs(t.Context(), "acme", "inc-2", 10)
	if err != nil || len(jobs) != 1 || jobs[0].State != store.JobDone || jobs[0].Attempts != 2 {
		t.Errorf("%+v %v", jobs, err)
	}
}
