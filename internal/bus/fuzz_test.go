package bus

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzFrame: what is read as a frame is one, to the last bit, and no payload is larger than a log message may be.
func FuzzFrame(f *testing.F) {
	whole := appendFrame(nil, 3, 7, 9, bytes.Repeat([]byte("payload "), 100))
	f.Add(whole)
	f.Add(lostFrame(1, 5, 9, "why"))
	f.Add(append([]byte("PSL2PSL2"), whole...))
	f.Fuzz(func(t *testing.T, b []byte) {
		at, fr, length, ok := findFrame(b)
		if !ok {
			return
		}
		if at < 0 || length < frameHeader || at+length > len(b) {
			t.Fatalf("a frame of %d bytes at %d in %d", length, at, len(b))
		}
		if reserved := b[at+17]; reserved == 0 && !bytes.Equal(fr.append(nil), b[at:at+length]) {
			t.Fatalf("%x is read as %+v, which is written %x", b[at:at+length], fr, fr.append(nil))
		}
		if payload, err := fr.unpack(nil); err == nil && (len(payload) > MaxPayload || len(payload) != fr.size && fr.flags&flagS2 != 0) {
			t.Fatalf("a payload of %d bytes, said were %d", len(payload), fr.size)
		}
		if from, to, _, ok := fr.lost(); ok && fr.flags&flagLost == 0 {
			t.Fatalf("a frame that is none stands for %d to %d", from, to)
		}
	})
}

// FuzzMark: of two slots that were written, damage to one never gives anything but the other, and damage to both never a position that nobody wrote.
func FuzzMark(f *testing.F) {
	f.Add(uint64(9), uint64(4), uint16(70), byte(1), uint16(3), byte(0x80), uint8(128))
	f.Add(uint64(9), uint64(4), uint16(0), byte(0), uint16(0), byte(0), uint8(64))
	f.Fuzz(func(t *testing.T, last, number uint64, place uint16, flip byte, other uint16, flop byte, size uint8) {
		path := filepath.Join(t.TempDir(), "mark")
		if last == 0 || last > 1<<62 {
			return
		}
		m, err := openMark(path, 1, position{incarnation: "before", first: 1, last: last})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.acknowledged(last+1, number); err != nil {
			t.Fatal(err)
		}
		if err := m.file.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[int(place)%len(b)] ^= flip
		b[int(other)%len(b)] ^= flop
		b = b[:min(len(b), int(size))]
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		at, _, damaged, err := readMark(path)
		if err != nil {
			t.Fatal(err)
		}
		older, newer := position{incarnation: "before", first: 1, last: last}, position{incarnation: "before", first: 1, last: last + 1, number: number}
		if at != older && at != newer && at != (position{}) {
			t.Fatalf("a position that nobody wrote: %+v", at)
		}
		if at != newer && !damaged {
			t.Fatalf("%+v, and nothing is said of damage", at)
		}
	})
}

// FuzzFindings: a file of the guard that is not what was written is taken for damaged, or says what was written all the same.
func FuzzFindings(f *testing.F) {
	f.Add(uint16(10), byte(1), uint16(400))
	f.Add(uint16(0), byte(0x20), uint16(0))
	want := findings{Losses: []Loss{{Partition: 1, Incarnation: "abc", FromSeq: 2, ToSeq: 5, Reason: "é \"why\""}}, Repairs: []Repair{{File: "x"}}}
	f.Fuzz(func(t *testing.T, place uint16, flip byte, cut uint16) {
		path := filepath.Join(t.TempDir(), "losses.json")
		if err := saveTwice(path, want); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[int(place)%len(b)] ^= flip
		if cut > 0 {
			b = b[:min(len(b), int(cut))]
		}
		for i, name := range []string{path, path + ".copy"} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			var got findings
			ok, damaged, err := loadTwice(path, &got)
			if err != nil || i == 0 && !ok {
				t.Fatalf("with %d damaged files: %v, %v", i+1, ok, err)
			}
			if x, y := mustJSON(t, got), mustJSON(t, want); ok && x != y {
				t.Fatalf("%s is read as %s", b, x)
			}
			if !ok && len(damaged) != 2 {
				t.Fatalf("nothing could be read, damaged is %v", damaged)
			}
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
