//go:build linux

package fault

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

func freezeScenarios() []scenario {
	return []scenario{
		{name: "freeze", about: "the process is stopped for seconds and woken; meanwhile another wants its data", short: 1, long: 8, run: freeze},
	}
}

// freeze stops the process again and again while events come in. While it sleeps, a second server that is started over the same data
// must keep its hands off.
func freeze(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(lightLoad())
	err := func() error {
		for range r.times(1, 2) {
			pause(r.ctx, r.between(50*time.Millisecond, 600*time.Millisecond))
			if err := r.server.signal(syscall.SIGSTOP); err != nil {
				return err
			}
			r.result.Faults++
			second := &server{binary: r.binary, dir: r.data, log: r.server.log}
			p, err := second.spawn()
			if err != nil {
				return err
			}
			select {
			case <-p.exited:
				r.result.Detected++
			case <-p.ready:
				second.kill()
				return errors.New("a second server started over the data of one that runs")
			case <-time.After(15 * time.Second):
				second.kill()
				return errors.New("a second server over the data of one that runs neither started nor ended within 15 s")
			}
			pause(r.ctx, r.between(0, time.Duration(r.times(2, 12))*time.Second))
			if err := r.server.signal(syscall.SIGCONT); err != nil {
				return err
			}
		}
		pause(r.ctx, 300*time.Millisecond)
		return nil
	}()
	if err = errors.Join(err, t.stop()); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("after waking up: %w", err)
	}
	return r.finishClean()
}
