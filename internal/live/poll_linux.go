package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// poller knows which connections have something to read. A goroutine for each, waiting, would do the same; but ten thousand of them are a
// hundred megabytes of stacks and buffers, and the garbage collector walks through each of them each time.
type poller struct {
	file *os.File // of its own epoll, for which the runtime's waits
	raw  syscall.RawConn
	fd   int
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for clients: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for clients: %w", err), syscall.Close(fd))
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

// once is what a connection is watched for: one event, after which it is armed again.
const once = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT

func (p *poller) add(raw syscall.RawConn, number uint64) error {
	return p.control(raw, syscall.EPOLL_CTL_ADD, number)
}

func (p *poller) arm(raw syscall.RawConn, number uint64) error {
	return p.control(raw, syscall.EPOLL_CTL_MOD, number)
}

func (p *poller) control(raw syscall.RawConn, op int, number uint64) error {
	e := syscall.EpollEvent{Events: once, Fd: int32(number), Pad: int32(number >> 32)} //nolint:gosec // the halves of a number
	var err error
	cerr := raw.Control(func(fd uintptr) { err = syscall.EpollCtl(p.fd, op, int(fd), &e) })
	return errors.Join(cerr, err)
}

// run calls ready with the number of each connection that has something to read, until ctx ends.
func (p *poller) run(ctx context.Context, ready func(number uint64)) error {
	defer context.AfterFunc(ctx, func() { _ = p.file.Close() })()
	events := make([]syscall.EpollEvent, 128)
	for {
		n, err := 0, error(nil)
		rerr := p.raw.Read(func(uintptr) bool {
			n, err = syscall.EpollWait(p.fd, events, 0)
			return n > 0 || err != nil
		})
		if ctx.Err() != nil {
			return nil
		}
		if err = errors.Join(rerr, err); err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for clients: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			ready(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32) //nolint:gosec // the halves of a number
		}
	}
}
