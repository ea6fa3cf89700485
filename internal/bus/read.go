package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Message is one message of the log. Payload is nil when Err says that the message is damaged, or stands for lost ones.
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
	bus     *Bus
	life    *life
	part    *partition
	from    *puller
	next    uint64
	fetched chan Message
	ctx     context.Context // ends with the life, or with Close
	end     context.CancelFunc
	closed  atomic.Bool
	err     error
}

// readAhead is how many messages a reader holds ready; with messages of at most 1 MiB it bounds the memory.
const readAhead = 16

// ErrGap is returned when the log no longer holds the message that should come next.
var ErrGap = errors.New("messages are missing from the log")

// Read starts reading a partition behind sequence number after. The reader ends with an error when the log has to be started anew; another one
// can be opened as soon as Healthy says nothing.
func (b *Bus) Read(ctx context.Context, p int, after uint64) (*Reader, error) {
	l, err := b.current()
	if err != nil {
		return nil, err
	}
	part := b.parts[p]
	if err := b.ahead(l, part, after+1); err != nil {
		return nil, fmt.Errorf("read partition %d of the log: %w", p, err)
	}
	from, err := l.pull(ctx, streamName(p), after)
	if err != nil {
		return nil, fmt.Errorf("read partition %d of the log: %w", p, err)
	}
	r := &Reader{bus: b, life: l, part: part, from: from, next: after + 1, fetched: make(chan Message)}
	r.ctx, r.end = context.WithCancel(l.ctx)
	go r.fetch()
	return r, nil
}

func (r *Reader) fetch() {
	defer close(r.fetched)
	defer r.from.end()
	for {
		m, err := r.take()
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
	if r.life.ctx.Err() != nil {
		err = fmt.Errorf("%w: it is started anew", ErrUnavailable)
	}
	return fmt.Errorf("read partition %d of the log: %w", r.part.index, err)
}

// take gets the next message.
func (r *Reader) take() (Message, error) {
	msg, meta, err := r.from.take(r.ctx)
	if err != nil {
		return Message{}, err
	}
	m := Message{Seq: meta.Sequence.Stream, Pending: meta.NumPending}
	first := m.Seq
	f, length, err := readFrame(msg.Data)
	if err == nil && length != len(msg.Data) {
		err = fmt.Errorf("%w: it is longer than it says", ErrDamaged)
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
		m.Payload, m.Err = f.payload()
	}
	return m, r.bus.ahead(r.life, r.part, r.next)
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
