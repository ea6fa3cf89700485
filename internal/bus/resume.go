package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of Resume. None of them goes away by itself.
var (
	// ErrForeign: what was stored was read from another log than this one.
	ErrForeign = errors.New("the store has read another log than this one")
	// ErrShorter: the log has fewer messages than were read from it.
	ErrShorter = errors.New("the log is shorter than what was read from it")
)

// Position is where a reader goes on.
type Position struct {
	// Incarnation is the present one, which the next commit has to name.
	Incarnation string
	// After is the message to go on behind.
	After uint64
	// First and Last are the messages that the log has.
	First, Last uint64
}

// Resume says where a reader goes on that has read an incarnation, "" for none, up to and with the message seq.
func (b *Bus) Resume(ctx context.Context, p int, incarnation string, seq uint64) (Position, error) {
	present, first, last, err := b.Tail(ctx, p)
	if err != nil {
		return Position{}, err
	}
	id := b.ledger.part(p)
	at, missed, err := resume(id, incarnation, seq, Position{Incarnation: present, First: first, Last: last})
	if err != nil {
		return Position{}, fmt.Errorf("partition %d: %w", p, err)
	}
	if missed != nil {
		missed.Partition, missed.At = p, time.Now()
		if err := b.ledger.note([]Loss{*missed}, nil); err != nil {
			return Position{}, err
		}
		b.cfg.Log.Error("the store goes on without messages that the log does not have", "pulsestream.partition", p,
			"pulsestream.from", missed.FromSeq, "pulsestream.to", missed.ToSeq, "event.reason", missed.Reason)
	}
	return at, nil
}

// resume decides. Numbers go on through all incarnations, so the place is the same in each; what has to be decided is whether the reader's number
// is one of this log at all.
func resume(id partitionIdentity, incarnation string, seq uint64, at Position) (Position, *Loss, error) {
	oldest := max(at.First, 1) - 1 // the first message that is there comes behind it
	switch {
	case incarnation == "" && oldest > 0:
		at.After = oldest
		return at, &Loss{FromSeq: 1, ToSeq: oldest, Reason: "the store of events is built anew from the log, which begins behind them: they were restored from a backup, or became too old; " +
			"a backup that has them can be restored again"}, nil
	case incarnation == "":
		return at, nil, nil
	case !id.knows(incarnation, seq):
		return at, nil, fmt.Errorf("%w (message %d of incarnation %s; this is %s): put the right log back, or set the store of events aside to have it built anew",
			ErrForeign, seq, incarnation, id.Incarnation)
	case seq > at.Last:
		return at, nil, fmt.Errorf("%w: it ends with %d, read was %d; start the server again to have it looked at", ErrShorter, at.Last, seq)
	case seq < oldest:
		at.After = oldest
		return at, &Loss{Incarnation: incarnation, FromSeq: seq + 1, ToSeq: oldest, Reason: "they became too old before the store had read them"}, nil
	}
	at.After = seq
	return at, nil, nil
}

// Tail says which incarnation a partition's log is in, and the first and last sequence numbers it holds.
func (b *Bus) Tail(ctx context.Context, p int) (incarnation string, first, last uint64, err error) {
	l, err := b.current()
	if err != nil {
		return "", 0, 0, err
	}
	s, err := l.js.Stream(ctx, streamName(p))
	if err != nil {
		return "", 0, 0, fmt.Errorf("look at partition %d of the log: %w", p, err)
	}
	state := s.CachedInfo().State
	return b.ledger.part(p).Incarnation, state.FirstSeq, state.LastSeq, nil
}
