package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Config bounds the notifier. Zero fields mean the default.
type Config struct {
	Concurrency int           // attempts at the same time; 64
	PerTenant   int           // of one tenant; 16
	PerChannel  int           // of one channel; 2
	Waiting     int           // claimed jobs that wait for one channel; 1000
	Held        int           // claimed jobs in memory; 10 000
	Page        int           // transitions or jobs in one read of the store; 256
	Timeout     time.Duration // of one attempt; 10 s
	Lease       time.Duration // of a claimed job, at least twice Timeout; 60 s
	Poll        time.Duration // look at stores at least this often; 1 s
	MaxAge      time.Duration // of a transition that is worth telling; 24 h
}

func (c Config) withDefaults() Config {
	c.Concurrency = cmp.Or(c.Concurrency, 64)
	c.PerTenant = cmp.Or(c.PerTenant, 16)
	c.PerChannel = cmp.Or(c.PerChannel, 2)
	c.Waiting = cmp.Or(c.Waiting, 1000)
	c.Held = cmp.Or(c.Held, 10_000)
	c.Page = cmp.Or(c.Page, 256)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Lease = max(cmp.Or(c.Lease, time.Minute), 2*c.Timeout)
	c.Poll = cmp.Or(c.Poll, time.Second)
	c.MaxAge = cmp.Or(c.MaxAge, 24*time.Hour)
	return c
}

// Deps is what the notifier works with. All fields but IncidentURL and Now are required.
type Deps struct {
	Transitions Transitions
	Queue       Queue
	Channels    Channels
	Types       Registry
	Log         *slog.Logger
	// Keep, which may be nil, is given every transition before it is read past, at least once: a copy outlives the store of events.
	Keep func(ctx context.Context, page []store.NumberedTransition) error
	// IncidentURL gives the address of an incident's page.
	IncidentURL func(alert.Transition) string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Stats counts what has happened since the start.
type Stats struct {
	Delivered, Retried, Dead uint64 // attempts, by what became of the job
	Waiting, InFlight        int    // claimed jobs at this moment
}

// Notifier is the background service. Any number of processes may run one on the same stores.
type Notifier struct {
	cfg         Config
	transitions Transitions
	queue       Queue
	channels    Channels
	types       Registry
	log         *slog.Logger
	incidentURL func(alert.Transition) string
	keep        func(context.Context, []store.NumberedTransition) error
	now         func() time.Time

	wake    chan struct{}
	resumed atomic.Bool

	delivered, retried, dead atomic.Uint64

	mu       sync.Mutex
	lanes    *lanes
	stopping bool
	attempts sync.WaitGroup // in flight
	abort    context.CancelFunc
	flights  context.Context // of the attempts, whose life is the service's and not that of the call that began them
	started  bool
	endLoop  context.CancelFunc
	loopDone chan struct{}
}

// New makes a notifier that does nothing yet but Test.
func New(cfg Config, d Deps) *Notifier {
	cfg = cfg.withDefaults()
	n := &Notifier{
		cfg: cfg, transitions: d.Transitions, queue: d.Queue, channels: d.Channels, types: d.Types, log: d.Log, incidentURL: d.IncidentURL, keep: d.Keep,
		now: d.Now, wake: make(chan struct{}, 1), lanes: newLanes(cfg), loopDone: make(chan struct{}),
	}
	if n.now == nil {
		n.now = time.Now
	}
	n.flights, n.abort = context.WithCancel(context.Background())
	return n
}

// Wake says that transitions were committed. It never blocks.
func (n *Notifier) Wake() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Start begins to work, until ctx ends or Stop is called.
func (n *Notifier) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.started || n.stopping {
		return errors.New("the notifier was started before: make a new one")
	}
	n.started = true
	ctx, n.endLoop = context.WithCancel(ctx)
	go n.loop(ctx)
	return nil
}

func (n *Notifier) loop(ctx context.Context) {
	defer close(n.loopDone)
	ticker := time.NewTicker(n.cfg.Poll)
	defer ticker.Stop()
	failing := false
	for {
		_, err := n.runOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing: // once, not at every tick of a long outage
			n.log.Error("The notifier cannot go on; it keeps trying.", "error", err)
		case err == nil && failing:
			n.log.Info("The notifier works again.")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-ticker.C:
		}
	}
}

// Result counts what one run has done.
type Result struct {
	Read     int // transitions
	Enqueued int // jobs
	Claimed  int // jobs
	Started  int // attempts
}

// runOnce reads new transitions, claims due jobs and starts attempts at them, without waiting for their ends.
func (n *Notifier) runOnce(ctx context.Context) (Result, error) {
	var res Result
	// What is in the queue can go out although the events store is gone.
	pumped := n.pump(ctx, &res)
	claimed := n.claim(ctx, &res)
	res.Started = n.takeOff()
	return res, errors.Join(pumped, claimed, n.renew(ctx))
}

// claim takes due jobs into the lanes.
func (n *Notifier) claim(ctx context.Context, res *Result) error {
	for {
		n.mu.Lock()
		full := n.stopping || n.lanes.full()
		n.mu.Unlock()
		if full {
			return nil
		}
		now := n.now()
		jobs, err := n.queue.Claim(ctx, now, n.cfg.Lease, n.cfg.Page)
		if err != nil {
			return fmt.Errorf("claim notifications: %w", err)
		}
		res.Claimed += len(jobs)
		for _, j := range jobs {
			n.mu.Lock()
			ok := n.lanes.add(j)
			n.mu.Unlock()
			if !ok {
				n.finish(ctx, postpone(j, fmt.Sprintf("not tried yet: %d notifications are waiting for this channel", n.cfg.Waiting), now))
			}
		}
		if len(jobs) < n.cfg.Page {
			return nil
		}
	}
}

// renew keeps the leases of jobs that wait for their turn. Those that wait for a channel that does not answer go back to the queue.
func (n *Notifier) renew(ctx context.Context) error {
	now := n.now()
	n.mu.Lock()
	renew, letGo := n.lanes.expiring(now.Add(n.cfg.Lease / 2))
	n.mu.Unlock()
	for _, r := range letGo {
		n.finish(ctx, postpone(r.job, "not tried yet: the channel is failing: "+r.why, now))
	}
	var failed error
	for _, j := range renew {
		fresh := j
		fresh.NextAt, fresh.UpdatedAt = now.Add(n.cfg.Lease), now
		var err error
		if failed == nil { // else the store is in trouble: leave the rest as it is until the next run
			err = n.queue.Finish(ctx, fresh)
		}
		n.mu.Lock()
		switch {
		case errors.Is(err, store.ErrConflict):
			n.lanes.drop(j)
		case err != nil || failed != nil:
			failed = errors.Join(failed, err)
			n.lanes.renewed(j)
		default:
			n.lanes.renewed(fresh)
		}
		n.mu.Unlock()
	}
	if failed != nil {
		return fmt.Errorf("renew the leases of waiting notifications: %w", failed)
	}
	return nil
}

// takeOff starts as many attempts as may be in flight.
func (n *Notifier) takeOff() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	started := 0
	for !n.stopping {
		j, ok := n.lanes.next()
		if !ok {
			break
		}
		started++
		n.attempts.Go(func() { n.fly(j) })
	}
	return started
}

// fly makes an attempt at a job and records how it went.
func (n *Notifier) fly(j store.Job) {
	done, o := n.attempt(n.flights, j)
	n.finish(n.flights, done)
	n.mu.Lock()
	n.lanes.landed(j, o)
	n.mu.Unlock()
	n.takeOff()
}

// finish writes the end of an attempt. When that fails, the job comes back at the end of its lease, and goes out again under the
// same ID.
func (n *Notifier) finish(ctx context.Context, j store.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := n.queue.Finish(ctx, j); err != nil {
		n.log.Warn("The end of an attempt could not be recorded; the notification may be sent again.",
			"tenant", j.Tenant, "channel", j.Channel, "job", j.ID, "error", err)
	}
}

// Stop ends the work: no new attempts, and those in flight are waited for until ctx ends, then broken off. Jobs that were not
// done are free at once for the next process.
func (n *Notifier) Stop(ctx context.Context) error {
	n.mu.Lock()
	n.stopping = true
	started := n.started
	n.mu.Unlock()
	if started {
		n.endLoop()
		<-n.loopDone
	}
	n.mu.Lock()
	waiting := n.lanes.empty()
	n.mu.Unlock()
	now := n.now()
	for _, j := range waiting {
		j.State, j.NextAt, j.UpdatedAt = store.JobQueued, now, now
		n.finish(ctx, j)
	}
	landed := make(chan struct{})
	go func() {
		n.attempts.Wait()
		close(landed)
	}()
	defer n.abort()
	select {
	case <-landed:
		return nil
	case <-ctx.Done():
		n.abort()
		<-landed // senders end with their context
		return fmt.Errorf("notifications were broken off and will be sent again: %w", ctx.Err())
	}
}

// Stats returns the counts as they are now.
func (n *Notifier) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{
		Delivered: n.delivered.Load(), Retried: n.retried.Load(), Dead: n.dead.Load(),
		Waiting: len(n.lanes.held) - n.lanes.inFlight, InFlight: n.lanes.inFlight,
	}
}
