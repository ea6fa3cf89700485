package column

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// FuzzDecode reads bytes that nobody wrote, or that were written and changed: it may fail, but only so, and not by taking all memory.
func FuzzDecode(f *testing.F) {
	e := NewEncoder()
	for _, c := range numberCases() {
		f.Add(AppendInts(nil, numbersOf(100, c.of)), 100)
	}
	for _, c := range textCases() {
		values, _ := textsOf(100, c.of)
		f.Add(e.AppendTexts(nil, values), 100)
	}
	f.Fuzz(func(t *testing.T, src []byte, n int) {
		if n > 1<<14 {
			return
		}
		values, err := DecodeInts(nil, src, n)
		if err == nil && len(values) != n || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d numbers, want %d: %v", len(values), n, err)
		}
		var texts Texts
		if err := NewDecoder().Texts(&texts, src, n); err != nil {
			if !errors.Is(err, ErrCorrupt) || texts.Len() != 0 {
				t.Fatal(err)
			}
			return
		}
		if texts.Len() != n {
			t.Fatalf("%d texts, want %d", texts.Len(), n)
		}
		for i := range n {
			texts.At(i)
		}
		for code := range texts.DictLen() {
			texts.DictAt(uint32(code))
		}
	})
}

func FuzzIntsReadBack(f *testing.F) {
	for _, c := range numberCases() {
		var b []byte
		for _, v := range numbersOf(64, c.of) {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
		f.Add(b, uint8(0), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, shift, times uint8) {
		var values []int64
		for ; len(b) >= 8; b = b[8:] {
			values = append(values, int64(binary.LittleEndian.Uint64(b))>>(shift&63))
		}
		values = slices.Repeat(values, int(times&15))
		got, err := DecodeInts(nil, AppendInts(nil, values), len(values))
		if err != nil || !slices.Equal(got, values) {
			t.Fatalf("%v became %v, %v", values, got, err)
		}
	})
}

// FuzzTextsReadBack writes the lines of b, of which those that are a single dot are nil.
func FuzzTextsReadBack(f *testing.F) {
	for _, c := range textCases() {
		_, all := textsOf(64, c.of)
		f.Add(bytes.Join(all, []byte("\n")), uint8(2))
	}
	f.Add([]byte("-0\n0\n0.0\n-1.5\n00\n-\n.5\n5.\n999999999999999999\n1000000000000000000\n.\n\n"), uint8(1))
	e, d := NewEncoder(), NewDecoder()
	f.Fuzz(func(t *testing.T, b []byte, times uint8) {
		lines := slices.Repeat(bytes.Split(b, []byte("\n")), int(times&15))
		var texts, got Texts
		for i, line := range lines {
			if string(line) == "." {
				line, lines[i] = nil, nil
			}
			texts.Append(line)
		}
		if err := d.Texts(&got, e.AppendTexts(nil, &texts), len(lines)); err != nil {
			t.Fatal(err)
		}
		if err := sameTexts(&got, lines); err != nil {
			t.Fatal(err)
		}
	})
}
