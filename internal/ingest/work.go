package ingest

import (
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonevents"
)

// work is the memory of one request: its body, and the events, which are views of it. It is used again for another one when the request was
// answered.
type work struct {
	body   []byte
	batch  Batch
	parser event.Parser
	json   jsonevents.Reader
}

// Bounds of the memory that waits for another request. What is larger is left to the garbage collector.
const (
	keepBody   = 1 << 20
	keepEvents = 4096
)

func (d *Door) work() *work {
	w, ok := d.free.Get().(*work)
	if !ok {
		w = &work{}
		w.json.Parser = &w.parser
	}
	return w
}

// giveBack says that nothing of a request is used any more.
func (d *Door) giveBack(w *work) {
	if cap(w.body) > keepBody || cap(w.batch.Events) > keepEvents {
		return
	}
	w.batch.reset("", w.batch.now, 0)
	w.parser.Reset()
	d.free.Put(w)
}
