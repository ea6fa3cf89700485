package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Message is one message of the log. Payload is nil when Err says that the message is damaged, or stands for lost ones; it belongs to whoever
// has got the message, and is not written to again unless they give it to Recycle.
type Message struct {
	Seq      uint64
	Producer uint64
	Number   uint64
	Payload  []byte
	// Pending is how many messages stood behind this one when it was read.
	Pending uint64
	Err     error
}

// Reader reads a partition in order.
type Reader struct {
	from    source
	spare   chan []byte // memory of payloads that are used no more
	next    uint64
	fetched chan Message
	ctx     context.Context // ends with what it reads from, or with Close
	end     context.CancelFunc
	closed  atomic.Bool
	err     error
}

// source is where a reader has its messages from.
type source interface {
	// take gets the message that is next.
	take(r *Reader) (Message, error)
	// why says in words what the reader ends with.
	why(err error) error
	// close is called once, behind the last take.
	close(r *Reader)
}

// local is the embedded log as a source.
type local struct {
	bus   *Bus
	life  *life
	part  *partition
	files follower
	news  chan struct{} // holds a token when something was appended
	given int           // messages in a row that were handed over
	from  *puller       // nil as long as the files show all
}

// readAhead is how many messages a reader asks JetStream for at a time. With messages of at most 1 MiB, this, or what is handed over and spare, bounds the memory.
const readAhead = 16

// spares is how much memory is kept for other messages.
const spares = 8

// ErrGap is returned when the log no longer holds the message that should come next.
var ErrGap = errors.New("messages are missing from the log")

// Read starts reading a partition behind sequence number after. The reader ends with an error when the log has to be started anew; another one
// can be opened as soon as Healthy says nothing.
func (b *Bus) Read(ctx context.Context, p int, after uint64) (*Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := b.current()
	if err != nil {
		return nil, err
	}
	part := b.parts[p]
	if err := b.ahead(l, part, after+1); err != nil {
		return nil, fmt.Errorf("read partition %d of the log: %w", p, err)
	}
	return newReader(l.ctx, b.files(l, part), after), nil
}

// files is a partition as a source.
func (b *Bus) files(l *life, part *partition) *local {
	s := &local{bus: b, life: l, part: part, news: make(chan struct{}, 1)}
	s.files.dir = filepath.Join(streamDir(b.cfg.Dir, part.index), "msgs")
	part.sizes.listen(s.news)
	return s
}

func newReader(ctx context.Context, from source, after uint64) *Reader {
	r := &Reader{from: from, next: after + 1, fetched: make(chan Message), spare: make(chan []byte, spares)}
	r.ctx, r.end = context.WithCancel(ctx)
	go r.fetch()
	return r
}

func (r *Reader) fetch() {
	defer close(r.fetched)
	defer r.from.close(r)
	for {
		m, err := r.from.take(r)
		if err != nil {
			r.err = r.why(err)
			return
		}
		select {
		case r.fetched <- m:
		case <-r.ctx.Done():
			r.err = r.why(r.ctx.Err())
			return
		}
	}
}

// why is the error that the reader ends with.
func (r *Reader) why(err error) error {
	if r.closed.Load() {
		return nil
	}
	return r.from.why(err)
}

func (s *local) why(err error) error {
	if s.life.ctx.Err() != nil {
		err = fmt.Errorf("%w: it is started anew", ErrUnavailable)
	}
	return fmt.Errorf("read partition %d of the log: %w", s.part.index, err)
}

func (s *local) close(r *Reader) {
	s.part.sizes.leave(s.news)
	s.part.fresh.leave(r)
	s.files.close()
	if s.from != nil {
		s.from.end()
	}
}

// take gets the next message.
func (s *local) take(r *Reader) (m Message, err error) {
	if s.from == nil {
		m, err = s.follow(r)
		if err == nil || r.ctx.Err() != nil || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrGap) {
			return m, err
		}
		// Whatever it is, JetStream may know better.
		s.part.fresh.leave(r)
		if s.from, err = s.life.pull(r.ctx, streamName(s.part.index), r.next-1); err != nil {
			return m, err
		}
	}
	msg, meta, err := s.from.take(r.ctx)
	if err != nil {
		return Message{}, err
	}
	if m, err = r.message(meta.Sequence.Stream, meta.NumPending, msg.Data, nil); err != nil {
		return m, err
	}
	return m, s.bus.ahead(s.life, s.part, r.next)
}

// handed gives the next message if it was handed over.
func (s *local) handed(r *Reader, last uint64) (Message, bool) {
	s.part.fresh.serve(r)
	h, ok := s.part.fresh.take(r, s.life, r.next)
	if !ok {
		s.given = 0
		return Message{}, false
	}
	if s.given++; s.given == lostSight {
		s.files.close()
	}
	r.next = h.seq + 1
	return Message{Seq: h.seq, Producer: s.bus.producer, Number: h.number, Payload: h.payload, Pending: last - h.seq}, true
}

// follow gives the next message, as soon as there is one: as it is handed over, or from the files.
func (s *local) follow(r *Reader) (Message, error) {
	last := s.part.sizes.last()
	for ; r.next > last; last = s.part.sizes.last() {
		select {
		case <-s.news:
		case <-r.ctx.Done():
			return Message{}, r.ctx.Err()
		}
	}
	if m, ok := s.handed(r, last); ok {
		return m, s.bus.ahead(s.life, s.part, r.next)
	}
	found, err := s.files.next(r.next)
	if err != nil {
		return Message{}, err
	}
	m, err := r.message(found.seq, last-min(last, found.seq), found.message, func() error {
		err := found.intact(streamName(s.part.index))
		if err == nil {
			return nil // it was written so
		}
		path := filepath.Join(s.files.dir, strconv.FormatUint(uint64(found.index), 10)+blockSuffix)
		s.bus.report(fault{life: s.life, reason: err.Error() + " is damaged", suspects: map[string]bool{path: true}})
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	})
	if err != nil {
		return m, err
	}
	return m, s.bus.ahead(s.life, s.part, r.next)
}

// message makes a Message of what the log has. Damaged, nil for a message that does not come from a file, is asked when it is no frame: its error ends
// the reader.
func (r *Reader) message(seq, pending uint64, data []byte, damaged func() error) (Message, error) {
	m := Message{Seq: seq, Pending: pending}
	first := m.Seq
	f, length, err := readFrame(data)
	if err == nil && length != len(data) {
		err = fmt.Errorf("%w: it is longer than it says", ErrDamaged)
	}
	if err != nil && damaged != nil {
		if err := damaged(); err != nil {
			return Message{}, err
		}
	}
	if from, to, reason, ok := f.lost(); ok && err == nil {
		first = min(from, m.Seq)
		err = fmt.Errorf("%w: %d to %d: %s", ErrLost, from, to, reason)
	}
	if first > r.next {
		return Message{}, fmt.Errorf("%w: expected is %d, it goes on with %d", ErrGap, r.next, m.Seq)
	}
	r.next = m.Seq + 1
	m.Producer, m.Number, m.Err = f.producer, f.number, err
	if err == nil {
		m.Payload, m.Err = f.unpack(r.memory())
		if f.flags&flagS2 == 0 && damaged != nil {
			m.Payload = bytes.Clone(m.Payload) // it is where the file's next one will be
		}
	}
	return m, nil
}

// Recycle takes a payload's memory for a message to come. Nothing of it may be used any more, nor any view of it. Who doesn't call it leaves the
// memory to the garbage collector.
func (r *Reader) Recycle(payload []byte) {
	select {
	case r.spare <- payload:
	default:
	}
}

// memory is some for a payload, if there is any.
func (r *Reader) memory() []byte {
	select {
	case b := <-r.spare:
		return b
	default:
		return nil
	}
}

// Messages gives the messages in order. It is closed when the reader ends; Err then says why.
func (r *Reader) Messages() <-chan Message { return r.fetched }

// Err says why Messages was closed, nil after Close.
func (r *Reader) Err() error { return r.err }

// Close ends the reader.
func (r *Reader) Close() {
	r.closed.Store(true)
	r.end()
}
