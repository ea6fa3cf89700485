package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// transitionLine is a transition as a line of JSON. Its numbers are texts, because JSON has no infinity.
type transitionLine struct {
	Number     uint64           `json:"number"`
	Value      string           `json:"value"`
	Worst      string           `json:"worst"`
	Threshold  string           `json:"threshold"`
	Transition alert.Transition `json:"transition"` // without them
}

func lineOf(t store.NumberedTransition) transitionLine {
	text := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	l := transitionLine{Number: t.Number, Value: text(t.Value), Worst: text(t.Worst), Threshold: text(t.Threshold), Transition: t.Transition}
	l.Transition.Value, l.Transition.Worst, l.Transition.Threshold = 0, 0, 0
	return l
}

func (l *transitionLine) transition() (alert.Transition, error) {
	t := l.Transition
	for _, f := range []struct {
		to   *float64
		text string
	}{{&t.Value, l.Value}, {&t.Worst, l.Worst}, {&t.Threshold, l.Threshold}} {
		var err error
		if *f.to, err = strconv.ParseFloat(f.text, 64); err != nil {
			return t, fmt.Errorf("transition %s: %w", t.ID, err)
		}
	}
	return t, nil
}

// quarantineLine is a quarantined event as a line of JSON. Event is in its log encoding, which no field of it can break.
type quarantineLine struct {
	Tenant    tenant.ID `json:"tenant"`
	ID        string    `json:"id"`
	Partition int       `json:"partition"`
	Seq       uint64    `json:"seq"`
	Index     uint32    `json:"index"`
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Event     []byte    `json:"event,omitempty"`
	Raw       []byte    `json:"raw,omitempty"`
	At        time.Time `json:"at"`
	Attempts  int       `json:"attempts"`
}

func lineOfQuarantined(q *store.Quarantined) quarantineLine {
	l := quarantineLine{Tenant: q.Tenant, ID: q.ID, Partition: q.Partition, Seq: q.Position.Seq, Index: q.Position.Index, Stage: q.Stage,
		Reason: q.Reason, Raw: q.Raw, At: q.At, Attempts: q.Attempts}
	if q.Event != nil {
		l.Event = event.AppendEvent(event.BeginBatch(nil), q.Tenant, q.Event)
	}
	return l
}

func (l *quarantineLine) quarantined() (store.Quarantined, error) {
	q := store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: l.Tenant, ID: l.ID}, Partition: l.Partition,
		Position: event.Position{Seq: l.Seq, Index: l.Index}, Stage: l.Stage, Reason: l.Reason, Raw: l.Raw, At: l.At, Attempts: l.Attempts}
	if l.Event == nil {
		return q, nil
	}
	var d event.Decoder
	err := d.Decode(l.Event, func(ev event.Stored) error { q.Event = &ev.Event; return nil })
	if err != nil {
		return q, fmt.Errorf("quarantined event %s: %w", l.ID, err)
	}
	return q, nil
}

// incidents writes all transitions.
func (r *run) incidents(ctx context.Context) (err error) {
	const page = 1000
	r.next.Incidents, err = placeLines(ctx, r.dir, fmt.Sprintf("incidents-%06d.jsonl", r.next.Number), func(line func(any) error) error {
		for after := uint64(0); ; {
			all, err := r.Events.Transitions(ctx, after, page)
			if err != nil {
				return fmt.Errorf("read incidents: %w", err)
			}
			for i := range all {
				if err := line(lineOf(all[i])); err != nil {
					return err
				}
				after = all[i].Number
			}
			if len(all) < page {
				return nil
			}
		}
	})
	return err
}

// quarantine writes what was in quarantine at the offsets. What was released since is not there any more, and is not among the events up to the
// offsets either: then newer offsets are needed.
func (r *run) quarantine(ctx context.Context) (err error) {
	want := map[tenant.ID][]string{}
	for _, k := range r.held {
		want[k.Tenant] = append(want[k.Tenant], k.ID)
	}
	r.next.Quarantine, err = placeLines(ctx, r.dir, fmt.Sprintf("quarantine-%06d.jsonl", r.next.Number), func(line func(any) error) error {
		for t, ids := range want {
			for len(ids) > 0 {
				n := min(len(ids), 1000)
				found, err := r.Events.Quarantined(ctx, t, store.QuarantineQuery{IDs: ids[:n]})
				if err != nil {
					return fmt.Errorf("read the quarantine: %w", err)
				}
				if len(found) < n {
					return errReleased
				}
				for i := range found {
					if err := line(lineOfQuarantined(&found[i])); err != nil {
						return err
					}
				}
				ids = ids[n:]
			}
		}
		return nil
	})
	return err
}

// errReleased says that an event has left the quarantine while the backup ran.
var errReleased = errors.New("an event has left the quarantine meanwhile: try again")

// placeLines writes a file of one JSON document a line.
func placeLines(ctx context.Context, dir, name string, write func(line func(any) error) error) (File, error) {
	return place(ctx, dir, name, func(path string) (rows uint64, err error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, err
		}
		w := bufio.NewWriterSize(f, 1<<16)
		encode := json.NewEncoder(w)
		encode.SetEscapeHTML(false)
		err = write(func(v any) error { rows++; return encode.Encode(v) })
		return rows, errors.Join(err, w.Flush(), f.Close())
	})
}

// readLines reads such a file.
func readLines[T any](dir string, f File, each func(*T) error) error {
	file, err := os.Open(join(dir, f.Path))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	d := json.NewDecoder(bufio.NewReaderSize(file, 1<<16))
	for rows := uint64(0); ; rows++ {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF) && rows == f.Rows:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %s has %d lines, written were %d", ErrDamaged, f.Path, rows, f.Rows)
		case err != nil:
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if err := each(&v); err != nil {
			return err
		}
	}
}
