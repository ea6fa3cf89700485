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

func diskScenarios() []scenario {
	return []scenario{
		{name: "disk-full", about: "the disk fills up while events come in, and is freed again", short: 1, long: 8, needs: needsRoot, run: fillDisk},
		{name: "disk-full/start", about: "the server is killed and started while its disk is full", short: 1, long: 4, needs: needsRoot, run: fillDiskAndStart},
	}
}

// resumeWithin is how soon after space comes back events have to be taken again, without a restart.
const resumeWithin = 30 * time.Second

// small puts the data directory onto a small disk.
func (r *rig) small(size int64) (ballast string, err error) {
	point := filepath.Join(r.scratch, "disk")
	r.data = filepath.Join(point, "data")
	r.server.dir = r.data
	return filepath.Join(point, "ballast"), r.newTmpfs(point, size)
}

// fill writes into a file until the disk has only spare bytes left.
func fill(path string, spare int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var st syscall.Statfs_t
	chunk := make([]byte, 64<<10)
	for err == nil {
		if err = syscall.Statfs(filepath.Dir(path), &st); err != nil {
			break
		}
		free := int64(st.Bavail)*st.Bsize - spare //nolint:gosec // sizes
		if free <= 0 {
			break
		}
		_, err = f.Write(chunk[:min(int64(len(chunk)), free)])
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func fillDisk(r *rig) error {
	ballast, err := r.small(400 << 20)
	if err != nil {
		return err
	}
	if err := r.setUp(); err != nil {
		return err
	}
	for i := range r.times(1, 2) {
		t := r.write(lightLoad())
		pause(r.ctx, r.between(200*time.Millisecond, 800*time.Millisecond))
		if err := r.afterwards(t, r.whileFull(ballast, t)); err != nil {
			return fmt.Errorf("filling %d: %w", i+1, err)
		}
	}
	return r.finishClean()
}

// whileFull fills the disk, lets events come in for a while, and frees it again.
func (r *rig) whileFull(ballast string, t *traffic) error {
	if err := fill(ballast, r.rand.Int64N(1<<20)); err != nil {
		return err
	}
	r.result.Faults++
	r.server.log.mark("the disk is full")
	c := r.target.wait(r.ctx)
	for end := time.Now().Add(r.between(time.Second, time.Duration(r.times(2, 6))*time.Second)); time.Now().Before(end); {
		pause(r.ctx, 200*time.Millisecond)
		if err := r.queries(c); err != nil {
			return fmt.Errorf("while the disk is full: %w", err)
		}
	}
	if err := fill(ballast, 0); err != nil { // what the server may have freed meanwhile
		return err
	}
	pause(r.ctx, 500*time.Millisecond)
	if err := os.Remove(ballast); err != nil {
		return err
	}
	r.server.log.mark("there is space again")
	return r.recovered(t)
}

// queries asks for a chart and for events, which have to go on.
func (r *rig) queries(c *client.Client) error {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	if _, err := c.Query(ctx, client.Query{Metric: "events", Agg: "count", GroupBy: []string{"type"}}); err != nil {
		return fmt.Errorf("a query fails: %w", err)
	}
	if _, _, err := c.Events(ctx, client.EventQuery{Limit: 10}); err != nil {
		return fmt.Errorf("the list of events fails: %w", err)
	}
	return nil
}

// errStuck is returned when the server did not take events again by itself.
var errStuck = errors.New("the server did not go on by itself")

// resumed waits until writers are acknowledged again.
func (r *rig) resumed(t *traffic) error {
	began, before := time.Now(), t.taken.Load()
	ctx, cancel := context.WithTimeout(r.ctx, resumeWithin)
	defer cancel()
	err := poll(ctx, 20*time.Millisecond, func() error {
		switch {
		case t.taken.Load() > before:
			return nil
		case !r.server.proc.alive():
			cancel()
			return fmt.Errorf("%w: it ended: %v", errStuck, r.server.proc.err) //nolint:errorlint // an exit status
		}
		return fmt.Errorf("%w: no event was acknowledged within %s of the fault's end", errStuck, resumeWithin)
	})
	if err == nil {
		r.result.Resumed = append(r.result.Resumed, time.Since(began))
	}
	return err
}

// recovered waits until events are taken again. A server that doesn't is started again, so that what it has kept can be checked; its
// failure stays one.
func (r *rig) recovered(t *traffic) error {
	stuck := r.resumed(t)
	if stuck == nil {
		return nil
	}
	r.server.kill()
	r.gone()
	return errors.Join(stuck, r.start())
}

// fillDiskAndStart kills the server while the disk is full, tries to start it, and frees the disk: then it has to start.
func fillDiskAndStart(r *rig) error {
	ballast, err := r.small(400 << 20)
	if err != nil {
		return err
	}
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(lightLoad())
	err = func() error {
		pause(r.ctx, r.between(200*time.Millisecond, 800*time.Millisecond))
		if err := fill(ballast, 0); err != nil {
			return err
		}
		pause(r.ctx, r.between(200*time.Millisecond, 1500*time.Millisecond))
		r.kill()
		p, err := r.server.spawn()
		if err != nil {
			return err
		}
		select {
		case <-p.exited:
		case <-time.After(r.between(time.Second, 4*time.Second)):
		}
		r.kill()
		if err := os.Remove(ballast); err != nil {
			return err
		}
		return r.start()
	}()
	if err = errors.Join(err, t.stop()); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return r.finishClean()
}
