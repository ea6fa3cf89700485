package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Append writes one message and returns its sequence number once most servers have it on disk. It is sent again when a server does not answer,
// under the same id, by which JetStream knows it: so it is taken once, whichever server is its leader. When Append fails the message may be in the log or not.
//
// Numbers are each process's own, counted from 1 for each partition: of those of one producer the log has an ascending sequence, with gaps where an Append has failed.
func (c *Cluster) Append(ctx context.Context, p int, payload []byte) (uint64, error) {
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	part := c.parts[p]
	if err := errors.Join(c.up(), part.silent()); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AppendTimeout)
	defer cancel()
	select {
	case part.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("append to partition %d of the log: the message before it is still being written: %w", p, ctx.Err())
	}
	defer func() { <-part.turn }()
	part.number++
	part.frame = appendFrame(part.frame[:0], p, c.producer, part.number, payload)
	m := nats.NewMsg(clusterSubject(p))
	m.Data = part.frame
	m.Header.Set("Nats-Msg-Id", strconv.FormatUint(c.producer, 16)+"-"+strconv.FormatUint(part.number, 10))
	seq, err := c.publish(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("append to partition %d of the log: %w", p, err)
	}
	if seq <= part.acked {
		err := c.shorter(part, seq, part.acked)
		c.fail(err)
		return 0, err
	}
	part.acked = seq
	part.reached(seq)
	part.sizes.add(seq, uint64(len(part.frame)))
	return seq, nil
}

// publish sends a message until it is acknowledged, or ctx ends.
func (c *Cluster) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	for {
		seq, again, err := c.tryPublish(ctx, m)
		if err == nil || !again {
			return seq, err
		}
		if !pause(ctx, attemptPause) {
			return 0, fmt.Errorf("the NATS cluster has not confirmed it: %w", err)
		}
	}
}

// tryPublish sends a message once, and says whether it may be sent again when that fails.
func (c *Cluster) tryPublish(ctx context.Context, m *nats.Msg) (seq uint64, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	answer, err := c.conn.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrConnectionClosed):
		return 0, false, ErrClosed
	case err != nil: // nobody answers, or nobody is the leader at this moment
		return 0, true, err
	}
	seq, err = ack(answer)
	return seq, err != nil, err
}

// Read starts reading a partition behind sequence number after.
func (c *Cluster) Read(ctx context.Context, p int, after uint64) (*Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	return newReader(c.ctx, &clustered{log: c, part: c.parts[p], seen: map[uint64]uint64{}}, after), nil
}

// clustered is a cluster's partition as a source.
type clustered struct {
	log  *Cluster
	part *remote
	from *puller           // nil before the first message
	seen map[uint64]uint64 // the last number of each producer
}

const (
	clusterHeartbeat = 500 * time.Millisecond
	// clusterPatience is how long a reader waits for a cluster in which nobody leads the partition.
	clusterPatience = 30 * time.Second
)

// take gets the next message, waiting for a cluster that chooses another leader.
func (s *clustered) take(r *Reader) (Message, error) {
	var since time.Time
	for {
		m, err := s.receive(r)
		switch {
		case err == nil, r.ctx.Err() != nil, errors.Is(err, ErrGap), errors.Is(err, ErrShorter):
			return m, err
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > clusterPatience:
			return m, err
		}
		s.close(r)
		if !pause(r.ctx, 100*time.Millisecond) {
			return m, r.ctx.Err()
		}
	}
}

func (s *clustered) receive(r *Reader) (Message, error) {
	if s.from == nil {
		if err := s.begin(r); err != nil {
			return Message{}, err
		}
	}
	msg, meta, err := s.from.take(r.ctx)
	if err != nil {
		return Message{}, err
	}
	m, err := r.message(meta.Sequence.Stream, meta.NumPending, msg.Data, nil)
	if err != nil {
		return m, err
	}
	s.part.reached(m.Seq)
	if m.Err == nil && m.Number <= s.seen[m.Producer] {
		m.Payload = nothing() // JetStream has taken a message twice that was sent twice, though it should not
	} else if m.Err == nil {
		s.seen[m.Producer] = m.Number
	}
	return m, nil
}

// begin makes a consumer, unless the log is not what it was.
func (s *clustered) begin(r *Reader) error {
	at, err := s.log.position(r.ctx, s.part)
	if err != nil {
		return err
	}
	if at.Last < r.next-1 { // whoever waited for it to grow would take other messages for those that it has lost
		return s.log.shorter(s.part, at.Last, r.next-1)
	}
	q := &puller{link: &s.log.link, stream: clusterStream(s.part.index), next: r.next, beat: clusterHeartbeat}
	if err := q.begin(r.ctx); err != nil {
		return err
	}
	s.from = q
	return nil
}

func (s *clustered) why(err error) error {
	return fmt.Errorf("read partition %d of the log: %w", s.part.index, err)
}

func (s *clustered) close(*Reader) {
	if s.from != nil {
		s.from.end()
		s.from = nil
	}
}

// position asks where a partition stands.
func (c *Cluster) position(ctx context.Context, part *remote) (Position, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := c.js.Stream(ctx, clusterStream(part.index))
	if err != nil {
		return Position{}, fmt.Errorf("look at partition %d of the log: %w", part.index, err)
	}
	info := s.CachedInfo()
	if id := info.Config.Metadata[metaIncarnation]; id != part.incarnation {
		return Position{}, fmt.Errorf("partition %d: %w: the NATS stream was made anew", part.index, ErrForeign)
	}
	part.saw(&info.State)
	return Position{Incarnation: part.incarnation, First: info.State.FirstSeq, Last: info.State.LastSeq}, nil
}

// Tail says which incarnation a partition's log is in, and the first and last sequence numbers it holds.
func (c *Cluster) Tail(ctx context.Context, p int) (incarnation string, first, last uint64, err error) {
	at, err := c.position(ctx, c.parts[p])
	return at.Incarnation, at.First, at.Last, err
}

// Resume says where a reader goes on that has read an incarnation, "" for none, up to and with the message seq.
func (c *Cluster) Resume(ctx context.Context, p int, incarnation string, seq uint64) (Position, error) {
	part := c.parts[p]
	at, err := c.position(ctx, part)
	if err != nil {
		return Position{}, err
	}
	at, missed, err := resume(partitionIdentity{Incarnation: part.incarnation}, incarnation, seq, at)
	if err != nil {
		return Position{}, fmt.Errorf("partition %d: %w", p, err)
	}
	if missed != nil {
		c.cfg.Log.Error("the store goes on without messages that the log does not have", "pulsestream.partition", p,
			"pulsestream.from", missed.FromSeq, "pulsestream.to", missed.ToSeq, "event.reason", missed.Reason)
	}
	return at, nil
}
