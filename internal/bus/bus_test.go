package bus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func open(t *testing.T, dir string, partitions int) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{Dir: dir, Partitions: partitions, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func read(t *testing.T, b *bus.Bus, p int, after uint64, n int) []bus.Message {
	t.Helper()
	r, err := b.Read(t.Context(), p, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []bus.Message
	for len(out) < n {
		select {
		case m, ok := <-r.Messages():
			if !ok {
				t.Fatal("the reader ended:", r.Err())
			}
			out = append(out, m)
		case <-time.After(10 * time.Second):
			t.Fatalf("only %d of %d messages came", len(out), n)
		}
	}
	return out
}

func TestWhatWasAppendedIsReadInOrderAfterAReopen(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 2)
	for i := range 20 {
		seq, err := b.Append(t.Context(), 1, fmt.Appendf(nil, "m%d", i))
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("append %d: seq %d, %v", i, seq, err)
		}
	}
	before, _, _, err := b.Tail(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()

	b = open(t, dir, 7) // another number is asked for; the log keeps its own
	if b.Partitions() != 2 {
		t.Fatalf("the log has %d partitions, want the 2 it was made with", b.Partitions())
	}
	incarnation, first, last, err := b.Tail(t.Context(), 1)
	if err != nil || incarnation != before || first != 1 || last != 20 {
		t.Fatalf("tail: %q %d..%d, %v; want %q 1..20", incarnation, first, last, err, before)
	}
	for i, m := range read(t, b, 1, 5, 15) {
		if m.Err != nil || m.Seq != uint64(i+6) || m.Number != m.Seq || string(m.Payload) != fmt.Sprintf("m%d", i+5) {
			t.Fatalf("message %d: %+v", i, m)
		}
	}
}

func TestAReaderGetsWhatIsAppendedWhileItReads(t *testing.T) {
	b := open(t, t.TempDir(), 1)
	r, err := b.Read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 3 {
		if _, err := b.Append(t.Context(), 0, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if m := <-r.Messages(); m.Payload[0] != byte(i) {
			t.Fatalf("got %v, want %d", m.Payload, i)
		}
	}
}

func TestAChangeOfTheCatalogIsHeard(t *testing.T) {
	b := open(t, t.TempDir(), 1)
	heard := make(chan tenant.ID, 1)
	stop, err := b.OnCatalogChange(func(id tenant.ID) { heard <- id })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	b.AnnounceCatalog("acme")
	if id := <-heard; id != "acme" {
		t.Fatalf("heard %q", id)
	}
}

func TestAppendingAfterCloseFails(t *testing.T) {
	b := open(t, t.TempDir(), 1)
	b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := b.Append(ctx, 0, []byte("x")); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want a quick error, got %v", err)
	}
	if b.Healthy() == nil {
		t.Fatal("a closed log says it is healthy")
	}
}

func BenchmarkAppend(b *testing.B) {
	noise := make([]byte, 300_000)
	_, _ = rand.Read(noise)
	var events []byte
	for i := 0; len(events) < len(noise); i++ {
		events = fmt.Appendf(events, `{"id":"evt_%x","type":"charge.succeeded","source":"stripe","data":{"amount":%d,"currency":"usd","customer":"cus_%x"}}`, noise[i*12:i*12+12], 100*i, noise[i*9:i*9+7])
	}
	for _, size := range []int{300, 30_000, 300_000} {
		for name, payload := range map[string][]byte{"events": events[:size], "noise": noise[:size]} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				l, err := bus.Open(b.Context(), bus.Config{Dir: b.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := l.Append(b.Context(), 0, payload); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// logTo shows the log of a test that fails.
func logTo(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func TestALogSaysHowManyPartitionsItHasBeforeItIsOpened(t *testing.T) {
	dir := t.TempDir()
	if n := bus.Partitions(dir); n != 0 {
		t.Errorf("%d partitions where there is no log", n)
	}
	open(t, dir, 3).Close()
	if n := bus.Partitions(dir); n != 3 {
		t.Errorf("%d partitions of 3", n)
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream", "$G", "streams", "EVENTS_0")); err != nil {
		t.Fatal(err)
	}
	if n := bus.Partitions(dir); n != 3 {
		t.Errorf("%d partitions of 3, the first of which is gone", n)
	}
}
