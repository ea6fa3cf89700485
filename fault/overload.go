//go:build linux

package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func overloadScenarios() []scenario {
	return []scenario{
		{name: "overload", about: "ten times as many events as the server can take", short: 1, long: 3, limit: 5 * time.Minute, run: overload},
		{name: "overload/tenant", about: "one tenant sends twenty times its share", short: 1, long: 1, limit: 10 * time.Minute, run: loudTenant},
		{name: "slow-readers", about: "live subscribers that don't read", short: 1, long: 3, run: slowReaders},
		{name: "poison", about: "events that make a stage panic, or the store refuse a commit", short: 1, long: 5, run: poison},
	}
}

// batch is an order of requests as large senders make them: 1000 events, 200 kB.
func batch() flooding { return flooding{Events: 1000, Pad: 120} }

const (
	feeders = 8   // connections that keep a server busy
	crowd   = 600 // connections of an overload
	excess  = 10  // times what the server can do
)

// processed is how many events the workers have taken off the log since the process began.
func (r *rig) processed() (n float64, err error) {
	answer, err := r.target.wait(r.ctx).Exchange(r.ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(answer.Body)) {
		if !strings.HasPrefix(l, "pulsestream_events_processed_total{") {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(l[strings.LastIndexByte(l, ' '):]), 64)
		if err != nil {
			return 0, err
		}
		n += v
	}
	return n, nil
}

// goodput floods and says how many events a second were processed meanwhile, the first part of the time left out.
func (r *rig) goodput(total *flooded, order flooding) (perSecond float64, one flooded, err error) {
	warm := order.For / 5
	type end struct {
		flooded
		err error
	}
	done := make(chan end, 1)
	go func() {
		f, err := r.flood(r.ctx, order)
		done <- end{f, err}
	}()
	pause(r.ctx, warm)
	from, err := r.processed()
	if err != nil {
		return 0, one, err
	}
	began := time.Now()
	pause(r.ctx, order.For-warm)
	to, err := r.processed()
	perSecond = (to - from) / time.Since(began).Seconds()
	e := <-done
	total.add(e.flooded)
	return perSecond, e.flooded, errors.Join(err, e.err)
}

// overload measures in turn what the server can take and what it takes when ten times as much is offered, by the clock, by senders who don't
// wait when they are asked to; then how soon it is as before.
func overload(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	calm, err := r.pace(5)
	if err != nil {
		return err
	}
	var total flooded
	window := time.Duration(r.times(1500, 10000)) * time.Millisecond
	var alone, under, offered []float64
	var fed, flood flooded
	for round := range r.times(3, 6) + 1 {
		c, calmly, err := r.goodput(&total, feeding(window))
		if err != nil {
			return err
		}
		order := batch()
		order.For, order.Connections, order.PerSecond = window, crowd, excess*median(append(alone, c))/float64(order.Events)
		u, flooding, err := r.goodput(&total, order)
		if err != nil {
			return err
		}
		if round == 0 { // memory for so many connections is new to the server: clearing it took half of the first flood
			continue
		}
		alone, under = append(alone, c), append(under, u)
		fed.add(calmly)
		flood.add(flooding)
		offered = append(offered, float64(flooding.Sent)/flooding.Took.Seconds()/median(alone))
	}
	peak := r.memory("VmHWM")
	normal, err := r.normal(calm)
	if err != nil {
		return err
	}
	r.result.Faults += len(under)
	r.result.Resumed = append(r.result.Resumed, normal)
	// The generator runs on the same machine. What it takes of the processors, the server can't have: its share is of what was left.
	share := median(under) / median(alone) * fed.left() / flood.left()
	r.result.note("capacity %.0f events/s %s, offered %.1f times as much: %.0f/s %s, %.0f %% of capacity, %.0f %% of what it is with the processors that the generator left (%.2f and %.2f of %d); %d of %d requests told to wait, peak memory %d MiB, normal %s after",
		median(alone), thousands(alone), median(offered), median(under), thousands(under), 100*median(under)/median(alone), 100*share, fed.left(), flood.left(), runtime.NumCPU(), total.Turned, total.Requests, peak>>20, normal.Round(10*time.Millisecond))
	if err := r.floodIsThere(&total); err != nil {
		return err
	}
	errs := []error{total.judge()}
	least, most := 0.4, excess/4.0 // a few seconds beside a generator on the same processors say little
	if r.long {
		least, most = 0.9, excess/2.0
	}
	if share < least {
		errs = append(errs, fmt.Errorf("under overload %.0f events a second are processed, alone it were %.0f", median(under), median(alone)))
	}
	if median(offered) < most {
		errs = append(errs, fmt.Errorf("only %.1f times the capacity was offered: this machine is too busy for the measurement", median(offered)))
	}
	if peak > mostMemory {
		errs = append(errs, fmt.Errorf("the server has grown to %d MiB", peak>>20))
	}
	if normal > 10*time.Second {
		errs = append(errs, fmt.Errorf("it was %s before the server was as before", normal))
	}
	return errors.Join(append(errs, r.finishStopped())...)
}

// left is how many of the machine's processors were left to others.
func (f *flooded) left() float64 {
	return float64(runtime.NumCPU()) - f.Used.Seconds()/f.Took.Seconds()
}

// feeding is as much as the server can take.
func feeding(d time.Duration) flooding {
	o := batch()
	o.For, o.Connections = d, feeders
	return o
}

// judge says what should not have been among the answers.
func (f *flooded) judge() error {
	var errs []error
	if f.Other > 0 {
		errs = append(errs, fmt.Errorf("%d requests failed in other ways than 429 or 503, one by %s", f.Other, f.Reason))
	}
	if f.Unwise > 0 {
		errs = append(errs, fmt.Errorf("%d answers ask to wait without saying for how long", f.Unwise))
	}
	return errors.Join(errs...)
}

// normal waits until an event that is sent is stored as soon as it was before, thrice in a row, and says when that began.
func (r *rig) normal(calm time.Duration) (time.Duration, error) {
	ended := time.Now()
	began, good := ended, 0
	for good < 3 {
		at := time.Now()
		if err := r.settle(); err != nil {
			return 0, err
		}
		if time.Since(at) > 2*calm+50*time.Millisecond {
			began, good = time.Now(), 0
			if time.Since(ended) > settleWithin {
				return time.Since(ended), nil
			}
			continue
		}
		good++
	}
	return began.Sub(ended), nil
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// thousands writes what each window gave.
func thousands(all []float64) string {
	var b strings.Builder
	for i, v := range all {
		b.WriteString([]string{"(", " "}[min(i, 1)] + fmt.Sprintf("%.0fk", v/1000))
	}
	return b.String() + ")"
}

// mostMemory bounds what a server may take under overload: DuckDB's quarter of the machine, and as much again for all else.
const mostMemory = 4 << 30

// memory reads a line of the server's status, in bytes.
func (r *rig) memory(name string) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(r.server.proc.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// floodIsThere compares counts: all that was acknowledged has to be counted, and no more than was sent.
func (r *rig) floodIsThere(f *flooded) error { return r.floodOf(f, r.target.wait(r.ctx)) }

// floodOf is floodIsThere for the tenant of a client.
func (r *rig) floodOf(f *flooded, c *client.Client) error {
	answer, err := c.Query(r.ctx, client.Query{Metric: "events", Agg: "count", GroupBy: []string{"type"}, Where: map[string][]string{"type": {floodType}},
		From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(time.Hour), Step: "1h"})
	if err != nil {
		return err
	}
	n := int64(answer.Totals("type")[floodType])
	l := &r.result.Ledger
	lost, phantom := max(0, f.Accepted-n), max(0, n-f.Sent)
	l.Sent, l.Acknowledged, l.Stored = l.Sent+int(f.Sent), l.Acknowledged+int(f.Accepted), l.Stored+int(n)
	l.Lost, l.Phantom = l.Lost+int(lost), l.Phantom+int(phantom)
	if lost+phantom > 0 {
		return fmt.Errorf("%w: %d events were sent, %d acknowledged, %d are counted", errViolated, f.Sent, f.Accepted, n)
	}
	return nil
}

// finishStopped stops the server and has its data checked without a ledger.
func (r *rig) finishStopped() error {
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	return r.runVerify("--data-dir", r.data)
}

// slowReaders subscribes to everything and reads nothing. Nobody may wait for them.
func slowReaders(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	c := r.target.wait(r.ctx)
	alone, err := r.pace(5)
	if err != nil {
		return err
	}
	var idle []*client.Live
	defer func() {
		for _, l := range idle {
			_ = l.Abort()
		}
	}()
	for range 40 {
		l, err := c.Live(r.ctx)
		if err != nil {
			return err
		}
		idle = append(idle, l)
		for _, s := range []client.Subscription{{ID: "tail", Topic: "events"}, {ID: "chart", Metric: "events", Agg: "count", Step: "1s", GroupBy: []string{"type", "source"}, Since: "15m"}} {
			if err := l.Subscribe(r.ctx, s); err != nil {
				return err
			}
		}
		r.result.Faults++
	}
	f, err := r.flood(r.ctx, flooding{Events: 50, Pad: 1500, Connections: 2, For: time.Duration(r.times(3, 15)) * time.Second})
	if err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	crowded, err := r.pace(5)
	if err != nil {
		return err
	}
	r.result.note("an event is stored after %s, with 40 readers asleep after %s; memory %d MiB", alone.Round(time.Millisecond), crowded.Round(time.Millisecond), r.memory("VmRSS")>>20)
	if crowded > 4*alone+500*time.Millisecond {
		return fmt.Errorf("with sleeping readers an event takes %s to be stored, without %s", crowded, alone)
	}
	r.result.Detected = r.lagging(idle)
	if err := r.floodIsThere(&f); err != nil {
		return err
	}
	return r.finishStopped()
}

// pace is how long it takes until an event that is sent is stored, of some the slowest.
func (r *rig) pace(times int) (slowest time.Duration, err error) {
	for range times {
		began := time.Now()
		if err := r.settle(); err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest, nil
}

// lagging reads what sleepers have been sent meanwhile, and counts those that were told what they missed, or were hung up on.
func (r *rig) lagging(idle []*client.Live) int {
	ctx, cancel := context.WithTimeout(r.ctx, 3*time.Second)
	defer cancel()
	var told atomic.Int64
	var readers sync.WaitGroup
	for _, l := range idle {
		readers.Go(func() {
			for {
				frame, err := l.Next(ctx)
				if frame.Op == "lagged" || err != nil && ctx.Err() == nil {
					told.Add(1)
					return
				}
				if err != nil {
					return
				}
			}
		})
	}
	readers.Wait()
	return int(told.Load())
}

// poison sends events that a stage cannot process among good ones. The good ones must not wait, the bad ones must not be lost, across a
// crash, and when the stage is mended they are processed after all.
func poison(r *rig) error {
	if !hasTag(r.binary, "faults") {
		return fmt.Errorf("%s is not built for this: go build -tags faults", r.binary)
	}
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.writePoisoned(load{writers: 4, batch: 40, every: 30 * time.Millisecond, pad: 200})
	pause(r.ctx, r.between(600*time.Millisecond, 1200*time.Millisecond))
	r.kill()
	err := r.start()
	pause(r.ctx, 400*time.Millisecond)
	if err = errors.Join(err, r.neighbours(), t.stop()); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if r.result.Ledger.Quarantined == 0 {
		return errors.New("no event is in quarantine")
	}
	r.result.Faults += r.result.Ledger.Quarantined
	r.result.Detected = r.result.Ledger.Quarantined
	if err := r.retryQuarantine(true); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("after a dry run: %w", err)
	}
	held := r.result.Ledger.Quarantined
	if err := r.retryQuarantine(false); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("after a retry: %w", err)
	}
	if r.result.Ledger.Quarantined != held {
		return fmt.Errorf("%d events were in quarantine; after a retry that cannot succeed it is %d", held, r.result.Ledger.Quarantined)
	}
	if r.plain == "" {
		r.result.note("not tried: a retry after the stage is mended (name a binary without the tag with -plain)")
		return r.finishClean()
	}
	return r.mended()
}

// mended starts a server that has nothing against these events, and has all of them retried.
func (r *rig) mended() error {
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	r.server.binary = r.plain
	if err := r.start(); err != nil {
		return err
	}
	held := r.result.Ledger.Quarantined
	if err := r.retryQuarantine(false); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("after the stage was mended: %w", err)
	}
	if n := r.result.Ledger.Quarantined; n != 0 {
		return fmt.Errorf("after the stage was mended and %d events were retried, %d are still in quarantine", held, n)
	}
	r.result.note("%d events left quarantine when the stage was mended", held)
	return r.finishClean()
}

func (r *rig) retryQuarantine(dry bool) error {
	body, err := json.Marshal(map[string]bool{"dry_run": dry})
	if err != nil {
		return err
	}
	return r.target.wait(r.ctx).Do(r.ctx, http.MethodPost, "/v1/quarantine/retry", http.Header{"Content-Type": {"application/json"}}, body, nil)
}
