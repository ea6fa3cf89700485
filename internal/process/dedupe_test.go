package process

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

func keyOf(n uint64) identity {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	key := sha256.Sum256(b[:])
	return identity{high: binary.BigEndian.Uint64(key[:]), low: binary.BigEndian.Uint16(key[8:])}
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
		w.add(keyOf(1), start.Unix())
		if got := w.add(keyOf(1), start.Add(c.after).Unix()); got != c.duplicate {
			t.Errorf("after %s: duplicate %v, want %v", c.after, got, c.duplicate)
		}
	}
}

func TestARepetitionDoesNotProlongTheWindow(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := NewWindow(24 * time.Hour)
	w.add(keyOf(1), start.Unix())
	w.add(keyOf(1), start.Add(23*time.Hour).Unix())
	if w.add(keyOf(1), start.Add(25*time.Hour).Unix()) {
		t.Error("25 hours after the first receipt it is a new event")
	}
}

func TestTheWindowAgreesWithAMapOfEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	span := time.Hour
	w := NewWindow(span)
	naive := map[identity]time.Time{}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for range 200_000 {
		now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		k := keyOf(r.Uint64N(20_000))
		first, seen := naive[k]
		want := seen && now.Unix()-first.Unix() < int64(span/time.Second)
		if !want {
			naive[k] = now
		}
		if got := w.add(k, now.Unix()); got != want {
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
		w.add(keyOf(i), now.Unix())
	}
	b.ReportAllocs()
	i := uint64(1_000_000)
	faults := func() int64 {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return u.Minflt
	}
	begin := faults()
	defer func() { b.ReportMetric(float64(faults()-begin)/float64(b.N), "faults/op") }()
	for b.Loop() {
		w.add(keyOf(i), now.Unix())
		i++
	}
}

// Growing is counted, not timed: how many bytes are held, old and new tables together, and how many identities are moved.
func TestGrowingTakesLittleMemoryAndNoTimeAtOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	w := NewWindow(24 * time.Hour)
	defer w.Close()
	const stretch = 10_000
	worst, peak, longest, stretchWorst, before, n := 0.0, math.MinInt, 0, 0, 0, 2_400_000
	if testing.Short() {
		n /= 2
	}
	for i := range n {
		moved := w.moved
		w.add(identity{high: r.Uint64(), low: uint16(r.Uint32())}, 1_800_000_000)
		longest = max(longest, w.moved-moved)
		if w.Len() < 750_000 { // with fewer it is the pages that count
			continue
		}
		worst = max(worst, float64(w.memory.arena.Bytes())/float64(w.Len()))
		peak = max(peak, w.memory.arena.Bytes()+cap(w.scratch)*entrySize-24*w.Len())
		if i%stretch == 0 {
			if before > 0 {
				stretchWorst = max(stretchWorst, w.moved-before)
			}
			before = w.moved
		}
	}
	t.Logf("at most %.1f bytes an identity, with what growing takes %d more than 24 of each; %d moved at once, %d for %d; %.1f for one", worst, peak, longest, stretchWorst, stretch,
		float64(w.moved)/float64(n))
	if worst > 24 || peak > mostMoved*24 {
		t.Errorf("an identity takes %.1f bytes, and growing %d more than 24 of each", worst, peak)
	}
	if longest > mostMoved {
		t.Errorf("an identity that was added moved %d others", longest)
	}
	if w.moved > 8*n || stretchWorst > 40*stretch {
		t.Errorf("%d identities moved %d, and %d of them %d", n, w.moved, stretch, stretchWorst)
	}
	w.each(func(s *shard) {
		if s.used > mostMoved {
			t.Errorf("a table has %d identities", s.used)
		}
	})
	w.Close()
	if w.memory.arena.Bytes() != 0 || w.Len() != 0 {
		t.Errorf("a closed window holds %d bytes and %d identities", w.memory.arena.Bytes(), w.Len())
	}
}

func TestTablesThatWereMadeTwoHaveAllThatWasInOne(t *testing.T) {
	w := NewWindow(time.Hour)
	defer w.Close()
	const n = 200_000
	for i := range uint64(n) {
		if w.add(keyOf(i), 10_000+int64(i/1000)) {
			t.Fatalf("%d is taken for another", i)
		}
	}
	if w.depth < 3 {
		t.Fatalf("there are %d tables of %d identities", len(w.tables), n)
	}
	for i := range uint64(n) {
		if i%7 == 0 {
			w.remove(keyOf(i))
		}
	}
	for i := range uint64(n) {
		if got := w.add(keyOf(i), 10_300); got != (i%7 != 0) {
			t.Fatalf("%d is known: %v", i, got)
		}
	}
	used := 0
	w.each(func(s *shard) { used += s.used })
	if used != w.Len() || used != n {
		t.Errorf("%d identities, %d in all tables, want %d", w.Len(), used, n)
	}
	// Two hours later all are too old, whatever tables they are in.
	w.add(keyOf(n), 10_000+2*3600)
	for range 2 * len(w.tables) {
		w.Sweep()
	}
	if w.Len() != 1 || w.memory.arena.Bytes() > 3<<20 {
		t.Errorf("%d identities are held in %d bytes, of which one matters", w.Len(), w.memory.arena.Bytes())
	}
}

func TestWhatIsTooOldIsLetGoWithoutNewOnesInItsPlace(t *testing.T) {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := NewWindow(time.Hour)
	for i := range uint64(50_000) {
		w.add(keyOf(i), start.Unix())
	}
	w.add(keyOf(1_000_000), start.Add(2*time.Hour).Unix())
	for range 256 {
		w.Sweep()
	}
	if w.Len() > 1 {
		t.Errorf("%d identities are held, of which one matters", w.Len())
	}
	if w.add(keyOf(7), start.Add(2*time.Hour).Unix()) || !w.add(keyOf(1_000_000), start.Add(2*time.Hour).Unix()) {
		t.Error("the wrong ones were let go")
	}
}

func TestIdentitiesThatFallTogetherAreToldApart(t *testing.T) {
	w := NewWindow(time.Hour)
	for i := range uint16(3000) {
		if w.add(identity{high: 7 << 56, low: i}, 1000) || w.add(identity{high: math.MaxUint64, low: i}, 1000) {
			t.Fatalf("%d is taken for another", i)
		}
	}
	for i := range uint16(3000) {
		if !w.add(identity{high: 7 << 56, low: i}, 1000) || !w.add(identity{high: math.MaxUint64, low: i}, 1000) {
			t.Fatalf("%d is not known", i)
		}
	}
}

func TestAnIdentityThatWasRemovedIsNew(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	w := NewWindow(24 * time.Hour)
	const n = 5000
	for i := range uint64(n) {
		w.add(keyOf(i), now.Unix())
	}
	for i := range uint64(n) {
		if i%3 == 0 {
			w.remove(keyOf(i))
		}
	}
	for i := range uint64(n) {
		if got, want := w.add(keyOf(i), now.Unix()), i%3 != 0; got != want {
			t.Fatalf("identity %d: duplicate %v, want %v", i, got, want)
		}
	}
}

// each calls f with every table.
func (w *Window) each(f func(*shard)) {
	var last *shard
	for _, s := range w.tables {
		if s != last {
			f(s)
		}
		last = s
	}
}
