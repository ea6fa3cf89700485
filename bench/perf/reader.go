//go:build linux

package perf

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// reader reads many connections on one thread: ten thousand goroutines, each of which is woken up for a hundred bytes, would take more of
// the machine than the server that is measured.
type reader struct {
	epoll   int
	fds     []int // by the number of the connection
	take    func(conn int, b []byte, at time.Time) error
	stop    atomic.Bool
	stopped chan struct{}
	cpu     atomic.Int64 // nanoseconds that reading has taken so far
	err     error        // once stopped is closed
}

const (
	// nap is how long the thread rests after it has read what there was: what comes meanwhile wakes nobody up. A time of arrival is
	// too late by as much at most, and never too early.
	nap = 2 * time.Millisecond
	// atOnce is how many connections are read before the clock is: what arrived first is some tens of microseconds older than it says.
	atOnce = 8
	// most is how much is read of a connection at a time.
	most = 16 << 10
	// edges is EPOLLET: what has been read is not looked at once more.
	edges = 1 << 31
	// gone are the events of a connection that has an end: it may be behind what is read, and comes without an event of its own.
	gone = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	// waitLimit is after how many milliseconds without anything to read the thread looks whether it is to stop.
	waitLimit = 100
)

// newReader takes connections over: it closes them when it stops. What arrives is given to take, on one thread.
func newReader(fds []int, take func(conn int, b []byte, at time.Time) error) (*reader, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wait for many connections: %w", err), closeAll(fds))
	}
	r := &reader{epoll: epoll, fds: fds, take: take, stopped: make(chan struct{})}
	for i, fd := range fds {
		e := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edges, Fd: int32(i)}
		if err := syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &e); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for many connections: %w", err), closeAll(append(fds, epoll)))
		}
	}
	go r.run()
	return r, nil
}

// close ends it and closes the connections.
func (r *reader) close() error {
	r.stop.Store(true)
	<-r.stopped
	return errors.Join(r.err, closeAll(append(r.fds, r.epoll)))
}

func (r *reader) run() {
	runtime.LockOSThread() // so that its CPU time can be told
	defer runtime.UnlockOSThread()
	defer close(r.stopped)
	before := threadCPU() // of what ran on the thread until now
	events := make([]syscall.EpollEvent, 1024)
	buf := make([]byte, atOnce*most)
	for !r.stop.Load() && r.err == nil {
		n, err := syscall.EpollWait(r.epoll, events, waitLimit)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			r.err = fmt.Errorf("wait for many connections: %w", err)
			return
		}
		for some := range slices.Chunk(events[:max(n, 0)], atOnce) {
			if r.err = r.read(some, buf); r.err != nil {
				return
			}
		}
		r.cpu.Store(int64(threadCPU() - before))
		if n > 0 {
			rest := syscall.NsecToTimespec(int64(nap))
			_ = syscall.Nanosleep(&rest, nil) // a shorter nap does no harm
		}
	}
}

// read takes what there is of some connections.
func (r *reader) read(some []syscall.EpollEvent, buf []byte) error {
	var sizes [atOnce]int
	for i, e := range some {
		n, err := receive(r.fds[e.Fd], buf[i*most:(i+1)*most])
		if err != nil {
			return fmt.Errorf("client %d has lost its connection: %w", e.Fd, err)
		}
		sizes[i] = n
	}
	now := time.Now()
	for i, e := range some {
		at := now
		for n := sizes[i]; n > 0; {
			b := buf[i*most : (i+1)*most]
			if err := r.take(int(e.Fd), b[:n], at); err != nil {
				return err
			}
			if n < most && e.Events&gone == 0 {
				break
			}
			var err error
			if n, err = receive(r.fds[e.Fd], b); err != nil {
				return fmt.Errorf("client %d has lost its connection: %w", e.Fd, err)
			}
			at = time.Now()
		}
	}
	return nil
}

// receive reads what there is without waiting, which may be nothing.
func receive(fd int, b []byte) (int, error) {
	for {
		n, _, err := syscall.Recvfrom(fd, b, syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil || n == 0:
			return 0, errors.Join(err, errClosed)
		}
		return n, nil
	}
}

var errClosed = errors.New("the server has closed it")

func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, syscall.Close(fd))
	}
	return errors.Join(errs...)
}

// threadCPU is the CPU time that the calling thread has used so far.
func threadCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// handOver makes a connection that the runtime waits for one that a reader waits for.
func handOver(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, err = syscall.Dup(int(old)); err == nil {
			syscall.CloseOnExec(fd)
		}
	})
	return fd, errors.Join(cerr, err)
}
