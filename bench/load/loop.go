package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is how long, how much and how fast is sent.
type Plan struct {
	// For and Events end the load: what comes first; zero is no limit.
	For    time.Duration
	Events int
	// Rate is events a second of an open loop: requests go out when they are due, and are timed from then on. 0 is a closed
	// loop: each connection sends its next request when it has the answer to the last.
	Rate float64
	// History spreads the times of Events events over as long before the start; without it they happen as they are sent.
	History time.Duration
	// AnyCount takes an answer for success that does not say how many events were taken.
	AnyCount bool
}

// Sent is what became of a load.
type Sent struct {
	Events   int   // accepted
	Tenants  []int // of them, for each tenant
	Requests int
	Refused  int // 429 and 503: sent again
	Broken   int // connections that broke before an answer: sent again too, and known by the ids when it was taken after all
	Took     time.Duration
	// Times are the requests' times to the answer, of those that were not refused.
	Times []time.Duration
	// Late is by how much a request went out later than it was due, at most.
	Late time.Duration
}

// Rate is accepted events a second.
func (s *Sent) Rate() float64 { return float64(s.Events) / s.Took.Seconds() }

const (
	refusedWait = 5 * time.Millisecond
	brokenLimit = 5 // for one request
)

// sender is a load under way.
type sender struct {
	pool    *Pool
	plan    Plan
	start   time.Time
	sending context.Context
	sent    atomic.Int64 // events given out
	live    *atomic.Int64
}

// Send sends the load to address until the plan is over. Live, when it is not nil, counts accepted events as it goes.
func (p *Pool) Send(ctx context.Context, address string, plan Plan, live *atomic.Int64) (*Sent, error) {
	if plan.For <= 0 && plan.Events <= 0 {
		return nil, errors.New("a plan without an end")
	}
	sending, cancel := context.WithCancel(ctx)
	if plan.For > 0 {
		sending, cancel = context.WithTimeout(ctx, plan.For)
	}
	defer cancel()
	if live == nil {
		live = new(atomic.Int64)
	}
	s := &sender{pool: p, plan: plan, start: time.Now(), sending: sending, live: live}
	parts := make([]Sent, p.Connections)
	errs := make([]error, p.Connections)
	var wg sync.WaitGroup
	for c := range p.Connections {
		wg.Go(func() {
			if errs[c] = s.lane(ctx, address, c, &parts[c]); errs[c] != nil {
				cancel() // without one of its connections the load is another one
			}
		})
	}
	wg.Wait()
	all := &Sent{Tenants: make([]int, p.Tenants), Took: time.Since(s.start)}
	for i := range parts {
		all.add(&parts[i])
	}
	return all, errors.Join(errors.Join(errs...), ctx.Err())
}

func (s *Sent) add(o *Sent) {
	s.Events += o.Events
	s.Requests += o.Requests
	s.Refused += o.Refused
	s.Broken += o.Broken
	s.Late = max(s.Late, o.Late)
	s.Times = append(s.Times, o.Times...)
	for i, n := range o.Tenants {
		s.Tenants[i] += n
	}
}

// due is when the n-th request is to go out.
func (s *sender) due(n uint64) time.Time {
	return s.start.Add(time.Duration(float64(n) * float64(s.pool.Batch) / s.plan.Rate * float64(time.Second)))
}

// time is when the last event of the n-th request happens, and how long before it the first.
func (s *sender) time(n uint64) (last time.Time, span time.Duration) {
	if s.plan.History == 0 || s.plan.Events == 0 {
		return time.Now(), time.Second
	}
	each := float64(s.pool.Batch) / float64(s.plan.Events)
	back := (min(float64(n+1)*each, 1) - 1) * float64(s.plan.History)
	return s.start.Add(time.Duration(back)), time.Duration(each * float64(s.plan.History))
}

func (s *sender) over() bool {
	if s.sending.Err() != nil {
		return true
	}
	n := int64(s.pool.Batch)
	return s.plan.Events > 0 && s.sent.Add(n) > int64(s.plan.Events)
}

// lane is one connection's part: every Connections-th request, from its own part of the pool.
func (s *sender) lane(ctx context.Context, address string, lane int, out *Sent) error {
	out.Tenants = make([]int, s.pool.Tenants)
	conn, err := Dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var c clock
	requests := s.pool.lanes[lane]
	for k := 0; !s.over(); k++ {
		number := uint64(k*s.pool.Connections + lane) //nolint:gosec // positive
		r := requests[k%len(requests)]
		from := time.Now()
		if s.plan.Rate > 0 {
			due := s.due(number)
			if pause(s.sending, due.Sub(from)) != nil { //nolint:contextcheck // it is derived from ctx, and ends with the plan
				return nil // the plan is over
			}
			out.Late = max(out.Late, time.Since(due))
			from = due
		}
		last, span := s.time(number)
		wire := r.write(&c, &stamp{s.pool.Seed, number, last, span, s.pool.Series})
		if s.plan.Rate == 0 {
			from = time.Now()
		}
		if err := s.deliver(ctx, conn, wire, r, from, out); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends a request until it is taken, also beyond the plan's end: what was given a number is sent.
func (s *sender) deliver(ctx context.Context, conn *Conn, wire []byte, r *Request, from time.Time, out *Sent) error {
	for broken := 0; ; {
		status, body, err := conn.Do(ctx, wire)
		switch {
		case err != nil:
			if broken++; broken == brokenLimit || ctx.Err() != nil {
				return fmt.Errorf("send %d events: %w", r.Events, err)
			}
			out.Broken++
		case status == http.StatusAccepted:
			out.Times = append(out.Times, time.Since(from))
			out.Requests++
			if n := Accepted(body); n != r.Events && !s.plan.AnyCount {
				return fmt.Errorf("%d of %d events accepted: %s", n, r.Events, body)
			}
			out.Events += r.Events
			out.Tenants[r.Tenant] += r.Events
			s.live.Add(int64(r.Events))
			return nil
		case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
			out.Refused++
		default:
			return fmt.Errorf("the server answered %d: %s", status, body)
		}
		if err := pause(ctx, refusedWait); err != nil {
			return err
		}
	}
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
