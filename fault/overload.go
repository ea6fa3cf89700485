//go:build linux

package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func overloadScenarios() []scenario {
	return []scenario{
		{name: "overload", about: "ten times as many senders as the server can serve", short: 1, long: 3, limit: 5 * time.Minute, run: overload},
		{name: "slow-readers", about: "live subscribers that don't read", short: 1, long: 3, run: slowReaders},
		{name: "poison", about: "events that make a stage panic, or the store refuse a commit", short: 1, long: 5, run: poison},
	}
}

// flood sends one prepared body again and again over many connections. Its events have no ids and stand in no ledger: they are counted.
type flood struct {
	body     []byte
	events   int // in the body
	sent     atomic.Int64
	accepted atomic.Int64
	turned   atomic.Int64 // requests that were told to come again later
	other    atomic.Int64 // requests that failed otherwise
	unwise   atomic.Int64 // of those turned away, without Retry-After
	running  sync.WaitGroup
}

const floodType = "fault.flood"

func newFlood(events, pad int) *flood {
	var b bytes.Buffer
	for range events {
		fmt.Fprintf(&b, `{"source":"flood","type":%q,"data":{"amount":1,"pad":%q}}`+"\n", floodType, strings.Repeat("y", pad))
	}
	return &flood{body: b.Bytes(), events: events}
}

// run sends over so many connections until ctx ends, and returns when the last request has ended.
func (f *flood) run(ctx context.Context, r *rig, connections int) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	c := client.New(r.base, adminKey, client.WithHTTPClient(&http.Client{Timeout: 60 * time.Second, Transport: transport}))
	for range connections {
		f.running.Go(func() {
			for ctx.Err() == nil {
				f.sent.Add(int64(f.events))
				answer, err := c.Exchange(context.WithoutCancel(ctx), http.MethodPost, "/v1/events", http.Header{"Content-Type": {"application/x-ndjson"}}, f.body)
				switch {
				case err == nil && answer.Status == http.StatusAccepted:
					f.accepted.Add(int64(f.events))
					continue
				case err == nil && (answer.Status == http.StatusServiceUnavailable || answer.Status == http.StatusTooManyRequests):
					f.turned.Add(1)
					if answer.Header.Get("Retry-After") == "" {
						f.unwise.Add(1)
					}
				default:
					f.other.Add(1)
				}
				pause(ctx, 20*time.Millisecond) // far sooner than it was asked to
			}
		})
	}
	f.running.Wait()
}

// rate floods for a while and says how many events a second were acknowledged.
func (r *rig) rate(f *flood, connections int, d time.Duration) float64 {
	ctx, cancel := context.WithTimeout(r.ctx, d)
	defer cancel()
	before, began := f.accepted.Load(), time.Now()
	f.run(ctx, r, connections)
	return float64(f.accepted.Load()-before) / time.Since(began).Seconds()
}

// overload measures what the server can take, offers ten times as much, and waits until it is as before.
func overload(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	f := newFlood(50, 1500)
	warm := r.rate(f, 16, time.Second)
	if err := r.settle(); err != nil {
		return err
	}
	capacity := max(warm, r.rate(f, 16, time.Duration(r.times(3, 10))*time.Second))
	if err := r.settle(); err != nil {
		return err
	}
	under := r.rate(f, 160, time.Duration(r.times(5, 30))*time.Second)
	ended := time.Now()
	r.result.Faults++
	peak := r.memory("VmHWM")
	if err := r.settle(); err != nil {
		return err
	}
	r.result.Resumed = append(r.result.Resumed, time.Since(ended))
	r.result.note("capacity %.0f/s, at ten times the senders %.0f/s (%.0f %%), %d requests told to wait, peak memory %d MiB, normal after %s",
		capacity, under, 100*under/capacity, f.turned.Load(), peak>>20, time.Since(ended).Round(10*time.Millisecond))
	if err := r.floodIsThere(f); err != nil {
		return err
	}
	var errs []error
	if f.other.Load() > 0 {
		errs = append(errs, fmt.Errorf("%d requests failed in other ways than 429 or 503", f.other.Load()))
	}
	if f.unwise.Load() > 0 {
		errs = append(errs, fmt.Errorf("%d answers ask to wait without saying for how long", f.unwise.Load()))
	}
	if r.long && under < 0.9*capacity { // a few seconds beside other work say too little
		errs = append(errs, fmt.Errorf("under overload %.0f events a second are taken, alone it were %.0f", under, capacity))
	}
	if peak > mostMemory {
		errs = append(errs, fmt.Errorf("the server has grown to %d MiB", peak>>20))
	}
	return errors.Join(append(errs, r.finishStopped())...)
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
func (r *rig) floodIsThere(f *flood) error {
	answer, err := r.target.wait(r.ctx).Query(r.ctx, client.Query{Metric: "events", Agg: "count", GroupBy: []string{"type"}, Where: map[string][]string{"type": {floodType}},
		From: time.Now().Add(-2 * time.Hour), To: time.Now().Add(time.Hour), Step: "1h"})
	if err != nil {
		return err
	}
	n := int64(answer.Totals("type")[floodType])
	l := &r.result.Ledger
	l.Sent, l.Acknowledged, l.Stored = int(f.sent.Load()), int(f.accepted.Load()), int(n)
	l.Lost, l.Phantom = int(max(0, f.accepted.Load()-n)), int(max(0, n-f.sent.Load()))
	if l.Lost+l.Phantom > 0 {
		return fmt.Errorf("%w: %d events were sent, %d acknowledged, %d are counted", errViolated, l.Sent, l.Acknowledged, n)
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
	alone, err := r.pace(c)
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
	f := newFlood(50, 1500)
	ctx, cancel := context.WithTimeout(r.ctx, time.Duration(r.times(3, 15))*time.Second)
	f.run(ctx, r, 2)
	cancel()
	if err := r.settle(); err != nil {
		return err
	}
	crowded, err := r.pace(c)
	if err != nil {
		return err
	}
	r.result.note("an event is stored after %s, with 40 readers asleep after %s; memory %d MiB", alone.Round(time.Millisecond), crowded.Round(time.Millisecond), r.memory("VmRSS")>>20)
	if crowded > 4*alone+500*time.Millisecond {
		return fmt.Errorf("with sleeping readers an event takes %s to be stored, without %s", crowded, alone)
	}
	r.result.Detected = r.lagging(idle)
	if err := r.floodIsThere(f); err != nil {
		return err
	}
	return r.finishStopped()
}

// pace is how long it takes until an event that is sent is stored, of five the slowest.
func (r *rig) pace(*client.Client) (slowest time.Duration, err error) {
	for range 5 {
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
	t := r.writePoisoned(lightLoad())
	pause(r.ctx, r.between(600*time.Millisecond, 1200*time.Millisecond))
	r.kill()
	err := r.start()
	pause(r.ctx, 400*time.Millisecond)
	if err = errors.Join(err, t.stop()); err != nil {
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
