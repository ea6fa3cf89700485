package bench

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const (
	loadType    = "bench.load."
	kindLoad    = "load"
	loadTypes   = 8
	loadSources = 4
	senders     = 8
)

// generator makes events of the load: JSON of about 300 bytes, each with an id, of several types and sources.
type generator struct {
	source string
	prefix string // of ids
	types  string
}

// batch is a JSON array of n events from number first on. At gives their times; without it they are the server's to set.
func (g *generator) batch(first, n int, at func(i int) time.Time) []byte {
	dst := append(make([]byte, 0, n*400), '[')
	for i := first; i < first+n; i++ {
		if i > first {
			dst = append(dst, ',')
		}
		var t time.Time
		if at != nil {
			t = at(i)
		}
		dst = g.appendEvent(dst, i, t)
	}
	return append(dst, ']')
}

var (
	countries = [...]string{"US", "DE", "FR", "GB", "BR", "IN", "JP", "NL"}
	statuses  = [...]string{"succeeded", "succeeded", "succeeded", "succeeded", "failed"}
)

func (g *generator) appendEvent(dst []byte, i int, at time.Time) []byte {
	number := func(name string, n int) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	text := func(name, value string) {
		dst = append(dst, name...)
		dst = append(dst, value...)
	}
	text(`{"id":"`, g.prefix)
	dst = appendHex(append(dst, '-'), scatter(uint64(i))) //nolint:gosec // i is not negative
	text(`","source":"`, g.source)
	number(`-`, i/3%loadSources)
	text(`","type":"`, g.types)
	number(``, i%loadTypes)
	if !at.IsZero() {
		dst = append(dst, `","time":"`...)
		dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	}
	number(`","subject":"customer_`, i*7919%5000)
	number(`","data":{"object":"charge","amount":`, 100+i*37%20_000)
	text(`,"currency":"usd","country":"`, countries[i*5%len(countries)])
	text(`","status":"`, statuses[i*3%len(statuses)])
	number(`","attempt":`, 1+i%3)
	number(`,"card":{"brand":"visa","last4":"4242","exp_year":`, 2030+i%5)
	dst = appendHex(append(dst, `},"balance_transaction":"txn_`...), scatter(^uint64(i))) //nolint:gosec // i is not negative
	return append(dst, `","livemode":true}}`...)
}

// scatter maps numbers one to one onto numbers that look random (the finalizer of SplitMix64): ids that are counted up would make
// what is stored look smaller than the ids of vendors do.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func appendHex(dst []byte, x uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[x>>shift&15])
	}
	return dst
}

// sent is a batch of the load, as it went.
type sent struct {
	at     time.Time // just before its request
	events int
}

// load is events at an even rate in the background.
type load struct {
	r       *run
	gen     generator
	cancel  context.CancelFunc
	done    sync.WaitGroup
	started time.Time

	mu     sync.Mutex
	log    []sent
	totals LoadResult
	acks   []time.Duration
	late   time.Duration
}

// LoadResult is what became of the background load.
type LoadResult struct {
	Rate     float64 `json:"events_per_second"` // as it was sent
	Sent     int     `json:"sent"`
	Accepted int     `json:"accepted"`
	Errors   int     `json:"failed_requests"`
	Error    string  `json:"first_error,omitempty"`
	// Late is by how much a request was sent later than planned, at most: a measure of the generator's own trouble.
	Late float64 `json:"generator_late_max_ms"`
	Ack  Latency `json:"ack"`
}

type job struct {
	body   []byte
	events int
	due    time.Time
}

// startLoad begins to send; part distinguishes the ids of several loads of a run.
func (r *run) startLoad(ctx context.Context, part string) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{r: r, cancel: cancel, started: time.Now(), gen: generator{source: r.source(kindLoad), prefix: r.id + "-" + part, types: loadType}}
	jobs := make(chan job)
	l.done.Go(func() { l.dispatch(ctx, jobs) })
	for range senders {
		l.done.Go(func() {
			for j := range jobs {
				l.send(ctx, j)
			}
		})
	}
	return l
}

func (l *load) dispatch(ctx context.Context, jobs chan<- job) {
	defer close(jobs)
	plan := batches{pace: pace{l.started, l.r.Rate}}
	for first := 0; ; {
		size, due := plan.next()
		body := l.gen.batch(first, size, nil)
		if sleep(ctx, time.Until(due)) != nil {
			return
		}
		select {
		case jobs <- job{body, size, due}:
		case <-ctx.Done():
			return
		}
		first += size
	}
}

func (l *load) send(ctx context.Context, j job) {
	at := time.Now()
	l.mu.Lock()
	l.log = append(l.log, sent{at, j.events})
	l.late = max(l.late, at.Sub(j.due))
	l.mu.Unlock()
	// Not broken off by the end of the load: what was sent is counted to its end.
	receipt, err := l.r.client.SendRaw(context.WithoutCancel(ctx), "application/json", j.body, nil)
	ack := time.Since(at)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Sent += j.events
	l.totals.Accepted += receipt.Accepted
	if err == nil && len(receipt.Rejected) > 0 {
		err = fmt.Errorf("event rejected: %s: %s", receipt.Rejected[0].Code, receipt.Rejected[0].Detail)
	}
	if err != nil {
		l.totals.Errors++
		if l.totals.Error == "" {
			l.totals.Error = err.Error()
		}
		return
	}
	l.acks = append(l.acks, ack)
}

// sentSoFar is the number of events whose requests were answered.
func (l *load) sentSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals.Sent
}

// stop ends the load, waits for what is under way, and says how it went.
func (l *load) stop() LoadResult {
	took := time.Since(l.started)
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Rate = float64(l.totals.Sent) / took.Seconds()
	l.totals.Late = ms(l.late)
	l.totals.Ack = LatencyOf(l.acks)
	return l.totals
}
