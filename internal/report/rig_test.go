package report_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// events are a source of events in memory.
type events struct {
	all  []event.Stored
	hold chan struct{} // when set, a scan waits for it before the first event
	fail error
}

func (e *events) Partition(context.Context, int) (store.PartitionState, error) {
	n := uint64(len(e.all))
	return store.PartitionState{Offset: store.Offset{Seq: n}}, nil
}

func (e *events) Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error {
	if e.hold != nil {
		select {
		case <-e.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i := range e.all {
		ev := &e.all[i]
		if ev.Tenant != t || s.Source != "" && s.Source != ev.Source {
			continue
		}
		if err := each(ev); err != nil {
			return err
		}
	}
	return e.fail
}

type engine struct{ query.Result }

func (e engine) Run(context.Context, tenant.ID, *metric.Program, query.Query) (query.Result, error) {
	return e.Result, nil
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// rig is a service with what it stands on.
type rig struct {
	*report.Service
	t     *testing.T
	dir   string
	cfg   report.Config
	clock *clock
	stop  func()
}

func newRig(t *testing.T, e *events, change func(*report.Config)) *rig {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	r := &rig{t: t, dir: t.TempDir(), clock: c, stop: func() {}}
	r.cfg = report.Config{Dir: r.dir, Log: slog.New(slog.DiscardHandler), Now: c.now, Events: e, Partitions: 4, Running: 2,
		Metrics:    func(context.Context, tenant.ID) (*metric.Set, error) { return metrics(t), nil },
		Query:      engine{answer()},
		Incomplete: func() bool { return false },
		Disk:       func(string) (uint64, uint64, error) { return 1 << 40, 1 << 41, nil },
	}
	if change != nil {
		change(&r.cfg)
	}
	r.open()
	return r
}

// open starts the service, as a server does.
func (r *rig) open() {
	r.t.Helper()
	r.Service = report.Open(r.cfg)
}

// run lets it write until the test or stop ends it.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	var done sync.WaitGroup
	done.Go(func() { r.Run(ctx) })
	r.stop = func() { cancel(); done.Wait() }
	r.t.Cleanup(r.stop)
}

func (r *rig) order(t tenant.ID, o report.Order) report.Report {
	r.t.Helper()
	out, err := r.Order(t, o)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// wait polls until a report is in a state.
func (r *rig) wait(one report.Report, states ...report.State) report.Report {
	r.t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		got, err := r.Get(one.Tenant, one.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, s := range states {
			if got.State == s {
				return got
			}
		}
		select {
		case <-deadline:
			r.t.Fatalf("the report is %+v, want %v", got, states)
		case <-tick.C:
		}
	}
}

// file is the path of a report's file on disk.
func (r *rig) file(one report.Report) string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, "*", one.ID+"."+string(one.Format)))
	if err != nil || len(found) != 1 {
		r.t.Fatalf("files of the report: %v, %v", found, err)
	}
	return found[0]
}

// files are the names of all that is in the directory.
func (r *rig) files() []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, "*", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func metrics(t *testing.T) *metric.Set {
	t.Helper()
	p, err := metric.Compile(metric.Definition{Tenant: "acme", Slug: "revenue", Value: "data.amount", Dimensions: map[string]string{"country": "data.country"}})
	if err != nil {
		t.Fatal(err)
	}
	return metric.NewSet([]*metric.Program{p})
}

func answer() query.Result {
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMilli()
	return query.Result{Metric: "revenue", Agg: series.Sum, Series: []query.Series{
		{Labels: map[string]string{"country": "=DE"}, Points: query.Points{{UnixMS: at, Value: 12.5, Valid: true}, {UnixMS: at + 60_000}}},
		{Labels: map[string]string{series.OtherValue: "true"}, Points: query.Points{{UnixMS: at, Value: -3, Valid: true}, {UnixMS: at + 60_000, Value: 1e21, Valid: true}}},
	}}
}

// odd are events that are hard to write as they are, in the order of the log.
func odd() []event.Stored {
	at := func(ns int64) time.Time { return time.Unix(0, ns).UTC() }
	texts := []string{"", "=1+1", "+4", "-4", "@a", "\tx", "'", "'=", "it's", `"`, `a"b""c`, "a,b", "a;b", "one\r\ntwo", "日本語 🚀", "＝1", "\u0000", "\\N", "null", " x "}
	documents := []string{`{"a": 1,"a":2 , "n":9007199254740993,"e":1e400}`, `-5`, `"=1+1"`, `null`, `""`, `{"t":"a\nb","q":"\""}`, "[1,\n2]", `{}`}
	var all []event.Stored
	for i, s := range texts {
		ev := event.Event{ID: fmt.Sprint(i, s), Source: s, Type: s, Subject: s, Time: at(int64(i) * 1_000_000_001), Received: at(1_800_000_000_123_456_789 + int64(i))}
		if i%5 != 4 {
			ev.Data = []byte(documents[i%len(documents)])
		}
		if i%3 == 0 {
			ev.Extensions = []byte(`{"x": "y,\"z\""}`)
		}
		all = append(all, event.Stored{Tenant: "acme", Position: event.Position{Seq: uint64(i + 1)}, Event: ev})
	}
	return append(all, event.Stored{Tenant: "other", Event: event.Event{ID: "not yours", Time: at(0), Received: at(0)}})
}

// realistic makes n events of about 350 bytes in the form in which they are sent.
func realistic(n int) []event.Stored {
	r := rand.New(rand.NewPCG(1, 2))
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	all := make([]event.Stored, n)
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i := range all {
		at = at.Add(time.Duration(r.IntN(2_000_000)))
		source := pick("stripe", "github", "sendgrid", "twilio", "shopify")
		data := fmt.Sprintf(`{"id":"ch_%s","object":"charge","amount":%d,"currency":"%s","customer":"cus_%s","livemode":true,"country":"%s","status":"%s","payment_method":{"brand":"%s","last4":"%04d","network":"visa"},"attempt":%d,"latency_ms":%.2f}`,
			word(16), r.IntN(100_000), pick("usd", "eur", "gbp"), word(10), pick("DE", "US", "FR", "GB"), pick("succeeded", "failed", "pending"), pick("visa", "mastercard", "amex"), r.IntN(10_000), r.IntN(4), r.Float64()*1000)
		all[i] = event.Stored{Tenant: "acme", Position: event.Position{Seq: uint64(i/1000 + 1), Index: uint32(i % 1000)}, Event: event.Event{
			ID: "evt_" + word(20), Source: source, Type: fmt.Sprintf("%s.thing%d.done", source, r.IntN(12)), Subject: "cus_" + fmt.Sprint(r.IntN(20_000)),
			Time: at.Add(-time.Duration(r.IntN(1_000_000_000))), Received: at, Data: []byte(data), Identified: true}}
	}
	return all
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
