package event_test

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
)

// The guards on allocations are exact, so they don't depend on how busy the machine is.

func TestAllocationsOfParsingABatch(t *testing.T) {
	lines := corpus(benchBatch)
	var p event.Parser
	if n := testing.AllocsPerRun(10, func() {
		p.Reset()
		for _, line := range lines {
			if _, problem := p.Parse(line, false); problem != nil {
				t.Fatal(problem)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d events", n, len(lines))
	}
}

func TestAllocationsOfEncodingABatch(t *testing.T) {
	events := parsed(benchBatch)
	var buf []byte
	if n := testing.AllocsPerRun(10, func() {
		buf = event.BeginBatch(buf[:0])
		for i := range events {
			buf = event.AppendEvent(buf, "default", &events[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
}

func TestAllocationsOfDecodingABatch(t *testing.T) {
	events := parsed(benchBatch)
	buf := event.BeginBatch(nil)
	for i := range events {
		buf = event.AppendEvent(buf, "default", &events[i])
	}
	var d event.Decoder
	count := 0
	each := func(event.Stored) error { count++; return nil }
	if n := testing.AllocsPerRun(10, func() {
		if err := d.Decode(buf, each); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
	if count != 11*benchBatch {
		t.Errorf("%d events", count)
	}
}
