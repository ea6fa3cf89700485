package report_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// batched gives events in batches of three, and destroys each when it is released; none at all when it says that it cannot.
type batched struct {
	events
	cannot bool
	given  int
}

func (s *batched) Rows(ctx context.Context, t tenant.ID, f store.EventFilter, each store.EachRows) error {
	if s.cannot {
		return fmt.Errorf("below: %w", store.ErrOneByOne)
	}
	var all []event.Stored
	if err := s.Scan(ctx, t, store.Scan{EventFilter: f}, func(ev *event.Stored) error { own := *ev; own.Keep(nil); all = append(all, own); return nil }); err != nil {
		return err
	}
	var lent sync.WaitGroup
	defer lent.Wait()
	for batch := range slices.Chunk(all, 3) {
		s.given += len(batch)
		lent.Add(1)
		err := each(batch, float64(s.given)/float64(len(all)), func() {
			for i := range batch {
				clear(batch[i].Data)
			}
			clear(batch)
			lent.Done()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAReportOfBatchesIsThatOfAScan(t *testing.T) {
	for _, format := range []report.Format{report.Parquet, report.CSV} {
		write := func(e report.Source) []byte {
			r := newRig(t, &events{}, func(c *report.Config) { c.Events = e })
			r.run()
			done := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: format}), report.Done, report.Failed)
			if done.State != report.Done || done.Rows != 20 || done.Progress != 1 {
				t.Fatalf("%s: %+v", format, done)
			}
			return mustRead(t, r.file(done))
		}
		want := write(&events{all: odd()})
		able, unable := &batched{events: events{all: odd()}}, &batched{events: events{all: odd()}, cannot: true}
		if got := write(able); !bytes.Equal(got, want) || able.given != 20 {
			t.Errorf("%s: %d events given in batches, a file of %d bytes, want %d", format, able.given, len(got), len(want))
		}
		if got := write(unable); !bytes.Equal(got, want) {
			t.Errorf("%s: of a source without batches, a file of %d bytes, want %d", format, len(got), len(want))
		}
	}
}
