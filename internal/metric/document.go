package metric

import (
	"time"

	"cel.dev/cel-go/cel"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Doc is one event prepared for evaluation. Its data is indexed, and for expressions that need CEL itself decoded, at most
// once and only when a program asks, whatever number of programs look at it. The zero value is ready for Reset; keep one
// for each goroutine and reuse it, for its memory and for the labels that it remembers.
type Doc struct {
	ev *event.Event
	// data and ext index the event's data and extension attributes once they are asked for.
	data, ext           tape
	dataState, extState tapeState
	// decoded and whole are the variables data and event for CEL.
	decoded   any
	isDecoded bool
	whole     map[string]any
	scratch   []byte
	// slots are the values of the paths that the programs in hand look at, when they do so together, and local the places of one
	// program's among them; see extraction.
	slots []value
	local []uint32
	// from is where slots are from.
	from *extraction
	// keys are those of the series of the observations in hand, one behind the other.
	keys   []byte
	labels map[string]series.Labels
}

type tapeState uint8

const (
	notBuilt tapeState = iota
	present
	absent
)

// Reset makes d about ev. The bytes of ev must not change until the next Reset.
func (d *Doc) Reset(ev *event.Event) {
	d.ev, d.dataState, d.extState = ev, notBuilt, notBuilt
	d.decoded, d.isDecoded, d.whole, d.local = nil, false, nil, nil
}

// read is the value of a program's path into the data.
func (d *Doc) read(n int, steps []step) value {
	if d.local != nil {
		v := d.slots[d.local[n]]
		if v.kind >= kindUnread {
			v = d.reread(v, d.local[n])
		}
		return v
	}
	if !d.hasData() {
		return failed()
	}
	return d.follow(false, steps)
}

// reread is the value of a slot that was left as it stands in the text.
func (d *Doc) reread(v value, slot uint32) value {
	if v.kind == kindUnread {
		at := len(d.scratch)
		d.scratch = unescape(d.scratch, v.text)
		return text(d.scratch[at:])
	}
	if !d.hasData() {
		return failed()
	}
	return d.follow(false, d.from.paths[slot])
}

// build indexes raw if it holds a value. What is no JSON counts as nothing at all.
func build(t *tape, state *tapeState, raw []byte) bool {
	if *state == notBuilt {
		*state = absent
		if len(raw) > 0 && t.build(raw) {
			*state = present
		}
	}
	return *state == present
}

func (d *Doc) hasData() bool { return build(&d.data, &d.dataState, d.ev.Data) }

func (d *Doc) hasExt() bool { return build(&d.ext, &d.extState, d.ev.Extensions) }

func (d *Doc) tape(ext bool) *tape {
	if ext {
		return &d.ext
	}
	return &d.data
}

// at is the value of a node.
func (d *Doc) at(ext bool, i uint32) value {
	t := d.tape(ext)
	n := &t.nodes[i]
	switch t.raw[n.start] {
	case '{':
		return value{kind: kindMap, bits: uint64(i), ext: ext}
	case '[':
		return value{kind: kindList, bits: uint64(i), ext: ext}
	case '"':
		return text(t.text(n, &d.scratch))
	case 't':
		return boolean(true)
	case 'f':
		return boolean(false)
	case 'n':
		return value{kind: kindNull}
	}
	return double(t.number(n))
}

// copied is a string value; it copies into the scratch space, which costs less than an allocation.
func (d *Doc) copied(s string) value {
	at := len(d.scratch)
	d.scratch = append(d.scratch, s...)
	return text(d.scratch[at:])
}

// root is the variable data: null when the event has none.
func (d *Doc) root() value {
	if !d.hasData() {
		return value{kind: kindNull}
	}
	return d.at(false, 0)
}

// variables are the document's variables for CEL.
type variables struct{ d *Doc }

var _ cel.Activation = variables{}

// Parent is part of cel.Activation.
func (variables) Parent() cel.Activation { return nil }

// ResolveName is part of cel.Activation.
func (v variables) ResolveName(name string) (any, bool) {
	switch name {
	case "data":
		return v.d.decodedData(), true
	case "event":
		return v.d.wholeEvent(), true
	case "id":
		return v.d.ev.ID, true
	case "source":
		return v.d.ev.Source, true
	case "type":
		return v.d.ev.Type, true
	case "subject":
		return v.d.ev.Subject, true
	case "time":
		return v.d.ev.Time.UTC(), true
	}
	return nil, false
}

func (d *Doc) decodedData() any {
	if !d.isDecoded {
		d.isDecoded = true
		if d.hasData() {
			d.decoded = d.data.decode(0)
		}
	}
	return d.decoded
}

// wholeEvent is the variable event: the attributes that the event has, its extension attributes and its data.
func (d *Doc) wholeEvent() map[string]any {
	if d.whole != nil {
		return d.whole
	}
	m := map[string]any{}
	if d.hasExt() {
		if ext, ok := d.ext.decode(0).(map[string]any); ok {
			m = ext
		}
	}
	for _, name := range attributes() {
		delete(m, name)
	}
	ev := d.ev
	m["id"], m["source"], m["type"], m["time"] = ev.ID, ev.Source, ev.Type, ev.Time.UTC()
	if ev.Subject != "" {
		m["subject"] = ev.Subject
	}
	if d.hasData() {
		m["data"] = d.decodedData()
	}
	if !ev.Received.IsZero() {
		m["received_at"] = ev.Received.UTC()
	}
	d.whole = m
	return m
}

// attributes are the members of the variable event that are not extension attributes.
func attributes() [7]string {
	return [...]string{"id", "source", "type", "subject", "time", "data", "received_at"}
}

// seconds is a duration as a number.
func seconds(d time.Duration) value {
	v := double(d.Seconds())
	v.kind = kindSeconds
	return v
}
