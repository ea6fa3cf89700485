//go:build !race

// With the race detector a pool forgets some of what it is given, on purpose.

package api

import (
	"io"
	"testing"
)

func TestAnAnswerIsWrittenInMemoryOfTheOneBefore(t *testing.T) {
	format, answer := jsonFormat(), any(*longAnswer()) // as handlers give it
	if n := testing.AllocsPerRun(100, func() {
		if err := format.Marshal(io.Discard, answer); err != nil {
			t.Fatal(err)
		}
	}); n > 5 { // its labels in order, and texts that have to be escaped
		t.Errorf("%v allocations for an answer", n)
	}
}
