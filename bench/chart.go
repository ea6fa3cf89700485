package bench

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// A subscription gets at most one frame a step. To measure the pipeline and not that rule, probes take turns on lanes: each lane
// is a type of event with a subscription of its own, and rests for longer than a step between two probes.
const (
	laneRest        = 2500 * time.Millisecond
	lanesPerSocket  = 32
	maxLanes        = 1024
	probeType       = "bench.probe."
	kindProbe       = "probe"
	probeGrace      = 5 * time.Second // how long after the last probe a frame is waited for
	subscribeLimit  = 30 * time.Second
	progressEvery   = 5 * time.Second
	chartSettleTime = time.Second // load before the first probe
)

// lanesFor is how many lanes give each its rest.
func lanesFor(d time.Duration, probes int) int {
	return int(math.Ceil(float64(laneRest) / float64(d) * float64(probes)))
}

// ChartResult is the way of events to the chart.
type ChartResult struct {
	Latency Latency `json:"latency"`
	// Ack is the part of it until the sender had its answer.
	Ack    Latency    `json:"ack"`
	Probes int        `json:"probes"`
	Failed int        `json:"failed"` // requests
	Lost   int        `json:"lost"`   // accepted, and not shown in time
	Lanes  int        `json:"subscriptions"`
	Busy   Busy       `json:"busy_chart"`
	Load   LoadResult `json:"load"`
	// CPU is the server's CPU time for each event, in microseconds; 0 when it is not known.
	CPU float64 `json:"cpu_us_per_event"`
}

// lane is one type of probe and what its subscription shows.
type lane struct {
	mu      sync.Mutex
	sent    []time.Time // of each probe, just before its request
	shown   int         // of sent
	steps   map[int64]float64
	latency []time.Duration
	broken  bool // a request failed: what is counted no longer says which probe it was
}

// frame takes a frame in that arrived at a time: every probe that it counts and no earlier frame did, is shown now.
func (l *lane) frame(f *client.Frame, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := countOf(f, l.steps)
	for l.shown < len(l.sent) && float64(l.shown) < total && !l.broken {
		l.latency = append(l.latency, at.Sub(l.sent[l.shown]))
		l.shown++
	}
}

// countOf merges a frame's points, of which a later replaces an earlier one, and returns the count over all steps.
func countOf(f *client.Frame, steps map[int64]float64) float64 {
	for _, s := range f.Series {
		for _, p := range s.Points {
			if p.Value != nil {
				steps[p.Time.UnixMilli()] = *p.Value
			}
		}
	}
	total := 0.0
	for _, v := range steps {
		total += v
	}
	return total
}

// chart measures the way of probes to their charts, and how far a busy chart is behind.
func (r *run) chart(ctx context.Context, report *Report) error {
	r.say("Event to chart: %d probes in %s, at %.0f events/s", r.Probes, r.Duration, r.Rate)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lanes := make([]*lane, lanesFor(r.Duration, r.Probes))
	for i := range lanes {
		lanes[i] = &lane{steps: map[int64]float64{}}
	}
	var sockets []*client.Live
	defer func() {
		cancel() // first, so that those who read know that it is meant
		for _, s := range sockets {
			_ = s.Close()
		}
	}()
	for from := 0; from < len(lanes); from += lanesPerSocket {
		s, err := r.watchLanes(ctx, lanes[from:min(from+lanesPerSocket, len(lanes))], from)
		if err != nil {
			return err
		}
		sockets = append(sockets, s)
	}
	before := r.cpu(ctx)
	l := r.startLoad(ctx, PartChart)
	busy, socket, err := r.watchBusy(ctx)
	if err != nil {
		l.stop()
		return err
	}
	sockets = append(sockets, socket)
	result := &ChartResult{Lanes: len(lanes)}
	err = r.sendProbes(ctx, lanes, l, result)
	result.Load = l.stop()
	if err != nil {
		return err
	}
	if used := r.cpu(ctx) - before; before > 0 && used > 0 {
		result.CPU = math.Round(used*1e6/float64(result.Load.Sent+result.Probes)*10) / 10
	}
	result.Busy = busy.result(l.log)
	report.Chart = result
	return nil
}

// watchLanes opens a connection with a subscription for each lane, and follows it.
func (r *run) watchLanes(ctx context.Context, lanes []*lane, first int) (*client.Live, error) {
	byID := map[string]*lane{}
	var subs []client.Subscription
	for i, l := range lanes {
		id := strconv.Itoa(first + i)
		byID[id] = l
		subs = append(subs, client.Subscription{ID: id, Metric: "events", Agg: "count", Step: "1s", Since: "1m",
			Where: map[string]string{"source": r.source(kindProbe), "type": probeType + id}})
	}
	return r.follow(ctx, subs, func(f *client.Frame, at time.Time) { byID[f.ID].frame(f, at) })
}

// follow opens a connection, subscribes, waits for the snapshots, and then calls each for every frame until ctx ends.
func (r *run) follow(ctx context.Context, subs []client.Subscription, each func(*client.Frame, time.Time)) (*client.Live, error) {
	opening, cancel := context.WithTimeout(ctx, subscribeLimit)
	defer cancel()
	socket, err := r.client.Live(opening)
	if err != nil {
		return nil, err
	}
	for _, s := range subs {
		if err := socket.Subscribe(opening, s); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		f, err := socket.Next(opening)
		for err == nil && f.Op == "points" { // of those before
			each(&f, time.Now())
			f, err = socket.Next(opening)
		}
		if err != nil {
			return nil, fmt.Errorf("wait for a snapshot: %w", err)
		}
		if f.Op != "snapshot" {
			return nil, fmt.Errorf("the server refuses a subscription: %s %s %s", f.Op, f.Code, f.Detail)
		}
		each(&f, time.Now())
	}
	go func() {
		for {
			f, err := socket.Next(ctx)
			at := time.Now()
			if err != nil {
				if ctx.Err() == nil {
					r.say("A live connection broke off: %v", err)
				}
				return
			}
			if f.Op == "points" || f.Op == "snapshot" {
				each(&f, at)
			}
		}
	}()
	return socket, nil
}

// sendProbes sends each probe at its time, one event in a request of its own, then waits for what is not shown yet.
func (r *run) sendProbes(ctx context.Context, lanes []*lane, l *load, result *ChartResult) error {
	plan := pace{time.Now().Add(chartSettleTime), float64(r.Probes) / r.Duration.Seconds()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acks []time.Duration
	told := time.Now()
	for i := range r.Probes {
		if err := sleep(ctx, time.Until(plan.due(i))); err != nil {
			return err
		}
		if time.Since(told) > progressEvery {
			told = time.Now()
			r.say("  %d of %d probes, %d events", i, r.Probes, l.sentSoFar())
		}
		wg.Go(func() {
			ack, err := r.probe(ctx, lanes[i%len(lanes)], i, i%len(lanes))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				acks = append(acks, ack)
			} else {
				result.Failed++
			}
		})
	}
	wg.Wait()
	_ = until(ctx, probeGrace, 10*time.Millisecond, "all probes are shown", func() (bool, error) { return shownOf(lanes) >= r.Probes-result.Failed, nil })
	var all []time.Duration
	for _, l := range lanes {
		l.mu.Lock()
		all = append(all, l.latency...)
		l.mu.Unlock()
	}
	result.Probes, result.Lost = r.Probes, r.Probes-result.Failed-len(all)
	result.Latency, result.Ack = LatencyOf(all), LatencyOf(acks)
	return ctx.Err()
}

func shownOf(lanes []*lane) int {
	n := 0
	for _, l := range lanes {
		l.mu.Lock()
		n += l.shown
		l.mu.Unlock()
	}
	return n
}

func (r *run) probe(ctx context.Context, l *lane, number, index int) (ack time.Duration, err error) {
	body := []byte(strings.Join([]string{`{"id":"`, r.id, `-probe-`, strconv.Itoa(number), `","source":"`, r.source(kindProbe), `","type":"`, probeType,
		strconv.Itoa(index), `","data":{"probe":`, strconv.Itoa(number), `}}`}, ""))
	l.mu.Lock()
	start := time.Now()
	l.sent = append(l.sent, start)
	l.mu.Unlock()
	receipt, err := r.client.SendRaw(ctx, "application/json", body, nil)
	ack = time.Since(start)
	if err == nil && receipt.Accepted != 1 {
		err = fmt.Errorf("%d events accepted, not 1", receipt.Accepted)
	}
	if err != nil {
		l.mu.Lock()
		l.broken = true
		l.mu.Unlock()
	}
	return ack, err
}
