package ingest_test

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/ingest"
)

func TestPressureRefusesWhatWouldTakeTooLongToDrain(t *testing.T) {
	const mb, gb = 1 << 20, 1 << 30
	roomy := func(backlog uint64, rate float64) ingest.Load {
		return ingest.Load{Backlog: backlog, Rate: rate, Free: 50 * gb, Size: 100 * gb}
	}
	for _, c := range []struct {
		name  string
		loads []ingest.Load
		open  bool
	}{
		{"nothing waits", []ingest.Load{roomy(0, 0)}, true},
		{"a little waits for workers that stand", []ingest.Load{roomy(0, 0), roomy(30*mb, 0)}, true},
		{"much waits for workers that stand", []ingest.Load{roomy(0, 0), roomy(70*mb, 0)}, false},
		{"much waits for fast workers", []ingest.Load{roomy(0, 0), roomy(400*mb, 100*mb)}, true},
		{"too much waits for fast workers", []ingest.Load{roomy(0, 0), roomy(1100*mb, 100*mb)}, false},
		{"it opens when the backlog shrinks", []ingest.Load{roomy(0, 0), roomy(1100*mb, 100*mb), roomy(100*mb, 100*mb)}, true},
		{"a backlog from before does not count", []ingest.Load{roomy(10*gb, 10*mb)}, true},
		{"what is added to it does", []ingest.Load{roomy(10*gb, 10*mb), roomy(10*gb+110*mb, 10*mb)}, false},
		{"when it shrinks, what is added counts from there", []ingest.Load{roomy(10*gb, 10*mb), roomy(5*gb, 10*mb), roomy(5*gb+110*mb, 10*mb)}, false},
		{"a backlog of another store does not count either", []ingest.Load{roomy(0, 0), {}, roomy(10*gb, 10*mb)}, true},
		{"a disk with a twentieth free", []ingest.Load{{Free: 6 * mb, Size: 100 * mb}}, true},
		{"a disk with less", []ingest.Load{{Free: 4 * mb, Size: 100 * mb}}, false},
		{"a little more is not enough to open again", []ingest.Load{{Free: 4 * mb, Size: 100 * mb}, {Free: 6 * mb, Size: 100 * mb}}, false},
		{"half as much again is", []ingest.Load{{Free: 4 * mb, Size: 100 * mb}, {Free: 8 * mb, Size: 100 * mb}}, true},
		{"a huge disk needs a gigabyte only", []ingest.Load{{Free: 2 * gb, Size: 4000 * gb}}, true},
	} {
		var p ingest.Pressure
		for _, l := range c.loads {
			if l == (ingest.Load{}) {
				p.Restart()
				continue
			}
			p.Update(l)
		}
		if got := p.Err() == nil; got != c.open {
			t.Errorf("%s: open %v, want %v (%v)", c.name, got, c.open, p.Err())
		}
	}
}
