package bus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pulsestream/pulsestream/internal/bus"
)

// blocks is a log of one partition with three blocks: of 17, 15 and 8 messages.
func blocks(t *testing.T) written {
	t.Helper()
	return write(t, 1, 7, slices.Repeat([]int{900_000, 100, 880_000, 870_000, 860_000, 850_000, 840_000, 830_000, 820_000, 810_000}, 4)...)
}

// storeAt is a store that has read a log up to seq.
func storeAt(incarnation string, seq uint64) func(context.Context, int) (string, uint64, error) {
	return func(context.Context, int) (string, uint64, error) { return incarnation, seq, nil }
}

func TestWhatIsDamagedFurtherBackIsFoundInTheBackground(t *testing.T) {
	w := blocks(t)
	flip(t, w.block(0, 2), 100_000, 3)
	b := w.open(t, bus.Config{Committed: storeAt(w.incarnation[0], uint64(len(w.payloads[0])))})
	until(t, "the damage is found", func() bool { return len(b.Repairs()) > 0 })
	until(t, "the log is well again", func() bool { return b.Healthy() == nil })
	if gone := w.check(t, b, 0, w.payloads[0]); len(gone) > 0 {
		t.Errorf("lost are %v", gone)
	}
	if r := b.Repairs()[0]; r.SetAside == "" || r.Partition != 0 {
		t.Errorf("repair: %+v", r)
	} else if _, err := os.Stat(r.SetAside); err != nil {
		t.Error(err)
	}
}

func TestWhatIsDamagedFurtherBackIsMendedBeforeItIsRead(t *testing.T) {
	w := blocks(t)
	for n := 1; n <= 3; n++ {
		flip(t, w.block(0, n), 3_000_000, 3)
	}
	b := w.open(t, bus.Config{Committed: storeAt(w.incarnation[0], uint64(len(w.payloads[0])))})
	if gone := w.check(t, b, 0, w.payloads[0]); len(gone) > 0 {
		t.Errorf("lost are %v", gone)
	}
}

func TestAPageOfZerosLosesOnlyTheMessagesUnderIt(t *testing.T) {
	w := write(t, 1, 9, slices.Repeat([]int{700}, 60)...)
	f, err := os.OpenFile(w.block(0, 1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), 8192); err != nil {
		t.Fatal(err)
	}
	f.Close()
	gone := w.lost(t, bus.Config{})[0]
	if len(gone) < 2 || len(gone) > 25 || gone[len(gone)-1]-gone[0] != uint64(len(gone)-1) {
		t.Errorf("lost are %v", gone)
	}
	b := w.open(t, bus.Config{})
	l := b.Losses()
	if len(l) != 1 || l[0].FromSeq != gone[0] || l[0].Number != gone[0] || l[0].Incarnation != w.incarnation[0] || l[0].SetAside == "" || l[0].Reason == "" {
		t.Errorf("losses: %+v", l)
	}
}

func TestABlockThatIsGoneIsNamedAndNothingElseIsLost(t *testing.T) {
	for n, want := range map[int][2]uint64{1: {1, 17}, 2: {18, 32}, 3: {33, 40}} {
		w := blocks(t)
		if n == 2 { // cut to nothing is the same
			if err := os.Truncate(w.block(0, n), 0); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(w.block(0, n)); err != nil {
			t.Fatal(err)
		}
		gone := w.lost(t, bus.Config{})[0]
		if len(gone) == 0 || gone[0] != want[0] || gone[len(gone)-1] != want[1] || uint64(len(gone)) != want[1]-want[0]+1 {
			t.Errorf("block %d is gone: lost are %v", n, gone)
		}
	}
}

func TestAllBlocksGoneIsNamedAndNumbersGoOn(t *testing.T) {
	w := write(t, 2, 1, 20, 150, 300)
	if err := os.RemoveAll(filepath.Dir(w.block(1, 1))); err != nil {
		t.Fatal(err)
	}
	gone := w.lost(t, bus.Config{})
	if len(gone[0]) != 0 || len(gone[1]) != 3 {
		t.Errorf("lost are %v", gone)
	}
}

func TestTheServersFolderGoneIsNamedAndNumbersGoOn(t *testing.T) {
	w := write(t, 2, 1, 20, 150, 300)
	if err := os.RemoveAll(filepath.Join(w.dir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	if gone := w.lost(t, bus.Config{}); len(gone[0]) != 3 || len(gone[1]) != 3 {
		t.Errorf("lost are %v", gone)
	}
}

func TestTheGuardsFolderGoneLosesNothing(t *testing.T) {
	w := write(t, 3, 1, 20, 150, 300)
	if err := os.RemoveAll(filepath.Join(w.dir, "guard")); err != nil {
		t.Fatal(err)
	}
	for _, gone := range w.lost(t, bus.Config{}) {
		if len(gone) != 0 {
			t.Errorf("lost are %v", gone)
		}
	}
}

func TestTheDescriptionsGoneLoseNothing(t *testing.T) {
	w := write(t, 2, 1, 20, 150, 300)
	for p := range 2 {
		dir := filepath.Dir(filepath.Dir(w.block(p, 1)))
		for _, name := range []string{"meta.inf", "meta.sum", "msgs/index.db"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, gone := range w.lost(t, bus.Config{}) {
		if len(gone) != 0 {
			t.Errorf("lost are %v", gone)
		}
	}
}

func TestALogThatCameBackShorterIsToldByTheStoreAlone(t *testing.T) {
	w := write(t, 1, 1, 20, 150, 300, 70)
	full, err := os.ReadFile(w.block(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	// Cut behind the second message, as if it had come back from an older copy, with the mark of that time.
	if err := os.Truncate(w.block(0, 1), int64(len(full)/2)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dir, "guard", "partition-0.mark")); err != nil {
		t.Fatal(err)
	}
	b := w.open(t, bus.Config{Committed: storeAt(w.incarnation[0], 4)})
	gone := w.check(t, b, 0, w.payloads[0])
	if len(gone) == 0 || gone[len(gone)-1] != 4 {
		t.Fatalf("lost are %v", gone)
	}
	// A new message is not taken for one that was read already.
	seq, err := b.Append(t.Context(), 0, []byte("new"))
	if err != nil || seq != 5 {
		t.Fatalf("seq %d, %v", seq, err)
	}
	at, err := b.Resume(t.Context(), 0, w.incarnation[0], 4)
	if err != nil || at.After != 4 || at.Last != 5 || at.Incarnation == w.incarnation[0] {
		t.Fatalf("%+v, %v", at, err)
	}
	if m := readUpTo(t, b, 0, at.After, 5); len(m) != 1 || string(m[0].Payload) != "new" {
		t.Errorf("%+v", m)
	}
}

func TestALogThatIsGoneWhileTheStoreIsThereGoesOnBehindIt(t *testing.T) {
	w := write(t, 1, 1, 20, 150, 300)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	cfg := bus.Config{Committed: storeAt(w.incarnation[0], 2)}
	b := w.open(t, cfg)
	at, err := b.Resume(t.Context(), 0, w.incarnation[0], 2)
	if err != nil || at.After != 2 {
		t.Fatalf("%+v, %v", at, err)
	}
	if l := b.Losses(); len(l) != 1 || l[0].FromSeq != 3 || l[0].ToSeq != 0 || l[0].Incarnation != w.incarnation[0] {
		t.Errorf("losses: %+v", l)
	}
	seq, err := b.Append(t.Context(), 0, []byte("new"))
	if err != nil || seq != 4 { // 3 says what happened
		t.Fatalf("seq %d, %v", seq, err)
	}
	m := readUpTo(t, b, 0, at.After, 4)
	if len(m) != 2 || !errors.Is(m[0].Err, bus.ErrLost) || string(m[1].Payload) != "new" {
		t.Errorf("%+v", m)
	}
	b.Close()
	b = w.open(t, cfg)
	if l := b.Losses(); len(l) != 1 {
		t.Errorf("losses after another start: %+v", l)
	}
}

func TestAStoreOfAnotherLogIsRefusedWithAReason(t *testing.T) {
	w := write(t, 1, 1, 20, 150, 300)
	b := w.open(t, bus.Config{Committed: storeAt("0123456789abcdef", 2)})
	if _, err := b.Resume(t.Context(), 0, "0123456789abcdef", 2); !errors.Is(err, bus.ErrForeign) {
		t.Errorf("%v", err)
	}
	if _, err := b.Append(t.Context(), 0, []byte("x")); err != nil {
		t.Error("ingest must go on:", err)
	}
}

func TestAMessageThatWasBeingWrittenIsRemovedWithoutALoss(t *testing.T) {
	w := write(t, 1, 1, 20, 150, 300)
	killed(t, w, func(b *bus.Bus) {
		for _, payload := range w.payloads[0] {
			if _, err := b.Append(t.Context(), 0, payload); err != nil {
				t.Fatal(err)
			}
		}
	})
	w.payloads[0] = append(w.payloads[0], w.payloads[0]...)
	f, err := os.OpenFile(w.block(0, 1), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 500)
	_, _ = rand.Read(rest)
	if _, err := f.Write(rest); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if gone := w.lost(t, bus.Config{})[0]; len(gone) > 0 {
		t.Errorf("lost are %v", gone)
	}
	b := w.open(t, bus.Config{})
	if r := b.Repairs(); len(r) > 0 {
		t.Errorf("repairs: %+v", r)
	}
}

// killed uses a log and leaves its files as a killed process does.
func killed(t *testing.T, w written, use func(*bus.Bus)) {
	t.Helper()
	live := w.copied(t)
	b := live.open(t, bus.Config{})
	use(b)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.dir, os.DirFS(live.dir)); err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func TestALossIsKnownFromTheMarkThatAKilledProcessLeft(t *testing.T) {
	w := write(t, 1, 1, 20)
	killed(t, w, func(b *bus.Bus) {
		for i := range 5 {
			if _, err := b.Append(t.Context(), 0, fmt.Append(nil, "after the start ", i)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for i := range 5 {
		w.payloads[0] = append(w.payloads[0], fmt.Append(nil, "after the start ", i))
	}
	info, err := os.Stat(w.block(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(w.block(0, 1), info.Size()-1); err != nil {
		t.Fatal(err)
	}
	// The last message's record is cut, its frame is whole: nothing is lost.
	if gone := w.copied(t).lost(t, bus.Config{})[0]; len(gone) > 0 {
		t.Errorf("lost are %v", gone)
	}
	if err := os.Truncate(w.block(0, 1), info.Size()-20); err != nil {
		t.Fatal(err)
	}
	if gone := w.lost(t, bus.Config{})[0]; fmt.Sprint(gone) != "[6]" {
		t.Errorf("lost are %v, want the last one", gone)
	}
}

func TestManyFaultsAtOnceNeverRefuseOrLie(t *testing.T) {
	dice := mrand.New(mrand.NewPCG(11, uint64(cases(1))))
	var sizes []int
	for range 400 {
		sizes = append(sizes, 30+dice.IntN(300)+dice.IntN(2)*dice.IntN(3000)+dice.IntN(20)/19*800_000)
	}
	w := write(t, 1, 12, sizes...)
	for i := range cases(7) {
		d := w.copied(t)
		var did []string
		for range 1 + dice.IntN(6) {
			n := 1 + dice.IntN(2)
			if _, err := os.Stat(d.block(0, 2)); err != nil {
				n = 1
			}
			info, err := os.Stat(d.block(0, n))
			if err != nil || info.Size() < 2 {
				continue
			}
			at := dice.Int64N(info.Size())
			did = append(did, fmt.Sprint(n, ".blk at ", at))
			switch dice.IntN(8) {
			case 0:
				if err := os.Truncate(d.block(0, n), at); err != nil {
					t.Fatal(err)
				}
			case 1, 2, 3:
				f, err := os.OpenFile(d.block(0, n), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				noise := make([]byte, min(dice.Int64N(8192), info.Size()-at))
				if dice.IntN(2) == 0 {
					_, _ = rand.Read(noise)
				}
				if _, err := f.WriteAt(noise, at); err != nil {
					t.Fatal(err)
				}
				f.Close()
			default:
				flip(t, d.block(0, n), at, dice.IntN(8))
			}
		}
		meta := filepath.Dir(filepath.Dir(d.block(0, 1)))
		for _, path := range []string{filepath.Join(meta, "meta.inf"), filepath.Join(meta, "msgs", "index.db"), filepath.Join(d.dir, "guard", "identity.json")} {
			if dice.IntN(3) == 0 {
				flip(t, path, dice.Int64N(50), dice.IntN(8))
			}
		}
		t.Logf("%v: lost are %v", did, d.lost(t, bus.Config{}))
		if t.Failed() {
			t.Fatalf("case %d: %v", i, did)
		}
		os.RemoveAll(d.dir)
	}
}
