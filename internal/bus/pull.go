package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// puller gets a stream's messages in order from JetStream, asking for some at a time. The client library's own ordered consumer is not used: when
// the messages it has asked for are taken faster than it takes note of having asked (a busy machine is enough), it asks for no more, until a heartbeat
// is missed ten seconds later.
type puller struct {
	link     *link
	stream   string
	beat     time.Duration // JetStream sends a heartbeat when it has had nothing else to say for so long
	consumer string
	sub      *nats.Subscription
	asked    int    // messages that are still to come of those that were asked for
	number   uint64 // of the consumer's last message
	next     uint64 // the stream's next message
}

const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
)

// silence is how long JetStream may say nothing.
func (q *puller) silence() time.Duration { return 2*q.beat + 2*time.Second }

// pull begins behind a message.
func (l *link) pull(ctx context.Context, stream string, after uint64) (*puller, error) {
	q := &puller{link: l, stream: stream, next: after + 1, beat: pullHeartbeat}
	return q, q.begin(ctx)
}

// begin makes a consumer that begins with the next message.
func (q *puller) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := q.link.js.CreateConsumer(ctx, q.stream, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: q.next,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	q.consumer, q.asked, q.number = c.CachedInfo().Name, 0, 0
	q.sub, err = q.link.conn.SubscribeSync(q.link.conn.NewInbox())
	return err
}

// again makes another consumer in the place of one that has failed.
func (q *puller) again(ctx context.Context) error {
	q.end()
	return q.begin(ctx)
}

// end gives the consumer back. It would go by itself after some time.
func (q *puller) end() {
	if q.sub != nil {
		_ = q.sub.Unsubscribe()
		q.sub = nil
	}
	if q.consumer != "" && q.link.ctx.Err() == nil {
		// Nobody waits for the answer.
		_ = q.link.conn.Publish("$JS.API.CONSUMER.DELETE."+q.stream+"."+q.consumer, nil)
	}
	q.consumer = ""
}

// ask asks for more messages when half of those asked for have come.
func (q *puller) ask() error {
	if q.asked > readAhead/2 {
		return nil
	}
	request, err := json.Marshal(map[string]int64{"batch": int64(readAhead - q.asked), "expires": int64(pullExpires), "idle_heartbeat": int64(q.beat)})
	if err != nil {
		return err
	}
	q.asked = readAhead
	return q.link.conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+q.stream+"."+q.consumer, q.sub.Subject, request)
}

// take gives the next message.
func (q *puller) take(ctx context.Context) (*nats.Msg, *nats.MsgMetadata, error) {
	for {
		m, err := q.receive(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrSlowConsumer), errors.Is(err, nats.ErrNoResponders):
			// Nothing was said for too long, or there is no such consumer: it goes when a reader pauses for more than a minute.
			if err := q.again(ctx); err != nil {
				return nil, nil, err
			}
			continue
		case err != nil:
			return nil, nil, err
		}
		if status := m.Header.Get("Status"); status != "" && m.Reply == "" {
			if err := q.status(ctx, m, status); err != nil {
				return nil, nil, err
			}
			continue
		}
		q.asked = max(q.asked-1, 0)
		meta, err := m.Metadata()
		if err != nil {
			return nil, nil, err
		}
		if meta.Consumer != q.consumer || meta.Sequence.Consumer != q.number+1 { // one was dropped on the way
			if err := q.again(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		q.number, q.next = meta.Sequence.Consumer, meta.Sequence.Stream+1
		return m, meta, nil
	}
}

func (q *puller) receive(ctx context.Context) (*nats.Msg, error) {
	if err := q.ask(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.silence())
	defer cancel()
	return q.sub.NextMsgWithContext(ctx)
}

// status takes note of what JetStream says about a request.
func (q *puller) status(ctx context.Context, m *nats.Msg, status string) error {
	switch status {
	case "100": // a heartbeat
		return nil
	case "404", "408", "409": // a request has ended; so many of its messages will not come
		if left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages")); err == nil {
			q.asked = max(q.asked-left, 0)
			return nil
		}
	}
	// The consumer is gone, or what is said is not known: begin anew.
	if err := q.again(ctx); err != nil {
		return fmt.Errorf("the server says %s %s, and then: %w", status, m.Header.Get("Description"), err)
	}
	return nil
}
