package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// history is a list of committed transitions.
type history struct {
	mu   sync.Mutex
	list []store.NumberedTransition
	err  error
}

func (h *history) Transitions(_ context.Context, after uint64, limit int) ([]store.NumberedTransition, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []store.NumberedTransition
	for _, t := range h.list {
		if t.Number > after && len(out) < limit {
			out = append(out, t)
		}
	}
	return out, h.err
}

func (h *history) commit(ts ...alert.Transition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range ts {
		h.list = append(h.list, store.NumberedTransition{Number: uint64(len(h.list) + 1), Transition: t})
	}
}

// script is a type of channel that does as it is told and remembers what it was given.
type script struct {
	mu   sync.Mutex
	sent []Message
	do   func(ctx context.Context, m Message) Outcome
}

func (s *script) Send(ctx context.Context, m Message) Outcome {
	s.mu.Lock()
	do := s.do
	s.mu.Unlock()
	var o Outcome
	if do != nil {
		o = do(ctx, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, m)
	return o
}

func (s *script) set(do func(ctx context.Context, m Message) Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

// messages returns what was tried, in order, and forgets it.
func (s *script) messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sent
	s.sent = nil
	return out
}

func (s *script) Configure(entered, _ json.RawMessage) (json.RawMessage, map[string]string, error) {
	return entered, nil, nil
}
func (s *script) Redact(config json.RawMessage) (json.RawMessage, error) { return config, nil }

// rig is a notifier on a real catalog, with a clock and a receiver under the test's control.
type rig struct {
	*Notifier
	t       *testing.T
	path    string
	catalog *sqlite.Store
	history *history
	clock   *clock
	hook    *script
	cfg     Config
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "catalog.sqlite"), history: &history{}, clock: &clock{at: noon()}, hook: &script{}, cfg: cfg}
	r.open()
	t.Cleanup(func() { r.catalog.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.catalog, err = sqlite.Open(r.t.Context(), sqlite.Config{Path: r.path}); err != nil {
		r.t.Fatal(err)
	}
	r.renew()
}

// renew replaces the notifier by one that knows nothing of its predecessor.
func (r *rig) renew() { r.Notifier = r.another() }

func (r *rig) another() *Notifier {
	return New(r.cfg, Deps{
		Transitions: r.history, Queue: r.catalog.Queue(), Channels: CatalogChannels(r.catalog), Types: Registry{"hook": r.hook},
		Log: slog.New(slog.DiscardHandler), Now: r.clock.now,
		IncidentURL: func(t alert.Transition) string { return "https://pulse.example.com/incidents/" + t.Incident },
	})
}

// restart closes everything, as a process that ends does, and opens it again.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.catalog.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) channel(t tenant.ID, slugs ...string) {
	r.t.Helper()
	for _, slug := range slugs {
		body, err := Channel{Type: "hook", Config: json.RawMessage(`{}`)}.Body()
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.catalog.Put(r.t.Context(), store.Put{Tenant: t, Kind: store.KindChannel, Slug: slug, Body: body, At: noon()}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// run runs once and waits for all attempts that it led to.
func (r *rig) run() Result {
	r.t.Helper()
	res, err := r.runOnce(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.attempts.Wait()
	return res
}

func (r *rig) jobs(t tenant.ID) []store.Job {
	r.t.Helper()
	jobs, err := r.catalog.Queue().Jobs(r.t.Context(), t, "", 10_000)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.SortFunc(jobs, func(a, b store.Job) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return jobs
}

func (r *rig) onlyJob(t tenant.ID) store.Job {
	r.t.Helper()
	jobs := r.jobs(t)
	if len(jobs) != 1 {
		r.t.Fatalf("%d jobs, want one: %+v", len(jobs), jobs)
	}
	return jobs[0]
}

// fired and resolved make transitions of an incident of acme.
func fired(incident string, channels ...string) alert.Transition {
	return transition("acme", incident, alert.PhaseFiring, channels...)
}

func resolved(incident string, channels ...string) alert.Transition {
	return transition("acme", incident, alert.PhaseOK, channels...)
}

func transition(t tenant.ID, incident string, kind alert.Phase, channels ...string) alert.Transition {
	return alert.Transition{
		ID: fmt.Sprintf("%s-%s", incident, kind), Tenant: t, Incident: incident, Rule: "fails", RuleName: "Charges fail", Metric: "charges",
		Labels: map[string]string{"country": "US"}, Kind: kind, At: noon(), StartedAt: noon(), Value: 12.5, Threshold: 10, Severity: "critical",
		Summary: "Too many", Explanation: "12.5 > 10", Channels: channels,
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
