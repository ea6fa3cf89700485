package bus

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"testing"
)

func TestAReaderThatKeepsUpIsHandedWhatIsAppendedAndReadsTheRest(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	open := func(after uint64) *Reader {
		r, err := b.Read(t.Context(), 0, after)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second := open(0), open(0)
	defer second.Close()
	random := rand.New(rand.NewPCG(3, 4))
	appended, read, alike := uint64(0), uint64(0), uint64(0)
	check := func(r *Reader, seq uint64) {
		t.Helper()
		m := next(t, r)
		if m.Err != nil || m.Seq != seq || m.Number != seq || m.Producer != b.producer || binary.BigEndian.Uint64(m.Payload) != seq {
			t.Fatalf("message %d, number %d of %d, has %d, %v; want %d", m.Seq, m.Number, m.Producer, binary.BigEndian.Uint64(m.Payload), m.Err, seq)
		}
		r.Recycle(m.Payload)
	}
	// Sometimes it is at the end, and sometimes further behind than anything is handed over.
	for appended < 600 {
		for range 1 + random.IntN(3*handoverMost) {
			appended++
			if seq, err := b.Append(t.Context(), 0, numbered(appended, 200+random.IntN(2000))); err != nil || seq != appended {
				t.Fatalf("message %d became %d: %v", appended, seq, err)
			}
		}
		for end := read + uint64(random.IntN(int(appended-read)+1)); read < end; {
			read++
			check(first, read)
		}
		if random.IntN(3) == 0 {
			for ; read < appended; read++ {
				check(first, read+1)
			}
		}
	}
	for ; alike < appended; alike++ {
		check(second, alike+1)
	}
	// The next one is handed what comes once the first has gone.
	first.Close()
	served := func() *Reader {
		h := &b.parts[0].fresh
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.to
	}
	for range 3 * lostSight {
		appended++
		if _, err := b.Append(t.Context(), 0, numbered(appended, 100)); err != nil {
			t.Fatal(err)
		}
		check(second, appended)
	}
	if served() != second {
		t.Error("nothing is handed over to the one that is left")
	}
}

func TestWhatIsHandedOverIsNotLookedForInTheFiles(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l, err := b.current()
	if err != nil {
		t.Fatal(err)
	}
	from := b.files(l, b.parts[0])
	from.files.dir = t.TempDir() // where there are none
	r := newReader(l.ctx, from, 0)
	defer r.Close()
	b.parts[0].fresh.serve(r)
	for seq := range uint64(3 * lostSight) {
		if _, err := b.Append(t.Context(), 0, numbered(seq+1, 300)); err != nil {
			t.Fatal(err)
		}
		if m := next(t, r); m.Err != nil || m.Seq != seq+1 || binary.BigEndian.Uint64(m.Payload) != seq+1 {
			t.Fatalf("message %d is %d with %d, %v", seq+1, m.Seq, binary.BigEndian.Uint64(m.Payload), m.Err)
		}
	}
	if pulls(r) {
		t.Error("messages were read through JetStream")
	}
}

func TestWhatWasHandedOverIsTakenOnceInOrderAndInItsLife(t *testing.T) {
	r, other := &Reader{spare: make(chan []byte, spares)}, &Reader{spare: make(chan []byte, spares)}
	now, later := &life{}, &life{}
	var h handover
	h.offer(now, 1, 1, []byte("nobody reads"))
	h.serve(r)
	h.serve(other)
	for seq := uint64(2); seq < 2+2*handoverMost; seq++ {
		h.offer(now, seq, seq, []byte{byte(seq)})
	}
	for _, want := range []struct {
		reader *Reader
		life   *life
		seq    uint64
		found  bool
	}{
		{r, now, 1, false}, {other, now, 2, false}, {r, now, 2, true}, {r, now, 2, false}, {r, now, 5, true}, {r, now, 4, false},
		{r, now, 1 + handoverMost, true}, {r, now, 2 + handoverMost, false},
	} {
		m, found := h.take(want.reader, want.life, want.seq)
		if found != want.found || found && (m.seq != want.seq || m.payload[0] != byte(want.seq)) {
			t.Errorf("message %d: %v, %v; want %v", want.seq, m, found, want.found)
		}
	}
	h.offer(now, 50, 50, []byte{50})
	if m, found := h.take(r, later, 50); found {
		t.Errorf("a message of the log before it was started anew: %v", m)
	}
	h.offer(later, 51, 51, []byte{51})
	h.leave(other)
	if _, found := h.take(r, later, 51); !found {
		t.Error("a message was lost when another reader left")
	}
	h.offer(later, 52, 52, []byte{52})
	h.leave(r)
	if h.to != nil || len(h.held) > 0 {
		t.Errorf("%d messages wait for a reader that has left", len(h.held))
	}
}
