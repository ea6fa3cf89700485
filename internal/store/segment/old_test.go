package segment

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// eventsOf001 are those of testdata/first.seg, which a release made whose segments had filters of ids: of the largest tenant, in two blocks.
func eventsOf001() (all []event.Stored) {
	for i := range 1500 {
		ev := event.Stored{Tenant: "acme", Partition: 1, Position: event.Position{Seq: uint64(1 + i/100), Index: uint32(i % 100)}}
		if i%50 == 7 {
			ev.Tenant = "small"
		}
		ev.ID, ev.Source, ev.Type = fmt.Sprintf("evt_%06d", i*7919), "shop", []string{"sold", "sold", "sold", "sold", "returned"}[i%5]
		ev.Time, ev.Received, ev.Identified = time.Unix(int64(1_800_000_000+i), 0).UTC(), time.Unix(int64(1_800_000_001+i), 0).UTC(), true
		ev.Data = fmt.Appendf(nil, `{"n":%d}`, i%10)
		all = append(all, ev)
	}
	return all
}

func TestASegmentOfTheReleasesBeforeIsReadAsItIs(t *testing.T) {
	s, err := Open(filepath.Join("testdata", "first.seg"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Release() }()
	if err := s.Verify(func(int) error { return nil }); err != nil {
		t.Error(err)
	}
	var r Reader
	set := &Set{Segments: []*Segment{s}}
	all := eventsOf001()
	for i := 0; i < len(all); i += 7 {
		want := &all[i]
		got, found, err := r.Find(t.Context(), set, want.Tenant, want.Source, want.ID)
		if err != nil || !found || !reflect.DeepEqual(got, *want) {
			t.Fatalf("event %d: %v, %v, %+v, want %+v", i, found, err, got, want)
		}
	}
	if _, found, err := r.Find(t.Context(), set, "acme", "shop", "evt_none"); found || err != nil {
		t.Error("what is not there:", found, err)
	}
}
