package bus

import (
	"log/slog"
	"testing"
	"time"
)

// readWithoutFiles is Read by a reader that finds no files, and so has JetStream send it the messages.
func readWithoutFiles(t *testing.T, b *Bus, after uint64) *Reader {
	t.Helper()
	l, err := b.current()
	if err != nil {
		t.Fatal(err)
	}
	from := b.files(l, b.parts[0])
	from.files.dir = t.TempDir()
	return newReader(l.ctx, from, after)
}

// pulls says whether a reader has JetStream send it the messages.
func pulls(r *Reader) bool {
	from, ok := r.from.(*local)
	return ok && from.from != nil
}

func TestAReaderGoesOnWhenItsConsumerIsGone(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	appendSome := func(n int) {
		t.Helper()
		for range n {
			if _, err := b.Append(t.Context(), 0, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := readWithoutFiles(t, b, 0)
	defer r.Close()
	next := uint64(1)
	takeSome := func(n int) {
		t.Helper()
		for range n {
			select {
			case m, ok := <-r.Messages():
				if !ok || m.Seq != next {
					t.Fatalf("message %d, want %d; %v", m.Seq, next, r.Err())
				}
				next++
			case <-time.After(20 * time.Second):
				t.Fatalf("message %d has not come", next)
			}
		}
	}
	for range 3 {
		appendSome(60)
		takeSome(5)
		stream, err := b.life.js.Stream(t.Context(), streamName(0))
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := stream.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		takeSome(55)
	}
}

func TestAReaderThatIsClosedLeavesNoConsumer(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Append(t.Context(), 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r := readWithoutFiles(t, b, 0)
		if m := <-r.Messages(); m.Seq != 1 || !pulls(r) {
			t.Fatal(m, pulls(r))
		}
		r.Close()
		if _, ok := <-r.Messages(); ok || r.Err() != nil {
			t.Fatal(ok, r.Err())
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		stream, err := b.life.js.Stream(t.Context(), streamName(0))
		if err != nil {
			t.Fatal(err)
		}
		n := stream.CachedInfo().State.Consumers
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d consumers are left", n)
		}
	}
}
