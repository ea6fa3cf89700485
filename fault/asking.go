//go:build linux

package fault

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
)

// Markers are events of which it is known that they are stored, told from all others by their source.
const (
	markers      = 120
	markerSource = "marker"
	markerAmount = 1.25
	askEvery     = 100 * time.Millisecond
)

// mark sends the markers and waits until they are stored.
func (r *rig) mark() error {
	now := time.Now()
	events := make([]outgoing, markers)
	sent := make([]ledger.Event, markers)
	for i := range events {
		e := &events[i]
		e.Event = ledger.Event{ID: fmt.Sprintf("marker-%d", i), Source: markerSource, Type: "fault.order", Subject: "m", Time: now.UTC()}
		e.data = fmt.Sprintf(`{"amount":%g,"region":%q}`, markerAmount, markerSource)
		e.Data = ledger.Fingerprint([]byte(e.data))
		sent[i] = e.Event
	}
	n := r.ledger.Sending(sent)
	answer, err := r.target.wait(r.ctx).Exchange(r.ctx, http.MethodPost, "/v1/events", http.Header{"Content-Type": {"application/json"}}, array(events, false))
	outcome, status, rejected := judge(answer, err)
	if err := r.ledger.Answered(n, outcome, status, rejected); err != nil {
		return err
	}
	if outcome != ledger.Acknowledged || len(rejected) > 0 {
		return fmt.Errorf("markers: %w: %s", errNotTaken, describe(answer, err))
	}
	return r.settle()
}

// asking is somebody who looks at charts and lists all the while, and has to be answered, with the right numbers, whatever happens to the disk.
type asking struct {
	rig    *rig
	cancel context.CancelFunc
	asks   sync.WaitGroup

	mu      sync.Mutex
	n       int
	slowest time.Duration
	least   float64 // of all events, the last that was seen: what is stored stays so
	err     error   // the first
}

// ask begins to ask three questions, each every askEvery.
func (r *rig) ask() *asking {
	ctx, cancel := context.WithCancel(r.ctx)
	a := &asking{rig: r, cancel: cancel}
	for _, question := range []func(context.Context, *client.Client) error{a.chart, a.list, a.all} {
		a.asks.Go(func() {
			for ctx.Err() == nil {
				a.once(question)
				pause(ctx, askEvery)
			}
		})
	}
	return a
}

// once asks one question; what has begun is waited for.
func (a *asking) once(question func(context.Context, *client.Client) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.rig.ctx), 20*time.Second)
	defer cancel()
	began := time.Now()
	err := question(ctx, a.rig.target.wait(ctx))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	a.slowest = max(a.slowest, time.Since(began))
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("question %d is not answered as it has to be: %w", a.n, err)
		a.rig.server.log.mark("%v", a.err)
	}
}

// end stops asking and says what was not right.
func (a *asking) end() error {
	a.cancel()
	a.asks.Wait()
	a.rig.result.Asked += a.n
	a.rig.result.Slowest = max(a.rig.result.Slowest, a.slowest)
	return a.err
}

func (a *asking) chart(ctx context.Context, c *client.Client) error {
	q := client.Query{Metric: "amounts", From: time.Now().Add(-30 * time.Minute), To: time.Now().Add(time.Minute), Step: "1m", Where: map[string][]string{"source": {markerSource}}}
	for agg, want := range map[string]float64{"count": markers, "sum": markers * markerAmount, "p99": markerAmount} {
		q.Agg = agg
		got, err := c.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("a chart: %w", err)
		}
		if len(got.Series) != 1 || got.Series[0].Total == nil || *got.Series[0].Total != want {
			return fmt.Errorf("a chart says %+v for the %s of the markers, want %v", got.Series, agg, want)
		}
	}
	return nil
}

func (a *asking) list(ctx context.Context, c *client.Client) error {
	events, _, err := c.Events(ctx, client.EventQuery{Source: markerSource, Limit: 2 * markers})
	if err != nil {
		return fmt.Errorf("a list of events: %w", err)
	}
	found := map[string]bool{}
	for i := range events {
		found[events[i].ID] = true
	}
	if len(events) != markers || len(found) != markers {
		return fmt.Errorf("the list has %d markers, %d different ones, want %d", len(events), len(found), markers)
	}
	return nil
}

// all asks for what grows, and must not shrink.
func (a *asking) all(ctx context.Context, c *client.Client) error {
	got, err := c.Query(ctx, client.Query{Metric: "events", Agg: "count", From: time.Now().Add(-30 * 24 * time.Hour), To: time.Now().Add(time.Hour), Step: "1d"})
	if err != nil {
		return fmt.Errorf("the number of events: %w", err)
	}
	if len(got.Series) != 1 || got.Series[0].Total == nil {
		return fmt.Errorf("the number of events is %+v", got.Series)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if *got.Series[0].Total < max(a.least, markers) {
		return fmt.Errorf("there were %v events, now it is %v", a.least, *got.Series[0].Total)
	}
	a.least = *got.Series[0].Total
	return nil
}
