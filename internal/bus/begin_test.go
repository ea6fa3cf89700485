package bus_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/pulsestream/pulsestream/internal/bus"
)

func TestALogThatGoesOnFromAnotherTakesUpItsNumbers(t *testing.T) {
	dir := t.TempDir()
	begin := []bus.Beginning{{}, {Incarnation: "another", Seq: 1000}}
	reopen := func() *bus.Bus {
		t.Helper()
		b, err := bus.Open(t.Context(), bus.Config{Dir: dir, Partitions: 2, Begin: begin, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	b := reopen()
	incarnation, first, last, err := b.Tail(t.Context(), 1)
	if err != nil || incarnation == "another" || first != 1001 || last != 1000 {
		t.Fatalf("%q %d to %d, %v", incarnation, first, last, err)
	}
	for p, want := range []uint64{1, 1001} {
		for i := range uint64(3) {
			b.Close() // it goes on wherever it was left, even while it is empty
			begin = nil
			b = reopen()
			if seq, err := b.Append(t.Context(), p, fmt.Appendf(nil, "m%d", i)); err != nil || seq != want+i {
				t.Fatalf("partition %d, message %d has number %d, %v; want %d", p, i, seq, err, want+i)
			}
		}
		for i, m := range read(t, b, p, want-1, 3) {
			if m.Err != nil || string(m.Payload) != fmt.Sprintf("m%d", i) {
				t.Errorf("message %d: %+v", i, m)
			}
		}
	}
	if !b.Knows(1, "another", 1000) || b.Knows(1, "another", 1001) || b.Knows(0, "another", 1) || !b.Knows(1, incarnation, 1002) {
		t.Error("it does not know which numbers are its own")
	}
	if at, err := b.Resume(t.Context(), 1, incarnation, 1000); err != nil || at.After != 1000 {
		t.Errorf("%+v, %v", at, err)
	}
	if l := b.Losses(); len(l) > 0 {
		t.Errorf("losses: %+v", l)
	}
	if r := b.Repairs(); len(r) > 0 {
		t.Errorf("repairs: %+v", r)
	}
}
