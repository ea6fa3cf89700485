package segment

import (
	"strings"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
)

// A fault of ours in reading one file is one question's error, in whichever goroutine it happens.
func TestAPanicWhileABlockIsReadIsAnErrorOfWhoAsked(t *testing.T) {
	g := newGenerator(9)
	k := kept{t: t, segments: []*Segment{sealed(t, NewBuilder(), tailOf(g.events(3000)))}}
	var r Reader
	asks := map[string]func() error{
		"rows": func() error {
			return r.Rows(t.Context(), k.set("big"), "big", store.EventFilter{}, func(_ []event.Stored, _ float64, release func()) error { release(); return nil })
		},
		"columns": func() error {
			return r.ScanColumns(t.Context(), k.set("big"), "big", store.ColumnScan{Fields: []store.ColumnField{{Field: metric.Field{Attribute: "id"}}}}, func(*store.ColumnBlock) error { return nil })
		},
		"find": func() error {
			var found event.Stored
			for _, ev := range g.made.matching("big", store.EventFilter{}) {
				if ev.Identified {
					found = ev
				}
			}
			_, _, err := r.Find(t.Context(), k.set("big"), "big", found.Source, found.ID)
			return err
		},
	}
	file := k.segments[0].File
	for name, ask := range asks {
		k.segments[0].File = nil
		if err := ask(); err == nil || !strings.HasPrefix(err.Error(), "panic: ") || !strings.Contains(err.Error(), "pieces.(*File).") {
			t.Errorf("%s of a segment without a file: %v", name, err)
		}
		k.segments[0].File = file
		if err := ask(); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
}
