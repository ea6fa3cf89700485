package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/klauspost/compress/s2"
)

func TestAFrameGivesBackWhatWentIn(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, MaxPayload)
	for i := range noise {
		noise[i] = byte(dice.IntN(256))
	}
	for _, payload := range [][]byte{{}, []byte("x"), noise[:compressAbove], noise, bytes.Repeat([]byte(`{"type":"charge.succeeded"}`), 1000), make([]byte, MaxPayload)} {
		b := appendFrame([]byte("before"), 3, 7, 9, payload)
		f, length, err := readFrame(append(b[6:], "behind"...))
		if err != nil || length != len(b)-6 || f.partition != 3 || f.producer != 7 || f.number != 9 {
			t.Fatalf("%d bytes: %+v, length %d, %v", len(payload), f, length, err)
		}
		got, err := f.unpack(nil)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: %d came back, %v", len(payload), len(got), err)
		}
		if len(b) > 6+frameHeader+len(payload) {
			t.Errorf("%d bytes have become %d", len(payload), len(b)-6)
		}
	}
}

func TestNoDamagedFrameIsTakenForAWholeOne(t *testing.T) {
	b := appendFrame(nil, 1, 7, 9, []byte("some payload"))
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, _, err := readFrame(b); !errors.Is(err, ErrDamaged) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
			b[i] ^= 1 << bit
		}
		if _, _, err := readFrame(b[:i]); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestAFrameThatWouldGrowTooLargeIsRefused(t *testing.T) {
	bomb := s2.Encode(nil, make([]byte, 64<<20))
	lie := s2.Encode(nil, make([]byte, 1000))
	for name, f := range map[string]frame{
		"a bomb":                   {flags: flagS2, size: 64 << 20, stored: bomb},
		"a bomb that says less":    {flags: flagS2, size: 1000, stored: bomb},
		"more than it says":        {flags: flagS2, size: 999, stored: lie},
		"a length that is no such": {flags: flagS2, size: 1000, stored: bytes.Repeat([]byte{0xff}, 12)},
	} {
		g, _, err := readFrame(f.append(nil))
		if err != nil {
			t.Fatal(name, err)
		}
		if p, err := g.unpack(nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes, %v", name, len(p), err)
		}
	}
}

func TestTheOneWrongBitIsFound(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 3))
	for _, size := range []int{1, 2, 28, 1000, MaxPayload} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(dice.IntN(256))
		}
		want := crc32.Checksum(b, castagnoli())
		for range min(50, size*8) {
			bit := dice.IntN(size * 8)
			b[bit/8] ^= 1 << (bit % 8)
			if got, ok := wrongBit(b, want); !ok || got != bit {
				t.Fatalf("%d bytes: bit %d, want %d", size, got, bit)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestARecordWithTwoWrongBitsIsNotMadeUp(t *testing.T) {
	hash := newBlockHash("EVENTS_0", 1)
	f := appendFrame(nil, 0, 1, 1, []byte("some payload that matters"))
	for i := recordHeader + 8; i < recordHeader+8+len(f); i++ {
		b := hash.appendRecord(nil, 5, 6, "events.0", f)
		b[i] ^= 1
		b[recordHeader+8+frameHeader] ^= 4
		if _, ok := correct(b, hash); ok {
			t.Errorf("bits 0 of byte %d and 2 of the first one of the payload: corrected", i)
		}
	}
}

func FuzzSalvage(f *testing.F) {
	hash := newBlockHash("EVENTS_0", 1)
	var content []byte
	for seq := range uint64(4) {
		b := appendFrame(nil, 0, 1, seq+1, bytes.Repeat([]byte{byte(seq)}, 50))
		content = hash.appendRecord(content, seq+1, int64(seq), "events.0", b)
	}
	f.Add(content, uint64(0), uint64(5))
	f.Fuzz(func(t *testing.T, content []byte, after, next uint64) {
		after %= 1 << 20
		if next != 0 {
			next = after + 1 + next%(1<<10)
		}
		pieces, _ := salvage(content, hash, "events.0")
		pieces = place(pieces, after, next)
		last := after
		for _, p := range pieces {
			if p.seq <= last || (next != 0 && p.seq >= next) {
				t.Fatalf("message %d behind %d, before %d", p.seq, last, next)
			}
			last = p.seq
		}
		fresh, gaps := assemble(pieces, hash, 0, "events.0", "why", piece{seq: after, ts: 1}, next)
		missing := uint64(0)
		for _, g := range gaps {
			missing += g.to - g.from + 1
		}
		if want := next - 1 - after; next != 0 && missing < want-min(want, uint64(len(pieces))) {
			t.Fatalf("%d messages and %d missing ones, want %d", len(pieces), missing, want)
		}
		for at := 0; at < len(fresh); {
			r, err := hash.readRecord(fresh[at:])
			if err != nil {
				t.Fatal("the new block is damaged:", err)
			}
			at += len(r.raw)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(appendIndex(nil, "events.0", []block{{index: 1, first: 1, last: 9, messages: 9, bytes: 100}})[2:])
	f.Fuzz(func(_ *testing.T, b []byte) { _, _, _ = parseIndex(&cursor{b: b}) })
}

func TestTheIndexGivesBackWhatWentIn(t *testing.T) {
	blocks := []block{
		{index: 3, messages: 10, bytes: 1000, first: 5, last: 14, from: 5, firstTS: 100, lastTS: 200},
		{index: 4, messages: 2, bytes: 300, first: 15, last: 16, from: 15, firstTS: 201, lastTS: 202, checksum: [8]byte{1, 2, 3}},
	}
	b := appendIndex(nil, "events.0", blocks)
	got, last, err := parseIndex(&cursor{b: b[2:]})
	if err != nil || last != 4 || len(got) != 2 {
		t.Fatalf("%+v, %d, %v", got, last, err)
	}
	for _, want := range blocks {
		want.checksum = [8]byte{}
		if !reflect.DeepEqual(got[want.index], want) {
			t.Errorf("%+v, want %+v", got[want.index], want)
		}
	}
	if sum := binary.LittleEndian.Uint64(b[len(b)-8:]); sum != 0x030201 {
		t.Errorf("checksum of the last block: %x", sum)
	}
}
