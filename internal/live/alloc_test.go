package live

import (
	"io"
	"net"
	"testing"
	"time"
)

// turner is a connection with a subscription and a client that reads on and on, and a writer.
func turner(tb testing.TB) (turn func()) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	client, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = client.Close(), server.Close() })
	tcp, ok := server.(*net.TCPConn)
	if !ok {
		tb.Fatal("not TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	f := &feed{room: &room{tenant: "t"}}
	c := &conn{wire: wire{Conn: server, raw: raw}}
	s := &subscription{conn: c, head: headOf("a")}
	f.join(s)
	c.subs = append(c.subs, s)
	tail := []byte(`,"op":"points","series":[{"labels":{},"points":[[1763798400000,12]]}]}`)
	frames := [2]frame{{from: position{n: 0}, to: position{n: 1}, tail: tail}, {from: position{n: 1}, to: position{n: 0}, tail: tail}}
	var o output
	var a attempt
	n := 0
	return func() {
		f.last.Store(&frames[n%2])
		c.state.Store(running)
		c.turn(&o, &a, time.Now)
		if n++; s.at != frames[(n-1)%2].to || c.state.Load() != idle {
			tb.Fatal("the frame was not sent")
		}
	}
}

func TestAllocationsOfAFrameToAClient(t *testing.T) {
	turn := turner(t)
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("a frame to a client makes %v allocations, want none: there are many clients", n)
	}
}

// BenchmarkFrameToAClient is a writer's part of a frame, and the kernel's way to the client.
func BenchmarkFrameToAClient(b *testing.B) {
	turn := turner(b)
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}

func TestARoomIsHeldNoLongerForManyClientsThanToCopyAList(t *testing.T) {
	f := &feed{room: &room{tenant: "t"}}
	conns := make([]*conn, 100)
	subs := make([]*subscription, len(conns))
	for i := range conns {
		conns[i] = &conn{}
		subs[i] = &subscription{conn: conns[i]}
		f.join(subs[i])
	}
	h := &Hub{}
	h.writers.ready.L = &h.writers.mu
	if n := testing.AllocsPerRun(10, func() { h.rouse(f) }); n > 2 {
		t.Errorf("%v allocations for %d clients", n, len(conns))
	}
	for i, s := range f.members {
		if f.conns[i] != s.conn || s.index != i {
			t.Fatal("the list of connections is not that of the members")
		}
	}
	for i := range 50 {
		f.leave(subs[i*2])
	}
	for i, s := range f.members {
		if f.conns[i] != s.conn || s.index != i {
			t.Fatal("after some have left, the list of connections is not that of the members")
		}
	}
}
