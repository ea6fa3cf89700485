//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func diskScenarios() []scenario {
	return []scenario{
		{name: "disk-full", about: "the disk fills up while events come in, and is freed again", short: 1, long: 8, needs: needsRoot, run: fillDisk((*rig).small)},
		{name: "disk-full/ext4", about: "the same with an ext4, which promises space before it has it", short: 1, long: 4, needs: needsLoop, run: fillDisk((*rig).smallExt4)},
		{name: "disk-full/start", about: "the server is killed, or stopped, and started while its disk is full", short: 1, long: 6, needs: needsRoot, run: fillDiskAndStart},
	}
}

// resumeWithin is how soon after space comes back events have to be taken again, without a restart.
const resumeWithin = 30 * time.Second

const smallSize = 400 << 20

// onto puts the data directory onto another disk.
func (r *rig) onto(point string) (ballast string) {
	r.data = filepath.Join(point, "data")
	r.server.dir = r.data
	return filepath.Join(point, "ballast")
}

// small puts the data directory onto a small disk in memory.
func (r *rig) small() (ballast string, err error) {
	point := filepath.Join(r.scratch, "disk")
	return r.onto(point), r.newTmpfs(point, smallSize)
}

// smallExt4 puts it onto a small ext4.
func (r *rig) smallExt4() (ballast string, err error) {
	point := filepath.Join(r.scratch, "disk")
	_, err = r.newDisk(point, smallSize)
	return r.onto(point), err
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
		free := int64(st.Bfree)*st.Bsize - spare //nolint:gosec // sizes
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

func fillDisk(onto func(*rig) (ballast string, err error)) func(*rig) error {
	return func(r *rig) error {
		ballast, err := onto(r)
		if err != nil {
			return err
		}
		if err := errors.Join(r.setUp(), r.mark()); err != nil {
			return err
		}
		for i := range r.times(1, 2) {
			t := r.write(lightLoad())
			pause(r.ctx, r.between(200*time.Millisecond, 800*time.Millisecond))
			asking := r.ask()
			err := r.whileFull(ballast, t)
			if err := r.afterwards(t, errors.Join(err, asking.end())); err != nil {
				return fmt.Errorf("filling %d: %w", i+1, err)
			}
		}
		return r.finishClean()
	}
}

// whileFull fills the disk, lets events come in for a while, and frees it again.
func (r *rig) whileFull(ballast string, t *traffic) error {
	if err := fill(ballast, r.rand.Int64N(1<<20)); err != nil {
		return err
	}
	r.result.Faults++
	r.server.log.mark("the disk is full")
	pause(r.ctx, r.between(time.Second, time.Duration(r.times(2, 6))*time.Second))
	if err := fill(ballast, 0); err != nil { // what the server may have freed meanwhile
		return err
	}
	pause(r.ctx, 500*time.Millisecond)
	if err := r.saysFull(); err != nil {
		return err
	}
	return r.free(ballast, t)
}

func (r *rig) free(ballast string, t *traffic) error {
	if err := os.Remove(ballast); err != nil {
		return err
	}
	r.server.log.mark("there is space again")
	return r.recovered(t)
}

// saysFull checks that the server says why it takes no events.
func (r *rig) saysFull() error {
	answer, err := r.target.wait(r.ctx).Exchange(r.ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return err
	}
	if text := string(answer.Body); answer.Status != http.StatusServiceUnavailable || !strings.Contains(text, "space") && !strings.Contains(text, "full") {
		return fmt.Errorf("on a full disk /readyz says %d %s", answer.Status, clip(text, 300))
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

// fillDiskAndStart ends the server while the disk is full, one way or the other, and starts it: it has to come up, answer what it is asked, and take events
// when there is space again.
func fillDiskAndStart(r *rig) error {
	ballast, err := r.small()
	if err != nil {
		return err
	}
	if err := errors.Join(r.setUp(), r.mark()); err != nil {
		return err
	}
	pause(r.ctx, 3*time.Second) // what was committed is on disk within two
	t := r.write(lightLoad())
	pause(r.ctx, r.between(200*time.Millisecond, 800*time.Millisecond))
	err = r.startFull(ballast, t)
	if err := r.afterwards(t, err); err != nil {
		return err
	}
	return r.finishClean()
}

func (r *rig) startFull(ballast string, t *traffic) error {
	if err := fill(ballast, 0); err != nil {
		return err
	}
	r.server.log.mark("the disk is full")
	pause(r.ctx, r.between(200*time.Millisecond, 1500*time.Millisecond))
	if r.rand.IntN(3) == 0 {
		if err := r.server.stop(); err != nil {
			return err
		}
		r.gone()
		r.result.Faults++
	} else {
		r.kill()
	}
	if err := fill(ballast, 0); err != nil {
		return err
	}
	p, err := r.server.spawn()
	if err != nil {
		return err
	}
	select {
	case base := <-p.ready:
		r.base = base
		r.target.set(r.client(base))
	case <-p.exited:
		return fmt.Errorf("%w as it was started on a full disk: %v", errEnded, p.err) //nolint:errorlint // an exit status
	case <-time.After(readyWithin):
		return fmt.Errorf("on a full disk the server has not started within %s", readyWithin)
	}
	asking := r.ask()
	pause(r.ctx, r.between(time.Second, time.Duration(r.times(3, 8))*time.Second))
	err = r.saysFull()
	return errors.Join(err, r.free(ballast, t), asking.end())
}
