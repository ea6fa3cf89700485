package process

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func keyOf(n uint64) entry {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	key := sha256.Sum256(b[:])
	return entry{high: binary.BigEndian.Uint64(key[:]), low: binary.BigEndian.Uint32(key[8:])}
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
	naive := map[entry]time.Time{}
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
	for b.Loop() {
		w.add(keyOf(i), now.Unix())
		i++
	}
}

func TestAnIdentityTakesAtMost24BytesHoweverManyThereAre(t *testing.T) {
	if testing.Short() {
		t.Skip("a million identities")
	}
	r := rand.New(rand.NewPCG(3, 4))
	w := NewWindow(24 * time.Hour)
	bytes, worst := 0, 0.0
	for range 1_200_000 {
		e := entry{high: r.Uint64(), low: r.Uint32()}
		s := &w.shards[e.high>>56]
		bytes -= cap(s.entries) * 16
		w.add(e, 1_800_000_000)
		bytes += cap(s.entries) * 16
		if w.Len() > 300_000 { // with fewer it is the 256 tables themselves that count
			worst = max(worst, float64(bytes)/float64(w.Len()))
		}
	}
	t.Logf("at most %.1f bytes", worst)
	if worst > 24 {
		t.Errorf("an identity takes %.1f bytes", worst)
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
	for i := range uint32(3000) {
		if w.add(entry{high: 7 << 56, low: i}, 1000) || w.add(entry{high: math.MaxUint64, low: i}, 1000) {
			t.Fatalf("%d is taken for another", i)
		}
	}
	for i := range uint32(3000) {
		if !w.add(entry{high: 7 << 56, low: i}, 1000) || !w.add(entry{high: math.MaxUint64, low: i}, 1000) {
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
