package ingest_test

import (
	"context"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonlines"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// roomyLog is a log that takes everything at once.
type roomyLog struct{ bytes int }

func (l *roomyLog) Partitions() int { return 1 }

func (l *roomyLog) Append(_ context.Context, _ int, payload []byte) (uint64, error) {
	l.bytes += len(payload)
	return 1, nil
}

// TestAllocationsOfABatch: what a request costs does not grow with its events. A few are made for the request as a whole.
func TestAllocationsOfABatch(t *testing.T) {
	body := ndjson(perBatch)
	var p event.Parser
	batch := ingest.NewBatch("key", time.Now().UTC(), tenant.DefaultRetention)
	c := ingest.NewCommitter(&roomyLog{}, 1<<20, time.Now)
	defer c.Stop()
	n := testing.AllocsPerRun(20, func() {
		p.Reset()
		ingest.Again(batch, "key", time.Now().UTC(), tenant.DefaultRetention)
		if err := jsonlines.Read(&p, body, batch); err != nil || len(batch.Events) != perBatch {
			t.Fatal(err, len(batch.Events))
		}
		if _, err := c.Commit(t.Context(), tenant.Default, batch.Events); err != nil {
			t.Fatal(err)
		}
	})
	if n > 20 {
		t.Errorf("%v allocations for a batch of %d events", n, perBatch)
	}
}
