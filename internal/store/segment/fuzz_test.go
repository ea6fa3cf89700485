package segment

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
)

func FuzzADirectoryIsReadOrRefused(f *testing.F) {
	raw, _ := small(f)
	dir, end := directoryOf(raw)
	f.Add(dir, end)
	f.Add([]byte{}, int64(len(magic)))
	f.Add([]byte{0}, int64(len(magic)))
	f.Add([]byte{1, 0, 0, 255, 255, 255, 255, 15}, int64(1<<40))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		if end < int64(len(magic)) { // Open looks at it
			return
		}
		all, err := readDirectory(pieces.NewDirectory(b, end))
		if err != nil {
			if !errors.Is(err, pieces.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := readDirectory(pieces.NewDirectory(appendDirectory(nil, all), end))
		if err != nil || !reflect.DeepEqual(again, all) {
			t.Fatalf("what was read and written again is something else: %v", err)
		}
		for _, e := range all {
			for _, b := range e.blocks {
				for _, p := range append(b.columns[:], e.ids) {
					if p.Off < int64(len(magic)) || p.Off+int64(p.Len) > end {
						t.Fatalf("a piece of %d bytes at %d reaches beyond %d", p.Len, p.Off, end)
					}
				}
			}
		}
	})
}

// directoryOf finds the directory of a whole segment, and where the pieces end.
func directoryOf(raw []byte) (dir []byte, end int64) {
	foot := raw[len(raw)-pieces.FooterSize:]
	at := binary.LittleEndian.Uint64(foot)
	return raw[at : at+uint64(binary.LittleEndian.Uint32(foot[8:]))], int64(at)
}

// A file that is changed is refused, or answers as before. One whose checksums were made to fit may answer anything, but does not
// crash whoever reads it.
func FuzzAChangedFileIsFoundOut(f *testing.F) {
	whole, want := small(f)
	for range 50 {
		f.Add(rand.IntN(len(whole)), byte(1+rand.IntN(255)), rand.IntN(len(whole)), byte(rand.IntN(256)), false)
	}
	f.Add(100, byte(1), 3000, byte(255), true)
	f.Add(9, byte(255), 10, byte(255), true)
	path := filepath.Join(f.TempDir(), "a.seg")
	f.Fuzz(func(t *testing.T, at int, x byte, more int, y byte, forged bool) {
		raw := append([]byte(nil), whole...)
		if at < 0 || more < 0 || at >= len(raw) || more >= len(raw) {
			return
		}
		raw[at] ^= x
		raw[more] ^= y
		if forged {
			forge(raw, whole)
		}
		s, err := opened(t, path, raw)
		if err != nil {
			if !errors.Is(err, pieces.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		got, err := everything(t, &Set{Segments: []*Segment{s}})
		if err != nil && !errors.Is(err, pieces.ErrDamaged) {
			t.Fatalf("a read: %v, want pieces.ErrDamaged", err)
		}
		if err == nil && !forged && !reflect.DeepEqual(got, want) {
			t.Fatal("a changed file gives wrong answers")
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
	})
}

// forge makes the checksums of a changed file fit, by the directory of the one it was made from.
func forge(raw, whole []byte) {
	dir, end := directoryOf(whole)
	all, err := readDirectory(pieces.NewDirectory(dir, end))
	if err != nil {
		panic(err)
	}
	again := func(p *pieces.Place) { p.CRC = pieces.Checksum(raw[p.Off : p.Off+int64(p.Len)]) }
	for _, e := range all {
		for i := range e.blocks {
			for c := range e.blocks[i].columns {
				again(&e.blocks[i].columns[c])
			}
		}
		again(&e.ids)
	}
	forged := appendDirectory(nil, all) // as long as it was: checksums have a fixed size
	copy(raw[end:], forged)
	binary.LittleEndian.PutUint32(raw[len(raw)-pieces.FooterSize+12:], pieces.Checksum(forged))
	copy(raw, magic)
	foot := len(raw) - pieces.FooterSize
	copy(raw[foot:foot+12], whole[foot:foot+12])
	copy(raw[len(raw)-len(magic):], magic)
}
