//go:build linux

package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func syscallScenarios() []scenario {
	return []scenario{
		{name: "eio/fsync", about: "fsync and fdatasync fail with EIO for a while", short: 1, long: 14, needs: needsStrace, run: failing("fsync,fdatasync")},
		{name: "eio/write", about: "writes to the data directory fail with EIO for a while", short: 1, long: 14, needs: needsStrace, run: failing("pwrite64,write,writev,pwritev")},
		{name: "eio/space", about: "writes fail with ENOSPC for a while, here and there", short: 1, long: 6, needs: needsStrace, run: failingWith("pwrite64,write", "ENOSPC")},
		{name: "eio/start", about: "the n-th fsync, write, rename or open of a start fails", short: 2, long: 60, needs: needsStrace, run: failingStart},
		{name: "hang", about: "the disk hangs: fsync and pwrite64 take seconds", short: 1, long: 6, needs: needsStrace, run: hanging},
	}
}

func needsStrace() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("there is no strace")
	}
	return nil
}

// tracer is strace at work on a running server.
type tracer struct {
	cmd    *exec.Cmd
	record string // where it writes what it did
	exited chan struct{}
}

// trace attaches strace to the server with one injection, which is about files of the data directory only.
func (r *rig) trace(calls, inject string) (*tracer, error) {
	t := &tracer{record: filepath.Join(r.scratch, fmt.Sprintf("strace-%d", r.result.Faults)), exited: make(chan struct{})}
	args := []string{"-f", "-qq", "-o", t.record, "-p", strconv.Itoa(r.server.proc.cmd.Process.Pid), "-e", "trace=" + calls, "-e", "inject=" + calls + ":" + inject}
	paths, err := r.files()
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	r.server.log.mark("strace -e inject=%s:%s", calls, inject)
	t.cmd = exec.Command("strace", args...) //nolint:gosec,noctx // ended by a signal
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = t.cmd.Wait(); close(t.exited) }()
	return t, nil
}

// files are those of the data directory, and its directories.
func (r *rig) files() (all []string, err error) {
	err = filepath.WalkDir(r.data, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		all = append(all, path)
		return err
	})
	return all, err
}

// detach ends the injection and says how many calls it hit.
func (t *tracer) detach() (hit int, err error) {
	_ = t.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-t.exited:
	case <-time.After(20 * time.Second):
		_ = t.cmd.Process.Kill()
		<-t.exited
	}
	return injected(t.record)
}

func injected(record string) (int, error) {
	b, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return bytes.Count(b, []byte("(INJECTED)")) + bytes.Count(b, []byte("(DELAYED)")), err
}

func failing(calls string) func(*rig) error { return failingWith(calls, "EIO") }

// failingWith makes calls fail while events come in: a few at some place, or all for a while. The server may refuse events meanwhile; then it
// has to go on by itself.
func failingWith(calls, errno string) func(*rig) error {
	return func(r *rig) error {
		if err := errors.Join(r.setUp(), r.mark()); err != nil {
			return err
		}
		for i := range r.times(1, 3) {
			t := r.write(lightLoad())
			pause(r.ctx, r.between(100*time.Millisecond, 500*time.Millisecond))
			asking := r.ask()
			inject := "error=" + errno
			switch n := 1 + r.rand.IntN(20); r.rand.IntN(3) {
			case 0:
				inject += fmt.Sprintf(":when=%d", n)
			case 1:
				inject += fmt.Sprintf(":when=%d+%d", n, 1+r.rand.IntN(4))
			}
			err := r.inject(calls, inject, r.between(300*time.Millisecond, 2*time.Second))
			if err == nil {
				err = r.recovered(t)
			}
			if err := r.afterwards(t, errors.Join(err, asking.end())); err != nil {
				return fmt.Errorf("injection %d (%s:%s): %w", i+1, calls, inject, err)
			}
		}
		return r.finishClean()
	}
}

func (r *rig) inject(calls, inject string, d time.Duration) error {
	tr, err := r.trace(calls, inject)
	if err != nil {
		return err
	}
	pause(r.ctx, d)
	hit, err := tr.detach()
	r.result.Faults += hit
	r.server.log.mark("strace is gone; %d calls were hit", hit)
	return err
}

// failingStart lets the n-th call of a start fail, for n from the seed. The start may fail, but only with a message, and the next one
// has to find everything.
func failingStart(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	t := r.write(lightLoad())
	err := func() error {
		for range 3 {
			pause(r.ctx, r.between(50*time.Millisecond, 300*time.Millisecond))
			r.kill()
			if err := r.startFailing(); err != nil {
				return err
			}
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

// startFailing starts the server under strace with one injection, lets it work for a while if it starts, and kills it.
func (r *rig) startFailing() error {
	call := pick(r.rand, "fsync", "fdatasync", "pwrite64", "renameat", "ftruncate", "openat", "pread64")
	inject := fmt.Sprintf("inject=%s:error=EIO:when=%d", call, 1+r.rand.IntN(40))
	if r.rand.IntN(3) == 0 {
		inject += "+"
	}
	record := filepath.Join(r.scratch, fmt.Sprintf("strace-start-%d", r.result.Faults))
	p, err := r.server.spawn("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", record, "-e", "trace="+call, "-e", inject)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	defer cancel()
	select {
	case base := <-p.ready:
		r.target.set(r.client(base))
		pause(r.ctx, r.between(100*time.Millisecond, 700*time.Millisecond))
	case <-p.exited:
		r.result.Detected++
	case <-ctx.Done():
	}
	r.kill()
	hit, err := injected(record)
	r.result.Faults += hit
	return err
}

// hanging makes the disk slow to the point of standing still. Nothing has to be fast meanwhile, but all has to be kept.
func hanging(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	for range r.times(1, 2) {
		t := r.write(lightLoad())
		pause(r.ctx, r.between(100*time.Millisecond, 400*time.Millisecond))
		inject := fmt.Sprintf("delay_enter=%d:when=%d..%d", r.between(time.Second, time.Duration(r.times(2, 6))*time.Second).Microseconds(), 1+r.rand.IntN(5), 6+r.rand.IntN(5))
		err := r.inject("fsync,pwrite64", inject, r.between(2*time.Second, time.Duration(r.times(4, 8))*time.Second))
		if err == nil {
			err = r.recovered(t)
		}
		if err := r.afterwards(t, err); err != nil {
			return err
		}
	}
	return r.finishClean()
}
