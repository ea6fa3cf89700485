package duckdb_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func parquet(t testing.TB) *duckdb.Parquet {
	t.Helper()
	p, err := duckdb.NewParquet(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// odd are events that are hard to keep as they are.
func odd() []event.Stored {
	at := func(ns int64) time.Time { return time.Unix(0, ns).UTC() }
	texts := []string{"", "null", "\u0000", "it's", `"`, "\\N", "NaN", "日本語 🚀", "x,y\r\n", `{"a": 1,"a":2 , "n":9007199254740993,"e":1e400}`}
	var all []event.Stored
	for i, s := range texts {
		all = append(all, event.Stored{
			Tenant: "t", Partition: 3, Position: event.Position{Seq: uint64(len(texts) - i), Index: uint32(i)},
			Event: event.Event{ID: "id" + s, Source: s, Type: s, Subject: s, Time: at(int64(i) - 5), Received: at(1_800_000_000_123_456_789), Data: []byte(s), Identified: i%2 == 0},
		})
	}
	all = append(all,
		event.Stored{Tenant: "t", Position: event.Position{Seq: math.MaxUint64, Index: math.MaxUint32}, Event: event.Event{Time: at(math.MaxInt64 - 1), Received: at(math.MinInt64 + 2)}},
		event.Stored{Tenant: "u", Position: event.Position{Seq: 1 << 63}, Event: event.Event{Time: at(0), Received: at(-1), Extensions: []byte(`{"x":"y"}`)}},
	)
	return all
}

func TestEventsComeBackFromParquetAsTheyWere(t *testing.T) {
	p := parquet(t)
	want := map[string]event.Stored{}
	key := func(ev *event.Stored) string { return fmt.Sprint(ev.Tenant, ev.Seq, ev.Index) }
	for _, ev := range odd() {
		want[key(&ev)] = ev
	}
	path := filepath.Join(t.TempDir(), "it's.parquet")
	if err := p.Add(odd()); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Write(t.Context(), path); err != nil || n != len(want) {
		t.Fatalf("%d rows, %v", n, err)
	}
	var last event.Position
	err := p.Read(t.Context(), path, func(ev *event.Stored) error {
		w, ok := want[key(ev)]
		delete(want, key(ev))
		if ev.Before(last) {
			t.Errorf("%v comes behind %v", ev.Position, last)
		}
		last = ev.Position
		if same := ev.ID == w.ID && ev.Source == w.Source && ev.Type == w.Type && ev.Subject == w.Subject && ev.Time.Equal(w.Time) && ev.Received.Equal(w.Received) &&
			ev.Partition == w.Partition && ev.Identified == w.Identified && bytes.Equal(ev.Data, w.Data) && (ev.Data == nil) == (w.Data == nil) &&
			bytes.Equal(ev.Extensions, w.Extensions) && (ev.Extensions == nil) == (w.Extensions == nil); !ok || !same {
			t.Errorf("got %+v, want %+v (%v)", ev, w, ok)
		}
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Fatalf("%v; missing are %v", err, want)
	}
}

func TestTheNextParquetFileHasNothingOfTheOneBefore(t *testing.T) {
	p := parquet(t)
	dir := t.TempDir()
	for i := range 3 {
		ev := event.Stored{Tenant: tenant.ID(fmt.Sprint("t", i)), Event: event.Event{Time: time.Unix(0, 0), Received: time.Unix(0, 0)}}
		if err := p.Add([]event.Stored{ev}); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Write(t.Context(), filepath.Join(dir, fmt.Sprint(i))); err != nil || n != 1 {
			t.Fatalf("file %d: %d rows, %v", i, n, err)
		}
	}
}

func TestAFileThatIsNotOfEventsIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(path, []byte("PAR1 nonsense PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := parquet(t).Read(t.Context(), path, func(*event.Stored) error { return nil }); err == nil {
		t.Error("nonsense was read")
	}
	if err := parquet(t).Add([]event.Stored{{Event: event.Event{Time: time.Unix(0, math.MaxInt64)}}}); err == nil {
		t.Error("a time that Parquet takes for infinite was taken")
	}
}
