//go:build !race

// With the race detector a pool forgets some of what it is given, on purpose.

package api

import (
	"io"
	"runtime"
	"testing"
)

func TestAnAnswerIsWrittenInMemoryOfTheOneBefore(t *testing.T) {
	format, answer := jsonFormat(), any(*longAnswer()) // as handlers give it
	var before, after runtime.MemStats
	const answers = 100
	for n := range answers + 1 {
		if n == 1 {
			runtime.ReadMemStats(&before)
		}
		if err := format.Marshal(io.Discard, answer); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / answers; n > 16<<10 { // it has a hundred
		t.Errorf("an answer asks for %d bytes", n)
	}
}
