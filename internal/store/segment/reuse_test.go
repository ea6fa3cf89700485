//go:build !race

// With the race detector a pool forgets some of what it is given, on purpose.

package segment

import (
	"cmp"
	"maps"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// bytesOf is how many bytes of memory a call asks for, once what it keeps for the next is there.
func bytesOf(call func()) uint64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))  // what another processor keeps is not for this one
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would take what is kept
	call()
	call()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const calls = 50
	for range calls {
		call()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / calls
}

// A column of a block has thousands of rows. Decoding them for one event took megabytes, and the garbage collector ran for every hundred looks.
func TestReadingAFewEventsTakesTheMemoryOfThoseBefore(t *testing.T) {
	all := vendors(100_000)
	path := filepath.Join(t.TempDir(), "a.seg")
	if _, err := NewBuilder().Build(tailOf(all), path); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Release() }()
	var r Reader
	set := &Set{Segments: []*Segment{s}}
	one := &all[0]
	if n := bytesOf(func() {
		if _, found, err := r.Find(t.Context(), set, one.Tenant, one.Source, one.ID); !found || err != nil {
			t.Fatal(found, err)
		}
	}); n > 4<<10 {
		t.Errorf("looking for an event asks for %d bytes", n)
	}
	page := store.Page{EventFilter: store.EventFilter{Types: []string{one.Type}}, Limit: 100}
	if n := bytesOf(func() {
		if events, err := r.Page(t.Context(), set, one.Tenant, page); len(events) != 100 || err != nil {
			t.Fatal(len(events), err)
		}
	}); n > 128<<10 {
		t.Errorf("a page of 100 events asks for %d bytes", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		if _, err := r.Page(t.Context(), set, one.Tenant, page); err != nil {
			t.Fatal(err)
		}
	}); n > 100 {
		t.Errorf("a page of 100 events takes %v allocations", n)
	}
	columns := store.ColumnScan{Types: []string{one.Type}, Fields: []store.ColumnField{{Field: metric.Field{Path: []string{"status"}}}}, To: one.Time.Add(time.Hour)}
	if n := bytesOf(func() {
		rows := 0
		err := r.ScanColumns(t.Context(), set, one.Tenant, columns, func(b *store.ColumnBlock) error { rows += len(b.Times); return nil })
		if rows < 100 || err != nil {
			t.Fatal(rows, err)
		}
	}); n > 32<<10 {
		t.Errorf("reading a column asks for %d bytes", n)
	}
	rows := s.tenant(one.Tenant).rows
	scan := store.Scan{EventFilter: store.EventFilter{Types: []string{one.Type}}}
	if n := bytesOf(func() {
		if err := r.Scan(t.Context(), set, one.Tenant, scan, func(*event.Stored) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}); n > uint64(rows)*40 { // 24 of them to put rows in order
		t.Errorf("reading the events of a type asks for %d bytes, where %d are stored", n, rows)
	}
	if n := bytesOf(func() {
		if err := r.Identities(t.Context(), set, 0, time.Time{}, func(store.Identity) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}); n > 16<<10 {
		t.Errorf("reading all identities asks for %d bytes", n)
	}
}

// What is lent must not be somebody else's before the call returns, also with the last row of a block.
func TestWhatAScanLendsStaysAsItIsDuringTheCall(t *testing.T) {
	all := vendors(4000)
	s := sealed(t, NewBuilder(), tailOf(all))
	set := &Set{Segments: []*Segment{s}}
	var r Reader
	of := map[tenant.ID][]event.Stored{}
	for _, ev := range all {
		of[ev.Tenant] = append(of[ev.Tenant], ev)
	}
	byEvents := func(x, y tenant.ID) int { return cmp.Compare(len(of[x]), len(of[y])) }
	tenants := slices.SortedFunc(maps.Keys(of), byEvents)
	own, other := tenants[len(tenants)/2], tenants[len(tenants)-1] // who has most writes over all that one with less has
	want := of[own]
	// Others take all memory that is free, by reading while they read, and write to it.
	var others func(depth int)
	others = func(depth int) {
		if depth == 0 {
			return
		}
		if err := r.Scan(t.Context(), set, other, store.Scan{Limit: 1}, func(*event.Stored) error { others(depth - 1); return nil }); err != nil {
			t.Error(err)
		}
	}
	others(3)
	var got []event.Stored
	err := r.Scan(t.Context(), set, own, store.Scan{}, func(ev *event.Stored) error { others(3); return into(&got)(ev) })
	if d := differ(got, want); d != "" || err != nil || len(of[other]) < 2*len(want) {
		t.Error(d, err)
	}
}
