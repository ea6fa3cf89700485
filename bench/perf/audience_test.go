//go:build linux

package perf

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unmasked is a text frame as a server sends it.
func unmasked(payload string) []byte {
	b := masked(opText, []byte(payload))
	b[1] &^= 0x80
	return slices.Delete(b, len(b)-len(payload)-4, len(b)-len(payload))
}

func TestAClientNotesEachUpdateOnceHoweverItsFramesArrive(t *testing.T) {
	long := strings.Repeat("[1763798400000,1],", 20) // more than fits the short header
	stream := slices.Concat(
		unmasked(`{"id":"a","op":"points","series":[{"labels":{},"points":[[1763798400000,null],[1763798401000,1]]}]}`),
		unmasked(`{"id":"a","op":"points","series":[{"labels":{},"points":[`+long+`[1763798402000,2]]},{"labels":{"x":"y"},"points":[[1763798402000,3]]}]}`),
		unmasked(`{"id":"a","op":"lagged","dropped":2}`))
	for _, piece := range []int{1, 3, 100, len(stream)} {
		a := &audience{rest: make([][]byte, 2), seen: map[int][]time.Time{}}
		for n := range 4 {
			a.expect(n + 1)
		}
		var arrived time.Time
		for b := range slices.Chunk(bytes.Clone(stream), piece) {
			arrived = arrived.Add(time.Second)
			if err := a.take(1, b, arrived); err != nil {
				t.Fatal(err)
			}
		}
		for n, want := range map[int]bool{1: true, 2: true, 3: true, 4: false} {
			if got := a.seen[n]; !got[0].IsZero() || got[1].IsZero() == want {
				t.Errorf("in pieces of %d: update %d was seen at %v, want %v", piece, n, got, want)
			}
		}
		if frames, lagged := a.counts(); frames != 2 || lagged != 1 || a.rest[1] != nil {
			t.Errorf("in pieces of %d: %d frames with points and %d others, %q is left", piece, frames, lagged, a.rest[1])
		}
	}
	if err := (&audience{rest: make([][]byte, 1)}).take(0, unmasked(`{"id":"a","op":"error","code":"x"}`), time.Time{}); err == nil {
		t.Error("an error that the server tells is none")
	}
}

func TestBareMessagesAllArriveAndCostSomething(t *testing.T) {
	m, err := bareTCP(t.Context(), 50, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m.connections != 50 || m.write < 0 || m.read < 0 || m.write+m.read <= 0 || m.burst <= 0 { // processor time comes in steps, and one of them may be nothing
		t.Errorf("%+v", m)
	}
}

func TestAConnectionThatIsClosedRightBehindItsLastMessageIsMissed(t *testing.T) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := ends[0], ends[1]
	if _, err := syscall.Write(theirs, []byte("the last")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(theirs); err != nil {
		t.Fatal(err)
	}
	var got []byte
	r, err := newReader([]int{ours}, func(_ int, b []byte, _ time.Time) error { got = append(got, b...); return nil })
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.stopped:
	case <-time.After(10 * time.Second):
		t.Error("it waits for more")
	}
	if err := r.close(); !errors.Is(err, errClosed) || string(got) != "the last" {
		t.Errorf("%q was read, and then %v", got, err)
	}
}
