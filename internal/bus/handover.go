package bus

import "sync"

// handover passes messages on to who follows the log, as they are appended: what was just in memory need not be read back and unpacked. A message is
// handed over once it is on disk, as one that is read is. What there is no room for is read from the files.
type handover struct {
	mu   sync.Mutex
	to   *Reader
	held []handed // by number
}

type handed struct {
	life    *life
	seq     uint64
	number  uint64 // of the producer
	payload []byte
}

const (
	// handoverMost is how many messages wait to be taken at most. What a reader that is far behind has not come to yet is read when it has.
	handoverMost = 8
	// lostSight is after how many messages handed over the place in the files is looked for anew.
	lostSight = 64
)

// serve hands over to a reader, unless there is another one already.
func (h *handover) serve(r *Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to == nil {
		h.to = r
	}
}

// leave ends it.
func (h *handover) leave(r *Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to == r {
		h.to, h.held = nil, nil
	}
}

// room gives the reader, if there is one and it has room for another message.
func (h *handover) room() *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) >= handoverMost {
		return nil
	}
	return h.to
}

// offer hands over a copy of a message. Only who has the turn to append does so.
func (h *handover) offer(l *life, seq, number uint64, payload []byte) {
	r := h.room()
	if r == nil {
		return
	}
	m := handed{l, seq, number, append(r.memory()[:0], payload...)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to == r {
		h.held = append(h.held, m)
	}
}

// take gives the reader the message with a number, if it was handed over in this life. Those before it are forgotten.
func (h *handover) take(r *Reader, l *life, seq uint64) (handed, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to != r {
		return handed{}, false
	}
	n := 0
	for n < len(h.held) && (h.held[n].seq < seq || h.held[n].life != l) {
		r.Recycle(h.held[n].payload)
		n++
	}
	var m handed
	found := n < len(h.held) && h.held[n].seq == seq
	if found {
		m = h.held[n]
		n++
	}
	kept := copy(h.held, h.held[n:])
	clear(h.held[kept:])
	h.held = h.held[:kept]
	return m, found
}
