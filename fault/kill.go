//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

func killScenarios() []scenario {
	return []scenario{
		{name: "kill/ingest", about: "kill -9 at random moments while events come in", short: 1, long: 10, run: killCycles(3, 6, killDuringIngest)},
		{name: "kill/flush", about: "kill -9 while what was committed is written to disk", short: 1, long: 10, run: killCycles(2, 5, killDuringFlush)},
		{name: "kill/start", about: "kill -9 while the server starts, several times in a row", short: 1, long: 10, run: killCycles(1, 2, killDuringStart)},
		{name: "kill/first-start", about: "kill -9 while the very first start makes its files", short: 2, long: 40, run: killFirstStart},
		{name: "kill/stop", about: "kill -9 during a clean stop", short: 1, long: 5, run: killCycles(1, 3, killDuringStop)},
		{name: "kill/seal", about: "kill -9 while a segment is made of large events", short: 1, long: 6, run: killDuringSeals},
		{name: "kill/fill", about: "kill -9 while a new metric is filled", short: 1, long: 5, run: killDuringFill},
		{name: "kill/catalog", about: "kill -9 while the catalog is changed", short: 1, long: 4, run: killCycles(2, 5, killDuringChange)},
		{name: "restart", about: "clean stops and starts while events come in", short: 1, long: 5, run: killCycles(1, 4, cleanRestart)},
	}
}

// killCycles makes a run of so many faults, each while events come in, and each checked.
func killCycles(short, long int, strike func(*rig) error) func(*rig) error {
	return func(r *rig) error {
		if err := r.setUp(); err != nil {
			return err
		}
		for i := range r.times(short, long) {
			t := r.write(lightLoad())
			err := strike(r)
			if err == nil {
				pause(r.ctx, r.between(0, 300*time.Millisecond))
			}
			if err = errors.Join(err, t.stop()); err != nil {
				return fmt.Errorf("fault %d: %w", i+1, err)
			}
			if err := r.check(); err != nil {
				return fmt.Errorf("after fault %d: %w", i+1, err)
			}
		}
		return r.finishClean()
	}
}

// finishClean stops the server and has its own data checked offline, by the command that operators use.
func (r *rig) finishClean() error {
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	return r.verifyOffline()
}

func killDuringIngest(r *rig) error {
	pause(r.ctx, r.between(30*time.Millisecond, 1200*time.Millisecond))
	r.kill()
	return r.start()
}

// killDuringFlush waits until DuckDB's log grows, which it does in the transaction that ends a flush.
func killDuringFlush(r *rig) error {
	pause(r.ctx, r.between(0, 400*time.Millisecond))
	wal := filepath.Join(r.data, "events.duckdb.wal")
	size := sizeOf(wal)
	ctx, cancel := context.WithTimeout(r.ctx, 15*time.Second)
	defer cancel()
	err := poll(ctx, 100*time.Microsecond, func() error {
		if sizeOf(wal) == size {
			return errors.New("DuckDB's log does not grow")
		}
		return nil
	})
	if err != nil {
		return err
	}
	pause(r.ctx, r.between(0, 3*time.Millisecond))
	r.kill()
	return r.start()
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func killDuringStart(r *rig) error {
	pause(r.ctx, r.between(30*time.Millisecond, 800*time.Millisecond))
	r.kill()
	for range 1 + r.rand.IntN(4) {
		if _, err := r.server.spawn(); err != nil {
			return err
		}
		pause(r.ctx, r.between(0, 500*time.Millisecond))
		r.kill()
	}
	return r.start()
}

func killFirstStart(r *rig) error {
	for range 1 + r.rand.IntN(5) {
		if _, err := r.server.spawn(); err != nil {
			return err
		}
		pause(r.ctx, r.between(0, 600*time.Millisecond))
		r.kill()
	}
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(lightLoad())
	pause(r.ctx, 200*time.Millisecond)
	if err := t.stop(); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return r.finishClean()
}

func killDuringStop(r *rig) error {
	pause(r.ctx, r.between(30*time.Millisecond, 800*time.Millisecond))
	if err := r.server.signal(syscall.SIGTERM); err != nil {
		return err
	}
	pause(r.ctx, r.between(0, 250*time.Millisecond))
	r.kill()
	return r.start()
}

// cleanRestart is no fault, but must keep the promise too.
func cleanRestart(r *rig) error {
	pause(r.ctx, r.between(30*time.Millisecond, 800*time.Millisecond))
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	r.result.Faults++
	return r.start()
}

// killDuringSeals sends large events, so that a segment takes a while to be made, and kills in the middle of it.
func killDuringSeals(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	for i := range r.times(1, 2) {
		t := r.write(load{writers: 4, batch: 60, pad: 120 << 10})
		ctx, cancel := context.WithTimeout(r.ctx, 60*time.Second)
		err := poll(ctx, 500*time.Microsecond, func() error {
			half, err := filepath.Glob(filepath.Join(r.data, "events.duckdb.segments", "*.new"))
			if err == nil && len(half) == 0 {
				err = errors.New("no segment is being made")
			}
			return err
		})
		cancel()
		if err == nil {
			pause(r.ctx, r.between(0, 200*time.Millisecond))
			r.kill()
			err = r.start()
		}
		if err = errors.Join(err, t.stop()); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("after fault %d: %w", i+1, err)
		}
	}
	return r.finishClean()
}

// killDuringFill adds a metric over stored events and kills while it is computed.
func killDuringFill(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(load{writers: 4, batch: 1000, every: time.Millisecond})
	pause(r.ctx, time.Duration(r.times(500, 1500))*time.Millisecond)
	for i := range r.times(2, 4) {
		m := client.Metric{Slug: fmt.Sprintf("late-%d", i), EventTypes: []string{"fault.*"}, Value: "data.amount * 2.0", Dimensions: map[string]string{"region": "data.region"}}
		if _, err := r.target.wait(r.ctx).PutMetric(r.ctx, m); err != nil {
			return errors.Join(err, t.stop())
		}
		pause(r.ctx, r.between(0, 300*time.Millisecond))
		r.kill()
		if err := r.start(); err != nil {
			return errors.Join(err, t.stop())
		}
	}
	if err := t.stop(); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return r.finishClean()
}

func killDuringChange(r *rig) error {
	changes, ctx := make(chan struct{}), r.ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(changes)
		for ctx.Err() == nil {
			r.change()
		}
	}()
	pause(r.ctx, r.between(50*time.Millisecond, 600*time.Millisecond))
	cancel()
	r.kill()
	<-changes
	return r.start()
}
