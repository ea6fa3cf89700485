package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
)

// complaints collects what the embedded server complains about.
type complaints struct {
	slog.Handler
	mu   sync.Mutex
	text []string
}

func (c *complaints) Enabled(context.Context, slog.Level) bool { return true }
func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	fromServer := false
	r.Attrs(func(a slog.Attr) bool { fromServer = fromServer || a.Value.String() == "nats"; return true })
	if fromServer && r.Level >= slog.LevelWarn {
		c.mu.Lock()
		c.text = append(c.text, r.Message)
		c.mu.Unlock()
	}
	return nil
}

// noComplaints opens a log and fails when the embedded server had to do anything about its files.
func (w written) noComplaints(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	c := &complaints{}
	cfg.Log = slog.New(c)
	b := w.open(t, cfg)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.text) > 0 {
		t.Errorf("the embedded server says: %s", strings.Join(c.text, "\n"))
	}
	return b
}

func TestTheServerBeginsAtOnceWithTheIndexThatIsWrittenForIt(t *testing.T) {
	append7 := func(b *bus.Bus) {
		for i := range 7 {
			if _, err := b.Append(t.Context(), 0, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	more := func(w written) written {
		for i := range 7 {
			w.payloads[0] = append(w.payloads[0], fmt.Append(nil, i))
		}
		return w
	}
	cases := map[string]func() written{
		"after a clean stop": func() written { return blocks(t) },
		"without any message": func() written {
			w := written{dir: filepath.Join(fastDir(t), "log"), payloads: make([][][]byte, 1)}
			b := w.open(t, bus.Config{})
			w.incarnation = make([]string, 1)
			w.incarnation[0], _, _, _ = b.Tail(t.Context(), 0)
			b.Close()
			return w
		},
		"after a kill": func() written {
			w := blocks(t)
			killed(t, w, append7)
			return more(w)
		},
		"after a kill in an empty log": func() written {
			w := write(t, 1, 1)
			killed(t, w, append7)
			return more(w)
		},
		"without an index": func() written {
			w := blocks(t)
			if err := os.Remove(filepath.Join(filepath.Dir(w.block(0, 1)), "index.db")); err != nil {
				t.Fatal(err)
			}
			return w
		},
		"with messages missing in the middle": func() written {
			w := blocks(t)
			info, err := os.Stat(w.block(0, 2))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(w.block(0, 2), info.Size()/2); err != nil {
				t.Fatal(err)
			}
			return w
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			w := prepare()
			for range 2 {
				b := w.noComplaints(t, bus.Config{})
				w.check(t, b, 0, w.payloads[0])
				b.Close()
			}
		})
	}
}

func TestMessagesThatBecameTooOldAreNoLoss(t *testing.T) {
	cfg := bus.Config{Retention: 400 * time.Millisecond}
	first := func(b *bus.Bus) uint64 {
		_, first, _, err := b.Tail(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	w := written{dir: filepath.Join(fastDir(t), "log"), payloads: make([][][]byte, 1)}
	next := uint64(1)
	appendTo := func(b *bus.Bus, n int) {
		for range n {
			seq, err := b.Append(t.Context(), 0, bytes.Repeat([]byte("x"), 500))
			if err != nil || seq != next {
				t.Fatalf("seq %d, %v; want %d", seq, err, next)
			}
			next++
		}
	}
	b := w.open(t, cfg)
	appendTo(b, 5)
	until(t, "all are too old", func() bool { return first(b) == 6 })
	b.Close()

	b = w.open(t, cfg) // with nothing but the numbers left
	appendTo(b, 3)
	until(t, "all are too old", func() bool { return first(b) == 9 })
	appendTo(b, 2)
	b.Close()
	closed := time.Now()
	until(t, "the rest are too old too, while the log is closed", func() bool { return time.Since(closed) > cfg.Retention })

	b = w.open(t, cfg)
	until(t, "all are too old", func() bool { return first(b) == 11 })
	killed(t, w, func(k *bus.Bus) { appendTo(k, 4) })
	b.Close()
	b = w.open(t, cfg)
	until(t, "all are too old", func() bool { return first(b) == 15 })
	appendTo(b, 1)
	if l, r := b.Losses(), b.Repairs(); len(l)+len(r) > 0 {
		t.Errorf("losses %+v, repairs %+v", l, r)
	}
	incarnation, _, _, err := b.Tail(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	// A store that has not read what is too old by now has lost it, and that is told.
	at, err := b.Resume(t.Context(), 0, incarnation, 12)
	if err != nil || at.After < 14 {
		t.Fatalf("%+v, %v", at, err)
	}
	if l := b.Losses(); len(l) != 1 || l[0].FromSeq != 13 || l[0].ToSeq != at.After {
		t.Errorf("losses %+v", l)
	}
}

func TestARetentionThatIsChangedHoldsFromTheNextStart(t *testing.T) {
	w := write(t, 1, 1, 20, 150, 300)
	for _, retention := range []time.Duration{time.Hour, 0, 2 * time.Hour} {
		b := w.open(t, bus.Config{Retention: retention})
		if gone := w.check(t, b, 0, w.payloads[0]); len(gone) > 0 {
			t.Errorf("lost are %v", gone)
		}
		b.Close()
	}
}

func TestStatsAndPendingTellHowMuchThereIs(t *testing.T) {
	w := blocks(t)
	b := w.open(t, bus.Config{Committed: storeAt(w.incarnation[0], 40)})
	stats, err := b.Stats(t.Context())
	if err != nil || len(stats) != 1 {
		t.Fatal(stats, err)
	}
	s := stats[0]
	if s.First != 1 || s.Last != 40 || s.Messages != 40 || s.Bytes < 16<<20 || s.Incarnation != w.incarnation[0] || time.Since(s.Oldest) > time.Minute {
		t.Errorf("%+v", s)
	}
	for _, want := range []struct{ after, messages, low, high uint64 }{
		{0, 40, s.Bytes, s.Bytes}, {40, 0, 0, 0}, {50, 0, 0, 0}, {17, 23, s.Bytes / 2, s.Bytes * 2 / 3}, {39, 1, 1, 2 << 20},
	} {
		messages, bytes := b.Pending(0, want.after)
		if messages != want.messages || bytes < want.low || bytes > want.high {
			t.Errorf("behind %d: %d messages, %d bytes; want %d, %d to %d", want.after, messages, bytes, want.messages, want.low, want.high)
		}
	}
	before, _ := b.Pending(0, 0)
	if _, err := b.Append(t.Context(), 0, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if messages, bytes := b.Pending(0, 40); messages != 1 || bytes == 0 || bytes > 2000 {
		t.Errorf("%d messages, %d bytes behind the last one but one", messages, bytes)
	}
	if after, _ := b.Pending(0, 0); after != before+1 {
		t.Errorf("%d messages pending, want %d", after, before+1)
	}
}
