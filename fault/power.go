//go:build linux

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func powerScenarios() []scenario {
	return []scenario{
		{name: "power/ingest", about: "the power goes while events come in (ext4 shut down without a flush)", short: 1, long: 13, needs: needsLoop, run: powerCuts(4, nil)},
		{name: "power/first-start", about: "the power goes in the first second of a new installation", short: 1, long: 12, needs: needsLoop, run: powerAtFirst},
		{name: "power/stop", about: "the power goes during a clean stop", short: 1, long: 5, needs: needsLoop, run: powerCuts(2, func(r *rig) error { return r.server.signal(syscall.SIGTERM) })},
		{name: "power/start", about: "the power goes again while the server recovers from the last time", short: 1, long: 5, needs: needsLoop, run: powerTwice},
	}
}

const diskSize = 3 << 30 // sparse

// powered puts the data directory onto a disk of its own.
func (r *rig) powered() (*disk, error) {
	d, err := r.newDisk(filepath.Join(r.scratch, "disk"), diskSize)
	r.data = filepath.Join(r.scratch, "disk", "data")
	r.server.dir = r.data
	return d, err
}

// cut makes the server stand still, cuts the power and brings the machine up again, without starting the server.
func (r *rig) cut(d *disk) error {
	if err := r.server.stand(r.ctx); err != nil {
		return err
	}
	r.server.log.mark("power cut")
	if err := d.cutPower(); err != nil {
		return err
	}
	r.server.kill()
	r.gone()
	r.result.Faults++
	if err := d.recoverDisk(); err != nil {
		return err
	}
	return r.keepAsFound()
}

// keepAsFound copies the data as the power cut left them, before a server sets them right: what was lost by whom can be told from it.
func (r *rig) keepAsFound() error {
	found := filepath.Join(r.scratch, "as-found")
	if err := os.RemoveAll(found); err != nil {
		return err
	}
	if _, err := os.Stat(r.data); err != nil {
		return nil //nolint:nilerr // nothing was made yet
	}
	return copyTree(r.data, found)
}

// powerCuts makes a run of some cuts; before each, first may do something more.
func powerCuts(long int, first func(*rig) error) func(*rig) error {
	return func(r *rig) error {
		d, err := r.powered()
		if err != nil {
			return err
		}
		if err := r.setUp(); err != nil {
			return err
		}
		for i := range r.times(1, long) {
			t := r.write(lightLoad())
			pause(r.ctx, r.between(20*time.Millisecond, 1500*time.Millisecond))
			if first != nil {
				err = first(r)
				pause(r.ctx, r.between(0, 250*time.Millisecond))
			}
			if err == nil {
				err = r.cut(d)
			}
			if err == nil {
				err = r.start()
			}
			if err = errors.Join(err, t.stop()); err != nil {
				return fmt.Errorf("cut %d: %w", i+1, err)
			}
			if err := r.check(); err != nil {
				return fmt.Errorf("after cut %d: %w", i+1, err)
			}
		}
		return r.finishClean()
	}
}

// powerAtFirst cuts the power while the files are made. As soon as something was acknowledged it has to be there.
func powerAtFirst(r *rig) error {
	d, err := r.powered()
	if err != nil {
		return err
	}
	for range 1 + r.rand.IntN(2) {
		if _, err := r.server.spawn(); err != nil {
			return err
		}
		pause(r.ctx, r.between(0, 700*time.Millisecond))
		if err := r.cut(d); err != nil {
			return err
		}
	}
	if err := r.start(); err != nil {
		return err
	}
	r.change()
	t := r.write(lightLoad())
	pause(r.ctx, r.between(0, 200*time.Millisecond))
	err = r.cut(d)
	if err == nil {
		err = r.start()
	}
	if err = errors.Join(err, t.stop()); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return r.finishClean()
}

// powerTwice cuts the power again during recovery.
func powerTwice(r *rig) error {
	d, err := r.powered()
	if err != nil {
		return err
	}
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(lightLoad())
	pause(r.ctx, r.between(100*time.Millisecond, 1200*time.Millisecond))
	err = r.cut(d)
	for range 2 + r.rand.IntN(2) {
		if err != nil {
			break
		}
		if _, err = r.server.spawn(); err == nil {
			pause(r.ctx, r.between(0, 500*time.Millisecond))
			err = r.cut(d)
		}
	}
	if err == nil {
		err = r.start()
	}
	if err = errors.Join(err, t.stop()); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	return r.finishClean()
}
