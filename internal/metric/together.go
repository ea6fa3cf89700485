package metric

import (
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Programs are programs that look at the same events, which is done together. They never change and are safe for concurrent use.
type Programs struct {
	list    []*Program
	extract *extraction
	local   [][]uint32 // the slots of each program's paths
}

// Observed is what one of some programs makes of an event.
type Observed struct {
	series.Observation
	Program  int // its index
	from, to int // of the series' key among the document's
}

// Together makes programs look at events together. They must be about the same types of events, or the events that they are given
// of types that all of them are about.
func Together(programs []*Program) *Programs {
	p := &Programs{list: programs}
	p.extract, p.local = newExtraction(programs)
	return p
}

// Observe appends what an event adds to which series, program by program, as Program.Observe says. D is about the event from now
// on, and Key has the series until it is about another.
func (p *Programs) Observe(d *Doc, ev *event.Event, dst []Observed) []Observed {
	d.Reset(ev)
	d.keys = d.keys[:0]
	together := p.read(d)
	for i, program := range p.list {
		from := len(d.keys)
		dst = append(dst, Observed{Program: i, from: from})
		if together {
			d.local = p.local[i]
		}
		o := &dst[len(dst)-1]
		if o.At = ev.Time; !program.observe(d, &o.Observation) {
			dst = dst[:len(dst)-1]
			d.keys = d.keys[:from]
			continue
		}
		o.to = len(d.keys)
	}
	return dst
}

// Key is the key of the labels (series.Labels.Key) of what was observed. It is valid until the document is about another event.
func (d *Doc) Key(o *Observed) []byte { return d.keys[o.from:o.to] }

// read reads what the programs look at. It is false when it can't: then each looks for itself.
func (p *Programs) read(d *Doc) bool {
	n := len(p.extract.paths)
	if n == 0 || len(d.ev.Data) >= maxTape {
		return false
	}
	if cap(d.slots) < n {
		d.slots = make([]value, n, 2*n)
	}
	d.slots, d.from = d.slots[:n], p.extract
	return p.extract.run(d.ev.Data, d.slots)
}
