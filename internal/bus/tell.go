package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// What processes tell each other besides the log goes from memory to memory: it may be lost, and who must not miss it finds that out by itself.

// Note is something that a process has told the others.
type Note struct {
	Subject string
	Data    []byte
	// Reply answers whoever asked; it does nothing when nobody did. It may be called several times.
	Reply func(data []byte) error
}

// ErrNobody says that nobody listens to what is asked.
var ErrNobody = errors.New("nobody listens")

// Tell tells all processes that listen to a subject.
func (c *Cluster) Tell(subject string, data []byte) error {
	return c.conn.Publish(prefix+subject, data)
}

// Hear calls f for everything that is told on a subject, in order, until stop is called. In subject a * stands for one word. At most so many notes wait; of more
// the later ones are lost.
func (c *Cluster) Hear(subject string, waiting int, f func(Note)) (stop func(), err error) {
	sub, err := c.conn.Subscribe(prefix+subject, func(m *nats.Msg) {
		reply := func([]byte) error { return nil }
		if m.Reply != "" {
			reply = func(data []byte) error { return c.conn.Publish(m.Reply, data) }
		}
		f(Note{Subject: m.Subject[len(prefix):], Data: m.Data, Reply: reply})
	})
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(waiting, waiting*(128<<10)); err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, c.conn.FlushTimeout(requestTimeout)
}

// Ask asks whoever listens to a subject, and hands each answer to f until f says that it was the last, or nothing has come for the time of quiet.
func (c *Cluster) Ask(ctx context.Context, subject string, data []byte, quiet time.Duration, f func(data []byte) (last bool)) error {
	sub, err := c.conn.SubscribeSync(c.conn.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	if err := c.conn.PublishRequest(prefix+subject, sub.Subject, data); err != nil {
		return err
	}
	for {
		bounded, cancel := context.WithTimeout(ctx, quiet)
		m, err := sub.NextMsgWithContext(bounded)
		cancel()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return ErrNobody
		case err != nil:
			return fmt.Errorf("asked %s: %w", subject, err)
		case f(m.Data):
			return nil
		}
	}
}
