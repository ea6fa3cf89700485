package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

const (
	kindIngest  = "ingest"
	ingestType  = "bench.ingest."
	drainLimit  = 5 * time.Minute
	drainEvery  = 25 * time.Millisecond
	refusedWait = 20 * time.Millisecond
)

// IngestResult is how much was taken when as much is sent as goes.
type IngestResult struct {
	Accepted    int     `json:"accepted"`
	Rate        float64 `json:"acknowledged_per_second"`
	Ack         Latency `json:"ack"`
	Refused     int     `json:"refused_requests"` // 429 and 503: back-pressure
	Errors      int     `json:"failed_requests"`
	Error       string  `json:"first_error,omitempty"`
	BatchSize   int     `json:"batch"`
	Connections int     `json:"connections"`
	EventBytes  float64 `json:"json_bytes_per_event"`
	// Drained is how long after the last answer a query counted all that was acknowledged.
	Drained float64 `json:"drained_ms"`
	// CPU is the server's CPU time for each event until all was drained, in microseconds; 0 when it is not known.
	CPU float64 `json:"cpu_us_per_event"`
}

// flood sends as fast as answers come.
type flood struct {
	r     *run
	gen   generator
	next  atomic.Int64
	bytes atomic.Int64
	mu    sync.Mutex
	res   IngestResult
	acks  []time.Duration
}

// ingest measures how many events a second are acknowledged, and when all of them can be queried.
func (r *run) ingest(ctx context.Context, report *Report) error {
	r.say("Ingest: batches of %d on %d connections for %s, as fast as it goes", r.BatchSize, r.Connections, r.IngestFor)
	f := &flood{r: r, gen: generator{source: r.source(kindIngest), prefix: r.id + "-ingest", types: ingestType}}
	before, from := r.cpu(ctx), time.Now()
	sending, cancel := context.WithTimeout(ctx, r.IngestFor)
	defer cancel()
	var wg sync.WaitGroup
	for range r.Connections {
		wg.Go(func() {
			for sending.Err() == nil && f.send(ctx, sending) == nil {
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	end := time.Now()
	res := &f.res
	r.say("  %d events acknowledged; waiting until all can be queried", res.Accepted)
	if err := r.drained(ctx, ingestType, r.source(kindIngest), from, res.Accepted); err != nil {
		return err
	}
	res.Drained = ms(time.Since(end))
	if used := r.cpu(ctx) - before; before > 0 && used > 0 && res.Accepted > 0 {
		res.CPU = math.Round(used*1e6/float64(res.Accepted)*10) / 10
	}
	res.Rate = math.Round(float64(res.Accepted) / end.Sub(from).Seconds())
	res.EventBytes = math.Round(float64(f.bytes.Load()) / float64(max(1, f.next.Load())))
	res.Ack, res.BatchSize, res.Connections = LatencyOf(f.acks), r.BatchSize, r.Connections
	report.Ingest = res
	return nil
}

// send sends one batch, again when the server says that it has too much to do. Its error ends a connection.
func (f *flood) send(ctx, sending context.Context) error {
	n := f.r.BatchSize
	body := f.gen.batch(int(f.next.Add(int64(n)))-n, n, nil)
	f.bytes.Add(int64(len(body)))
	for {
		at := time.Now()
		receipt, err := f.r.client.SendRaw(ctx, "application/json", body, nil)
		ack := time.Since(at)
		status := client.StatusOf(err)
		busy := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
		f.mu.Lock()
		switch {
		case busy:
			f.res.Refused++
		case err != nil:
			f.res.Errors++
			if f.res.Error == "" {
				f.res.Error = err.Error()
			}
		default:
			f.res.Accepted += receipt.Accepted
			f.acks = append(f.acks, ack)
		}
		f.mu.Unlock()
		if !busy {
			return err
		}
		if err := sleep(sending, refusedWait); err != nil {
			return err
		}
	}
}

// drained waits until a query of the built-in metric counts want events of all sources of a kind.
func (r *run) drained(ctx context.Context, typePrefix, source string, from time.Time, want int) error {
	where := map[string][]string{}
	for i := range loadSources {
		where["source"] = append(where["source"], fmt.Sprintf("%s-%d", source, i))
	}
	for i := range loadTypes {
		where["type"] = append(where["type"], fmt.Sprintf("%s%d", typePrefix, i))
	}
	got := 0.0
	return until(ctx, drainLimit, drainEvery, fmt.Sprintf("all of %d events can be queried", want), func() (bool, error) {
		q := client.Query{Metric: "events", Agg: "count", Step: "1h", From: from.Add(-time.Minute), To: time.Now().Add(time.Minute), Where: where}
		res, err := r.client.Query(ctx, q)
		if err != nil {
			return false, err
		}
		got = res.Totals("")[""]
		if got > float64(want) {
			return true, fmt.Errorf("%.0f events were counted, but only %d sent", got, want)
		}
		return got == float64(want), nil
	})
}
