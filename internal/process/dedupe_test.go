package process

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func keyOf(n uint64) event.Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return event.IdentityKey("t", "s", string(b[:]))
}

func TestAnIdentityIsADuplicateWithinTheWindowOnly(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after     time.Duration
		duplicate bool
	}{
		{0, true}, {time.Second, true}, {23*time.Hour + 59*time.Minute, true}, {24 * time.Hour, false}, {48 * time.Hour, false},
		{-time.Hour, true}, // a clock that steps back does not count twice
	} {
		w := NewWindow(24 * time.Hour)
		w.Add(keyOf(1), start)
		if got := w.Add(keyOf(1), start.Add(c.after)); got != c.duplicate {
			t.Errorf("after %s: duplicate %v, want %v", c.after, got, c.duplicate)
		}
	}
}

func TestARepetitionDoesNotProlongTheWindow(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := NewWindow(24 * time.Hour)
	w.Add(keyOf(1), start)
	w.Add(keyOf(1), start.Add(23*time.Hour))
	if w.Add(keyOf(1), start.Add(25*time.Hour)) {
		t.Error("25 hours after the first receipt it is a new event")
	}
}

func TestTheWindowAgreesWithAMapOfEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	span := time.Hour
	w := NewWindow(span)
	naive := map[event.Key]time.Time{}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for range 200_000 {
		now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		k := keyOf(r.Uint64N(20_000))
		first, seen := naive[k]
		want := seen && now.Unix()-first.Unix() < int64(span/time.Second)
		if !want {
			naive[k] = now
		}
		if got := w.Add(k, now); got != want {
			t.Fatalf("at %s: duplicate %v, want %v (first %s)", now, got, want, first)
		}
	}
	if w.Len() > 20_000 {
		t.Errorf("%d identities are held: old ones are not dropped", w.Len())
	}
}

func BenchmarkWindow(b *testing.B) {
	w := NewWindow(24 * time.Hour)
	now := time.Now()
	for i := range uint64(1_000_000) {
		w.Add(keyOf(i), now)
	}
	b.ReportAllocs()
	i := uint64(1_000_000)
	for b.Loop() {
		w.Add(keyOf(i), now)
		i++
	}
}

func TestAnIdentityThatWasRemovedIsNew(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := NewWindow(24 * time.Hour)
	const n = 5000
	for i := range uint64(n) {
		w.Add(keyOf(i), now)
	}
	for i := range uint64(n) {
		if i%3 == 0 {
			w.Remove(keyOf(i))
		}
	}
	for i := range uint64(n) {
		if got, want := w.Add(keyOf(i), now), i%3 != 0; got != want {
			t.Fatalf("identity %d: duplicate %v, want %v", i, got, want)
		}
	}
}
