package process

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// An event that a stage cannot process is put into quarantine, in the transaction that moves the offset past it: nothing of it is
// counted, nothing behind it waits, and it is not lost. When it comes again (somebody has it retried, or the sender
// sends it again) and can be processed, it is stored and released in one transaction.

func quarantineKey(t tenant.ID, key event.Key) store.QuarantineKey {
	return store.QuarantineKey{Tenant: t, ID: hex.EncodeToString(key[:])}
}

// quarantine takes an event out of the stream.
func (s *session) quarantine(ev *event.Stored, stage, reason string) {
	key := event.IdentityKey(ev.Tenant, ev.Source, ev.ID)
	if ev.Identified {
		s.dedupe.remove(s.identifier.identity(ev.Tenant, ev.Source, ev.ID)) // or a retry would be taken for a repetition
	}
	k, own := quarantineKey(ev.Tenant, key), ev.Event
	s.put(store.Quarantined{QuarantineKey: k, Partition: s.partition, Position: ev.Position, Stage: stage, Reason: reason, Event: &own, At: s.cfg.Now().UTC()})
}

// quarantineMessage takes a whole message out of the stream: what it holds is not known, nor whose it is.
func (s *session) quarantineMessage(m bus.Message) {
	s.put(store.Quarantined{
		QuarantineKey: store.QuarantineKey{ID: "message-" + s.batch.commit.To.Incarnation + "-" + strconv.FormatUint(m.Seq, 10)},
		Partition:     s.partition, Position: event.Position{Seq: m.Seq}, Stage: "decode", Reason: m.Err.Error(), Raw: m.Payload, At: s.cfg.Now().UTC(),
	})
}

func (s *session) put(q store.Quarantined) {
	q.Reason = strings.ToValidUTF8(q.Reason, "\uFFFD") // it must not be what the store refuses
	b := s.batch
	b.commit.Quarantine = append(b.commit.Quarantine, q)
	b.bytes += len(q.Raw) + 512
	if q.Event != nil {
		b.bytes += len(q.Event.Data) + len(q.Event.Extensions)
	}
	s.held[q.QuarantineKey] = true
	s.cfg.Observer.Failed(s.partition, q.Stage)
	s.cfg.Log.Error("an event could not be processed and is in quarantine: see /v1/quarantine", "tenant.id", string(q.Tenant), "event.id", q.ID,
		"pulsestream.partition", s.partition, "pulsestream.sequence", q.Position.Seq, "pulsestream.stage", q.Stage, "error.message", q.Reason)
}

// skipped notes a stored event that a metric cannot be computed from.
func (s *session) skipped(ev *event.Stored, err error) {
	s.cfg.Observer.Failed(s.partition, "fill")
	s.cfg.Log.Error("a stored event is left out of a metric", "tenant.id", string(ev.Tenant), "pulsestream.sequence", ev.Seq, "error.message", err.Error())
}

// store commits, and turns a panic into a refusal: the worker must survive whatever an event makes the store do.
func (s *session) store(ctx context.Context, c *store.Commit) (offset store.Offset, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", store.ErrRefused, p)
		}
	}()
	if err := provokeCommit(c.Events); err != nil {
		return offset, fmt.Errorf("%w: %w", store.ErrRefused, err)
	}
	return s.cfg.Store.Commit(ctx, c)
}
