package live

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// TestWhatAClientDoesNotTakeAtOnceArrivesInOrder has a writer try, and a goroutine finish, more than a connection's buffers hold.
func TestWhatAClientDoesNotTakeAtOnceArrivesInOrder(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, ok := (<-accepted).(*net.TCPConn)
	if !ok {
		t.Fatal("not TCP")
	}
	defer server.Close()
	raw, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Conn: server, raw: raw}
	want := make([]byte, 32<<20)
	for i := range want {
		want[i] = byte(i >> 8)
	}
	var a attempt
	n, err := w.try(&a, want)
	if err != nil || n == 0 || n == len(want) {
		t.Fatalf("%d of %d bytes were taken, %v", n, len(want), err)
	}
	if again, err := w.try(&a, want); again != 0 || err != nil {
		t.Fatalf("half a frame was followed by another: %d, %v", again, err)
	}
	done := make(chan error, 2)
	go func() { done <- w.finish(net.Buffers{want[n:]}, time.Now().Add(time.Minute), true) }()
	go func() {
		done <- w.last([]byte("control"), time.Now().Add(time.Minute))
	}()
	got := make([]byte, len(want)+7)
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:len(want)], want) || string(got[len(want):]) != "control" {
		t.Error("what arrived is not what was written")
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stuck := (&wire{Conn: server, raw: raw}).finish(net.Buffers{want}, time.Now().Add(50*time.Millisecond), false)
	if stuck == nil {
		t.Error("a client that takes nothing is waited for")
	}
}
