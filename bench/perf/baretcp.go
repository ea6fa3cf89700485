//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// messages is what it costs to send a short message to many connections, and to read it.
type messages struct {
	connections int
	write, read time.Duration // CPU time for each
	burst       time.Duration // from the first write to the last of all connections
}

const (
	bareRounds  = 4
	messageSize = 100 // about a frame with one point
)

// bareTCP measures messages over loopback with nothing around them: n connections at most, each of which is written to once in a while,
// by one thread, and read by another. It is the least that the kernel takes for any server and any clients.
func bareTCP(ctx context.Context, n, rounds int) (m messages, err error) {
	m.connections = n
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return m, err
	}
	defer l.Close()
	var from, to []int
	defer func() { err = errors.Join(err, closeAll(from)) }()
	for range n {
		a, b, err := pair(ctx, l)
		if err != nil {
			return m, errors.Join(fmt.Errorf("connect to itself: %w", err), closeAll(to))
		}
		from, to = append(from, a), append(to, b)
	}
	var got atomic.Int64
	r, err := newReader(to, func(_ int, b []byte, _ time.Time) error { got.Add(int64(len(b))); return nil })
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	wrote := make(chan error, 1)
	go func() { wrote <- m.writeAll(ctx, from, rounds) }()
	if err := <-wrote; err != nil {
		return m, err
	}
	all := int64(n * rounds)
	err = poll(ctx, updateLimit, nap, "all bare messages have arrived", func() (bool, error) { return got.Load() == all*messageSize, nil })
	m.write /= time.Duration(all)
	m.burst /= time.Duration(rounds)
	m.read = time.Duration(r.cpu.Load() / all)
	return m, err
}

func (m *messages) writeAll(ctx context.Context, fds []int, rounds int) error {
	runtime.LockOSThread() // so that its CPU time can be told
	defer runtime.UnlockOSThread()
	message := make([]byte, messageSize)
	for range rounds {
		cpu, start := threadCPU(), time.Now()
		for _, fd := range fds {
			if n, err := syscall.Write(fd, message); n != messageSize {
				return fmt.Errorf("%d bytes of a bare message were taken: %w", n, err)
			}
		}
		m.write += threadCPU() - cpu
		m.burst += time.Since(start)
		if err := wait(ctx, time.Until(start.Add(updateEvery))); err != nil {
			return err
		}
	}
	return nil
}

// pair connects to a listener.
func pair(ctx context.Context, l net.Listener) (from, to int, err error) {
	var d net.Dialer
	a, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return 0, 0, err
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		return 0, 0, err
	}
	defer b.Close()
	one, ok := a.(*net.TCPConn)
	two, ok2 := b.(*net.TCPConn)
	if !ok || !ok2 {
		return 0, 0, errors.New("this is no TCP")
	}
	if from, err = handOver(one); err != nil {
		return 0, 0, err
	}
	if to, err = handOver(two); err != nil {
		return 0, 0, errors.Join(err, syscall.Close(from))
	}
	return from, to, nil
}
