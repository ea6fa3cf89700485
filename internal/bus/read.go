package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Message is one message of the log. Payload is nil when Err says that the message is damaged.
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
	partition int
	messages  jetstream.MessagesContext
	next      uint64
	fetched   chan Message
	done      chan struct{}
	err       error
}

// readAhead is how many messages a reader holds ready; with messages of at most 1 MiB it bounds the memory.
const readAhead = 16

// ErrGap is returned when the log no longer holds the message that should come next.
var ErrGap = errors.New("messages are missing from the log")

// Read starts reading a partition behind sequence number after.
func (b *Bus) Read(ctx context.Context, p int, after uint64) (*Reader, error) {
	cons, err := b.js.OrderedConsumer(ctx, b.parts[p].stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("read partition %d of the log: %w", p, err)
	}
	messages, err := cons.Messages(jetstream.PullMaxMessages(readAhead), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return nil, fmt.Errorf("read partition %d of the log: %w", p, err)
	}
	r := &Reader{partition: p, messages: messages, next: after + 1, fetched: make(chan Message), done: make(chan struct{})}
	go r.fetch()
	return r, nil
}

func (r *Reader) fetch() {
	defer close(r.fetched)
	for {
		msg, err := r.messages.Next()
		if err != nil {
			if !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				r.err = fmt.Errorf("read partition %d of the log: %w", r.partition, err)
			}
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			r.err = fmt.Errorf("read partition %d of the log: %w", r.partition, err)
			return
		}
		m := Message{Seq: meta.Sequence.Stream, Pending: meta.NumPending}
		if m.Seq > r.next {
			r.err = fmt.Errorf("%w: partition %d goes on with %d, expected %d", ErrGap, r.partition, m.Seq, r.next)
			return
		}
		r.next = m.Seq + 1
		m.Producer, m.Number, m.Payload, m.Err = parseFrame(msg.Data())
		select {
		case r.fetched <- m:
		case <-r.done:
			return
		}
	}
}

// Messages gives the messages in order. It is closed when the reader ends; Err then says why.
func (r *Reader) Messages() <-chan Message { return r.fetched }

// Err says why Messages was closed, nil after Close.
func (r *Reader) Err() error { return r.err }

// Close ends the reader.
func (r *Reader) Close() {
	close(r.done)
	r.messages.Stop()
}
