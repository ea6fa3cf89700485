package bus_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
)

// written is a log that was closed, and what must be in it.
type written struct {
	dir         string
	payloads    [][][]byte // by partition; the message with number n is at n-1
	incarnation []string
}

// fastDir is a temporary folder in memory, where the machine has one: what is tested with it is not whether syncs reach a disk.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bus")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// write makes a log with messages of the sizes given, on each partition.
func write(t *testing.T, partitions int, seed uint64, sizes ...int) written {
	t.Helper()
	dice := rand.NewChaCha8([32]byte{byte(seed)})
	w := written{dir: filepath.Join(fastDir(t), "log")}
	b := open(t, w.dir, partitions)
	for p := range partitions {
		var list [][]byte
		for i, size := range sizes {
			payload := fmt.Appendf(nil, "message %d of partition %d: ", i+1, p)
			if n := size - len(payload); n > 0 {
				noise := make([]byte, n)
				_, _ = dice.Read(noise)
				payload = append(payload, noise...)
			}
			if i%3 == 0 { // one that compresses
				unit := payload[:min(len(payload), 100)]
				payload = bytes.Repeat(unit, 1+size/len(unit))
			}
			if seq, err := b.Append(t.Context(), p, payload); err != nil || seq != uint64(i+1) {
				t.Fatalf("append: seq %d, %v", seq, err)
			}
			list = append(list, bytes.Clone(payload))
		}
		w.payloads = append(w.payloads, list)
		incarnation, _, _, err := b.Tail(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		w.incarnation = append(w.incarnation, incarnation)
	}
	b.Close()
	return w
}

// copied is the same log in another folder, to be damaged.
func (w written) copied(t *testing.T) written {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(w.dir), "damaged")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	w.dir, w.payloads = dir, slices.Clone(w.payloads)
	return w
}

func (w written) files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w written) block(p, n int) string {
	return filepath.Join(w.dir, "jetstream", "$G", "streams", fmt.Sprintf("EVENTS_%d", p), "msgs", fmt.Sprintf("%d.blk", n))
}

// lost opens the log and checks that every message is there under its number, or is named as lost; that the numbers go on behind the last
// one; and that all of it is still so at the next start. It returns what is lost, by partition.
func (w written) lost(t *testing.T, cfg bus.Config) [][]uint64 {
	t.Helper()
	var out [][]uint64
	for round := range 2 {
		b := w.open(t, cfg)
		for p, payloads := range w.payloads {
			gone := w.check(t, b, p, payloads)
			if round == 0 {
				out = append(out, gone)
			} else if fmt.Sprint(gone) != fmt.Sprint(out[p]) {
				t.Errorf("lost are %v, at the next start %v", out[p], gone)
			}
			seq, err := b.Append(t.Context(), p, []byte("more"))
			if want := uint64(len(payloads) + 1); err != nil || seq != want {
				t.Errorf("the next message of partition %d has number %d, %v; want %d", p, seq, err, want)
			}
			w.payloads[p] = append(payloads[:len(payloads):len(payloads)], []byte("more"))
		}
		b.Close()
	}
	return out
}

func (w written) open(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	cfg.Dir, cfg.Partitions = w.dir, 1
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal("the log refuses to open:", err)
	}
	t.Cleanup(b.Close)
	return b
}

func (w written) check(t *testing.T, b *bus.Bus, p int, payloads [][]byte) (gone []uint64) {
	t.Helper()
	if b.Partitions() != len(w.payloads) {
		t.Fatalf("the log has %d partitions, want %d", b.Partitions(), len(w.payloads))
	}
	named := map[uint64]bool{}
	for _, l := range b.Losses() {
		if l.Partition == p {
			for seq := l.FromSeq; seq <= l.ToSeq; seq++ {
				named[seq] = true
			}
		}
	}
	at, err := b.Resume(t.Context(), p, w.incarnation[p], 0)
	for deadline := time.After(20 * time.Second); err != nil; { // it may be starting again to mend what the scrub has found
		select {
		case <-deadline:
			t.Fatal("resume:", err)
		case <-time.After(10 * time.Millisecond):
		}
		at, err = b.Resume(t.Context(), p, w.incarnation[p], 0)
	}
	if at.Last != uint64(len(payloads)) {
		t.Fatalf("partition %d ends with %d, want %d", p, at.Last, len(payloads))
	}
	if changed := at.Incarnation != w.incarnation[p]; changed != (len(named) > 0) {
		t.Errorf("incarnation changed: %v, named as lost: %v", changed, named)
	}
	have := map[uint64]bool{}
	if at.After < at.Last {
		for _, m := range readUpTo(t, b, p, at.After, at.Last) {
			if m.Err != nil {
				if !errors.Is(m.Err, bus.ErrLost) {
					t.Errorf("message %d: %v", m.Seq, m.Err)
				}
				continue
			}
			have[m.Seq] = true
			if !bytes.Equal(m.Payload, payloads[m.Seq-1]) {
				t.Errorf("message %d is not what was written", m.Seq)
			}
		}
	}
	for i := range payloads {
		seq := uint64(i + 1)
		if have[seq] == named[seq] {
			t.Errorf("message %d of partition %d: there %v, named as lost %v", seq, p, have[seq], named[seq])
		}
		if !have[seq] {
			gone = append(gone, seq)
		}
	}
	return gone
}

// readUpTo reads what stands behind after, up to last.
func readUpTo(t *testing.T, b *bus.Bus, p int, after, last uint64) (out []bus.Message) {
	t.Helper()
	for { // a log that finds damage while it is read is started anew
		r, err := b.Read(t.Context(), p, after)
		for err == nil && after < last {
			select {
			case m, ok := <-r.Messages():
				if !ok {
					err = r.Err()
					break
				}
				out, after = append(out, m), m.Seq
			case <-time.After(20 * time.Second):
				t.Fatalf("nothing came behind %d", after)
			}
		}
		if r != nil {
			r.Close()
		}
		if err == nil {
			return out
		}
		if !errors.Is(err, bus.ErrUnavailable) {
			t.Fatal("read:", err)
		}
		until(t, "the log is well again", func() bool { return b.Healthy() == nil })
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("not within 30 seconds: " + what)
		case <-tick.C:
		}
	}
}

func flip(t *testing.T, path string, at int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// cases is how many cases to try: fewer with -short, PULSESTREAM_TEST_TIMES as many for a night.
func cases(n int) int {
	if times, err := strconv.Atoi(os.Getenv("PULSESTREAM_TEST_TIMES")); err == nil {
		return n * times
	}
	if testing.Short() {
		return n / 7
	}
	return n
}

func TestAFlippedBitInAnyFileLosesNothing(t *testing.T) {
	sizes := []int{20, 150, 300, 5000, 40, 900, 20000, 64, 64, 64, 300_000, 77, 1200, 30}
	w := write(t, 2, 1, sizes...)
	dice := rand.New(rand.NewPCG(2, uint64(cases(1))))
	files := w.files(t)
	for i := range cases(140) {
		d := w.copied(t)
		path := filepath.Join(d.dir, strings.TrimPrefix(files[i%len(files)], w.dir))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		at, bit := dice.Int64N(info.Size()), dice.IntN(8)
		if i%4 == 1 { // the small messages, or nearly all hits go into the large one
			at = dice.Int64N(min(info.Size(), 7500))
		}
		flip(t, path, at, bit)
		for p, gone := range d.lost(t, bus.Config{}) {
			if len(gone) > 0 {
				t.Errorf("bit %d of byte %d of %s: lost are %v of partition %d", bit, at, filepath.Base(path), gone, p)
			}
		}
		if t.Failed() {
			t.Fatalf("case %d: bit %d of byte %d of %s", i, bit, at, path)
		}
		os.RemoveAll(d.dir)
	}
}

func TestACutFileLosesOnlyWhatWasCutOff(t *testing.T) {
	w := write(t, 2, 3, 20, 150, 300, 5000, 40, 900, 20000, 64, 64, 64, 300_000, 77, 1200, 30)
	dice := rand.New(rand.NewPCG(4, uint64(cases(1))))
	files := w.files(t)
	for i := range cases(70) {
		d := w.copied(t)
		path := filepath.Join(d.dir, strings.TrimPrefix(files[i%len(files)], w.dir))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size := dice.Int64N(info.Size())
		if i%5 == 0 {
			size = 0
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, gone := range d.lost(t, bus.Config{}) {
			for k := 1; k < len(gone); k++ {
				if gone[k] != gone[k-1]+1 {
					t.Errorf("lost are %v: not one stretch", gone)
				}
			}
			total += len(gone)
		}
		if isBlock := strings.HasSuffix(path, ".blk"); isBlock != (total > 0) {
			t.Errorf("%s was cut to %d of %d bytes: %d messages are lost", filepath.Base(path), size, info.Size(), total)
		}
		if t.Failed() {
			t.Fatalf("case %d: %s cut to %d of %d bytes", i, path, size, info.Size())
		}
		os.RemoveAll(d.dir)
	}
}
