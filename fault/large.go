//go:build linux

package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
)

func largeScenarios() []scenario {
	return []scenario{
		{name: "large", about: "kill -9 and a damaged DuckDB file with much behind it: 10 million events in the long form", short: 1, long: 1, limit: 40 * time.Minute, run: large},
	}
}

const (
	largeSenders = 4
	largeBatch   = 1000
	// What must be shown of a state of 1 GB, and of 10 million events.
	readyGoal   = 2 * time.Second
	rebuildGoal = 2 * time.Minute
)

// bulk are events that are too many for a ledger of single ones. Each has an id and is sent until it is acknowledged, so in the end exactly so
// many are stored.
type bulk struct {
	r     *rig
	began time.Time
	sent  atomic.Int64 // ids that were given out
}

// send sends n more events. It goes on over faults.
func (b *bulk) send(n int) error {
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	upto := b.sent.Load() + int64(n)
	for range largeSenders {
		all.Go(func() {
			for b.r.ctx.Err() == nil {
				from := b.sent.Add(largeBatch) - largeBatch
				if from >= upto {
					b.sent.Add(-largeBatch)
					return
				}
				if err := b.batch(from); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return b.r.ctx.Err()
}

// batch sends the events from an id on until they are acknowledged.
func (b *bulk) batch(from int64) error {
	header := http.Header{"Content-Type": {"application/x-ndjson"}}
	body := b.body(from)
	for {
		c := b.r.target.wait(b.r.ctx)
		if c == nil {
			return b.r.ctx.Err()
		}
		answer, err := c.Exchange(b.r.ctx, http.MethodPost, "/v1/events", header, body)
		switch outcome, status, rejected := judge(answer, err); {
		case outcome == ledger.Acknowledged && len(rejected) == 0:
			return nil
		case outcome == ledger.Acknowledged, outcome == ledger.Refused && status != http.StatusTooManyRequests:
			return fmt.Errorf("good events are refused: %s", describe(answer, err))
		}
		pause(b.r.ctx, 20*time.Millisecond)
	}
}

// body makes events of about 330 bytes; the same again for the same ids.
func (b *bulk) body(from int64) []byte {
	kinds := [...]string{"charge.succeeded", "charge.failed", "invoice.paid", "customer.created", "payout.paid"}
	places := [...]string{"eu", "us", "ap", "sa", "af", "me", "oc"}
	at := b.began.Add(time.Duration(from) * 10 * time.Microsecond)
	out := make([]byte, 0, largeBatch*340)
	for i := from; i < from+largeBatch; i++ {
		out = fmt.Appendf(out, `{"id":"evt_%012d","source":"bulk","type":"%s","subject":"customer-%06d","time":%q,"data":{"id":"ch_%016x","amount":%d,"currency":"eur","region":%q,"card":{"brand":"visa","country":"DE","last4":"4242"},"livemode":true,"description":"Order %d of the shop","metadata":{"order":"%d"}}}`+"\n",
			i, kinds[i%5], i*7919%100_000, at.Format(time.RFC3339Nano), uint64(i)*0x9e3779b97f4a7c15, i%9973, places[i%7], i, i) //nolint:gosec // an id
	}
	return out
}

// count asks the metric that counts all events.
func (b *bulk) count() (n int64, err error) {
	q := client.Query{Metric: "events", From: b.began.Add(-time.Hour), To: time.Now().Add(time.Hour), Step: "1h", Where: map[string][]string{"source": {"bulk"}}}
	result, err := b.r.target.wait(b.r.ctx).Query(b.r.ctx, q)
	if err != nil {
		return 0, err
	}
	for _, s := range result.Series {
		for _, p := range s.Points {
			if p.Value != nil {
				n += int64(*p.Value)
			}
		}
	}
	return n, nil
}

// check wants exactly the events that were sent, once the backlog is worked off.
func (b *bulk) check() error {
	ctx, cancel := context.WithTimeout(b.r.ctx, 10*time.Minute)
	defer cancel()
	want := b.sent.Load()
	err := poll(ctx, 200*time.Millisecond, func() error {
		n, err := b.count()
		if err == nil && n < want {
			err = fmt.Errorf("%d of %d acknowledged events are counted", n, want)
		}
		return err
	})
	if err != nil {
		return err
	}
	if n, err := b.count(); err != nil || n != want {
		return fmt.Errorf("%w: %d events are counted, %d were sent (%v)", errViolated, n, want, err) //nolint:errorlint // two causes
	}
	return nil
}

// large kills a server that has much, and damages its store, and says how long it took to be back.
func large(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	b := &bulk{r: r, began: time.Now().UTC().Truncate(time.Second)}
	if err := b.send(r.times(300_000, 10_000_000)); err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	r.result.Ready = nil // of the empty server
	for i := range r.times(2, 20) {
		if err := b.killed(); err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
	}
	if err := b.check(); err != nil {
		return err
	}
	size, err := sizeOfTree(r.data)
	if err != nil {
		return err
	}
	r.result.note("%d events, %.2f GB of state", b.sent.Load(), float64(size)/1e9)
	if err := b.damaged(); err != nil {
		return err
	}
	for _, ready := range r.result.Ready {
		if r.long && ready > readyGoal {
			return fmt.Errorf("ready %s after a start with %d bytes of state, the goal is %s", ready, size, readyGoal)
		}
	}
	r.result.Ledger.Sent, r.result.Ledger.Acknowledged, r.result.Ledger.Stored = int(b.sent.Load()), int(b.sent.Load()), int(b.sent.Load())
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	return r.runVerify("--data-dir", r.data)
}

// killed kills the server while events come in.
func (b *bulk) killed() error {
	sent := make(chan error, 1)
	go func() { sent <- b.send(20 * largeBatch) }()
	pause(b.r.ctx, b.r.between(20*time.Millisecond, 200*time.Millisecond))
	b.r.kill()
	err := b.r.start()
	return errors.Join(err, <-sent)
}

// damaged makes the store's file one that cannot be opened, and waits until it is rebuilt from the log, while events come in.
func (b *bulk) damaged() error {
	b.r.server.kill()
	b.r.gone()
	b.r.result.Faults++
	if err := ruin(filepath.Join(b.r.data, "events.duckdb")); err != nil {
		return err
	}
	began := time.Now()
	if err := b.r.start(); err != nil {
		return err
	}
	before := b.sent.Load()
	if under, err := b.rebuilding(); err != nil || !under {
		return fmt.Errorf("%w: the store's file cannot be read, and nothing is said of it (%v)", errSilent, err) //nolint:errorlint // two causes
	}
	for under := true; under; {
		if err := b.send(largeSenders * largeBatch); err != nil {
			return err
		}
		pause(b.r.ctx, 500*time.Millisecond)
		var err error
		if under, err = b.rebuilding(); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if err := b.check(); err != nil {
		return err
	}
	b.r.result.Detected++
	b.r.result.note("a damaged DuckDB file of %d events rebuilt in %.1f s, %d events taken meanwhile", before, took.Seconds(), b.sent.Load()-before)
	if b.r.long && took > rebuildGoal {
		return fmt.Errorf("rebuilding took %s, the goal is %s", took, rebuildGoal)
	}
	return nil
}

// rebuilding says whether the server says that it is at it.
func (b *bulk) rebuilding() (bool, error) {
	answer, err := b.r.target.wait(b.r.ctx).Exchange(b.r.ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return false, err
	}
	var state struct {
		Rebuilding *struct{} `json:"rebuilding"`
	}
	err = json.Unmarshal(answer.Body, &state)
	return state.Rebuilding != nil, err
}

// ruin overwrites both of the headers of a DuckDB file that say where everything is.
func ruin(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	junk := make([]byte, 128)
	for i := range junk {
		junk[i] = 0xa5
	}
	for _, at := range []int64{4096, 8192} {
		if _, err := f.WriteAt(junk, at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func sizeOfTree(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
