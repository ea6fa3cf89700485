package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// numbered is a payload that says its number, and cannot be compressed.
func numbered(seq uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	binary.BigEndian.PutUint64(b, seq)
	return b
}

func TestAReaderFindsItsPlaceInAnyBlockAndGoesOnThroughTheOthers(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const messages, size = 60, 600_000 // four blocks and more
	for seq := range uint64(messages) {
		if _, err := b.Append(t.Context(), 0, numbered(seq+1, size)); err != nil {
			t.Fatal(err)
		}
	}
	numbers, err := blockNumbers(streamDir(b.cfg.Dir, 0) + "/msgs")
	if err != nil || len(numbers) < 4 {
		t.Fatalf("the blocks are %v, %v", numbers, err)
	}
	for after := uint64(0); after <= messages; after += 7 {
		r, err := b.Read(t.Context(), 0, after)
		if err != nil {
			t.Fatal(err)
		}
		for seq := after + 1; seq <= messages; seq++ {
			m := next(t, r)
			if m.Err != nil || m.Seq != seq || m.Pending != messages-seq || len(m.Payload) != size || binary.BigEndian.Uint64(m.Payload) != seq {
				t.Fatalf("behind %d: message %d of %d bytes with %d behind it, %v; want %d", after, m.Seq, len(m.Payload), m.Pending, m.Err, seq)
			}
			r.Recycle(m.Payload)
		}
		if pulls(r) {
			t.Errorf("behind %d: it was read through JetStream", after)
		}
		r.Close()
	}
	// Of the next block only the beginning of a record is there so far.
	f := follower{dir: streamDir(b.cfg.Dir, 0) + "/msgs"}
	defer f.close()
	if err := os.WriteFile(filepath.Join(f.dir, fmt.Sprint(numbers[len(numbers)-1]+1)+blockSuffix), make([]byte, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{messages, 1, messages - 3, messages / 2} {
		f.close()
		if s, err := f.next(seq); err != nil || s.seq != seq {
			t.Errorf("message %d is %d, %v", seq, s.seq, err)
		}
	}
}

func TestAPayloadIsNotWrittenToWhileItIsUsed(t *testing.T) {
	b, err := Open(t.Context(), Config{Dir: t.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var kept []Message
	for seq := range uint64(100) { // small and large, compressed or not, each read as soon as it is there
		payload := numbered(seq+1, 100+int(seq%3)*20_000)
		if seq%2 == 0 {
			clear(payload[8:])
		}
		if _, err := b.Append(t.Context(), 0, payload); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, next(t, r))
	}
	for i, m := range kept {
		if binary.BigEndian.Uint64(m.Payload) != uint64(i+1) || len(m.Payload) != 100+i%3*20_000 {
			t.Errorf("message %d became %d with %d bytes", i+1, binary.BigEndian.Uint64(m.Payload), len(m.Payload))
		}
	}
}

func next(t *testing.T, r *Reader) Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case m, ok := <-r.Messages():
		if !ok {
			t.Fatal(r.Err())
		}
		return m
	case <-ctx.Done():
		t.Fatal("no message has come")
	}
	return Message{}
}
