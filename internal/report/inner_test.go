package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestTheNextReportIsOfWhoWasServedLongestAgo(t *testing.T) {
	waiting := func(ids ...tenant.ID) (out []*Report) {
		for _, id := range ids {
			out = append(out, &Report{Tenant: id})
		}
		return out
	}
	turn := newTurns()
	for i, c := range []struct {
		waiting []*Report
		begin   bool
		want    int
	}{
		{waiting: waiting(), want: -1},
		{waiting: waiting("a", "a", "b"), begin: true, want: 0},
		{waiting: waiting("a", "b"), begin: true, want: 1},
		{waiting: waiting("a", "b", "b"), want: -1}, // both have one running
	} {
		got := turn.next(c.waiting)
		if got != c.want {
			t.Errorf("case %d: %d, want %d", i, got, c.want)
		}
		if c.begin && got >= 0 {
			turn.begin(c.waiting[got].Tenant)
		}
	}
	turn.end("a")
	turn.end("b")
	if got := turn.next(waiting("b", "a", "c")); got != 2 {
		t.Errorf("who never was served comes first: %d", got)
	}
	if got := turn.next(waiting("b", "a")); got != 1 {
		t.Errorf("who was served first comes first again: %d", got)
	}
	if turn.forget(nil); len(turn.last) != 0 {
		t.Error("nobody waits, and all are remembered")
	}
}

func TestRoomLeavesTwiceWhatIngestLeaves(t *testing.T) {
	for _, c := range []struct {
		free, size, need uint64
		want             bool
	}{
		{10 << 20, 100 << 20, 0, true},
		{10 << 20, 100 << 20, 1, false},
		{2<<30 + 5, 1 << 40, 5, true},
		{2<<30 + 5, 1 << 40, 6, false},
	} {
		if got := fits(c.free, c.size, c.need); got != c.want {
			t.Errorf("%d of %d for %d: %v", c.free, c.size, c.need, got)
		}
	}
	if free, size, err := SystemDisk(t.TempDir()); err != nil || free == 0 || size < free {
		t.Errorf("the disk has %d of %d, %v", free, size, err)
	}
	if got := reason(fmt.Errorf("write: %w", syscall.ENOSPC)); got == "" || got == reason(io.EOF) {
		t.Errorf("a disk that is full all the same: %q", got)
	}
}

func TestProgressNeverGoesBackAndIsWholeOnlyAtTheEnd(t *testing.T) {
	m := meter{last: 109}
	for i, c := range []struct{ seq, want uint64 }{{10, 10_000}, {59, 500_000}, {30, 500_000}, {109, 990_000}, {200, 990_000}} {
		if got := m.at(c.seq); got != c.want {
			t.Errorf("%d: %d, want %d", i, got, c.want)
		}
	}
}

func TestAReportEndsWithItsContextAndWithItsWriter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(ctx context.Context, each func(*event.Stored) error) error {
		for i := 0; ; i++ {
			if i == 3*batchRows {
				cancel()
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(&event.Stored{}); err != nil {
				return err
			}
		}
	}
	if err := pump(ctx, endless, func(_ []event.Stored, release func()) error { release(); return nil }); err == nil || ctx.Err() == nil {
		t.Errorf("cancelled: %v", err)
	}
	if err := pump(t.Context(), func(_ context.Context, each func(*event.Stored) error) error {
		for {
			if err := each(&event.Stored{}); err != nil {
				return err
			}
		}
	}, func(_ []event.Stored, release func()) error { release(); return io.ErrShortWrite }); err != io.ErrShortWrite { //nolint:errorlint // the very value
		t.Errorf("the writer's fault becomes %v", err)
	}
	f := file{ctx: ctx, to: io.Discard, room: func(uint64) error { return nil }, note: func(int64) {}}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("a write after the end")
	}
}

// endless is a store whose batches have no end.
type endless struct{ store.Events }

func (endless) Rows(ctx context.Context, _ tenant.ID, _ store.EventFilter, each store.EachRows) error {
	events := sample(10)
	for ctx.Err() == nil {
		if err := each(events, 0, func() {}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func TestAReportThatTakesTooLongSaysSo(t *testing.T) {
	for _, format := range []Format{Parquet, CSV} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errTooLong)
		defer cancel()
		s := &Service{cfg: Config{Events: endless{}}}
		err := s.events(ctx, &job{}, &Report{Tenant: "acme", Order: Order{Format: format}}, io.Discard)
		if got := reason(err); got == "" || !errors.Is(err, errTooLong) || !strings.Contains(got, "longer than an hour") {
			t.Errorf("%s: %v, %q", format, err, got)
		}
	}
}

func TestAPanicOfAnEncoderIsAnErrorOfItsReport(t *testing.T) {
	p := newParquetEvents(io.Discard)
	p.data.to = eventColumns + 1 // a column that there is not
	released := 0
	err := p.add(sample(10), func() { released++ })
	if err == nil {
		err = p.close()
	}
	if !strings.HasPrefix(err.Error(), "panic: ") || released != 1 {
		t.Errorf("%v; released %d times", err, released)
	}
}

func sample(n int) []event.Stored {
	out := make([]event.Stored, n)
	at := time.Unix(1_800_000_000, 0)
	for i := range out {
		out[i].Event = event.Event{ID: fmt.Sprintf("evt_%020d", i*7919), Source: "stripe", Type: "charge.succeeded", Subject: fmt.Sprint("cus_", i%100), Time: at, Received: at,
			Data: fmt.Appendf(nil, `{"id":"ch_%d","amount":%d,"currency":"usd","status":"succeeded"}`, i, i*13)}
	}
	return out
}

func TestAllocationsOfAnEventInAReport(t *testing.T) {
	events := sample(batchRows)
	for name, s := range map[string]sink{"parquet": newParquetEvents(io.Discard), "csv": newCSVEvents(io.Discard)} {
		write := func() {
			released := make(chan struct{})
			if err := s.add(events, func() { close(released) }); err != nil {
				t.Fatal(err)
			}
			<-released
		}
		for range 2 * groupRows / batchRows { // buffers grow in the first row groups
			write()
		}
		got := testing.AllocsPerRun(2*groupRows/batchRows, write)
		if a := got / batchRows; a > 0.01 {
			t.Errorf("%s: %g allocations an event", name, a)
		}
		t.Logf("%s: %g allocations a batch of %d", name, got, batchRows)
	}
}
