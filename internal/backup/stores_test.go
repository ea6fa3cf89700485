package backup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// stores are those of an installation without workers: a test commits what it likes.
type stores struct {
	t       testing.TB
	events  *duckdb.Store
	catalog *sqlite.Store
	log     *bus.Bus
	offsets []store.Offset
}

// openStores opens the stores of a data directory. A new log begins behind seq in each partition, so that so much can be committed from it.
func openStores(t testing.TB, dir string, partitions int, seq uint64) *stores {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, log := places(dir), slog.New(slog.DiscardHandler)
	s := &stores{t: t}
	var err error
	if s.events, err = duckdb.Open(t.Context(), duckdb.Config{Path: p.EventsPath, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.events.Close() })
	if s.catalog, err = sqlite.Open(t.Context(), sqlite.Config{Path: p.CatalogPath}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.catalog.Close() })
	if s.log, err = bus.Open(t.Context(), bus.Config{Dir: p.LogDir, Partitions: partitions, Begin: slices.Repeat([]bus.Beginning{{Seq: seq}}, partitions), Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.log.Close)
	for p := range s.log.Partitions() {
		state, err := s.events.Partition(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		s.offsets = append(s.offsets, state.Offset)
	}
	return s
}

func (s *stores) close() {
	s.log.Close()
	if err := s.events.Close(); err != nil {
		s.t.Error(err)
	}
	if err := s.catalog.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *stores) source() backup.Source {
	return backup.Source{Events: s.events, Catalog: s.catalog, Log: s.log, Version: "test", Logger: slog.New(slog.DiscardHandler), Now: time.Now}
}

func (s *stores) tenant(id tenant.ID) {
	s.t.Helper()
	s.put(id, store.KindTenant, string(id), tenant.Tenant{ID: id, Name: "T"})
}

func (s *stores) put(t tenant.ID, k store.Kind, slug string, v any) store.Resource {
	s.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := s.catalog.Put(s.t.Context(), store.Put{Tenant: t, Kind: k, Slug: slug, Body: body, At: time.Now()})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// commit commits c as its partition's owner would, up to seq.
func (s *stores) commit(c store.Commit, seq uint64) {
	s.t.Helper()
	incarnation, _, _, err := s.log.Tail(s.t.Context(), c.Partition)
	if err != nil {
		s.t.Fatal(err)
	}
	c.From, c.To = s.offsets[c.Partition], store.Offset{Incarnation: incarnation, Seq: seq}
	if s.offsets[c.Partition], err = s.events.Commit(s.t.Context(), &c); err != nil {
		s.t.Fatal(err)
	}
}

// scanned gives all events of tenants, in order.
func (s *stores) scanned(tenants ...tenant.ID) (all []event.Stored) {
	s.t.Helper()
	for _, t := range tenants {
		if err := s.events.Scan(s.t.Context(), t, store.Scan{}, func(ev *event.Stored) error { own := *ev; own.Keep(nil); all = append(all, own); return nil }); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

func TestEventsOfManyTenantsAndPartitionsFillSeveralFilesAndAllComeBack(t *testing.T) {
	const partitions, messages = 3, 2000
	base := t.TempDir()
	s := openStores(t, filepath.Join(base, "data"), partitions, messages)
	tenants := []tenant.ID{"a", "b", "c", "d", "e", "f", "g"}
	for _, id := range tenants {
		s.tenant(id)
	}
	random := rand.New(rand.NewPCG(7, 7))
	commits := make([]store.Commit, partitions)
	upto := []uint64{messages, messages / 2, 3}
	for _, id := range tenants {
		p := tenant.Partition(id, partitions)
		commits[p].Partition = p
		for seq := uint64(1); seq <= upto[p]; seq++ {
			for i := range random.IntN(4) {
				commits[p].Events = append(commits[p].Events, event.Stored{Tenant: id, Partition: p, Position: event.Position{Seq: seq, Index: uint32(int(id[0])*10 + i)},
					Event: event.Event{ID: fmt.Sprint(id, seq, i), Source: "s", Type: "t", Time: time.Unix(int64(seq), 0), Received: time.Unix(int64(seq), 5)}})
			}
		}
	}
	for p, c := range commits {
		s.commit(c, upto[p])
	}
	to := filepath.Join(base, "backup")
	r, err := backup.Run(t.Context(), backup.WithFileRows(s.source(), 500), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := s.scanned(tenants...)
	if r.Events != uint64(len(want)) || r.Files < 5 || r.Manifest.Partitions[1].Seq != upto[1] || r.Manifest.Partitions[1].Waiting != messages-upto[1] {
		t.Errorf("%d events in %d files, want %d; %+v", r.Events, r.Files, len(want), r.Manifest.Partitions)
	}
	next := make([]uint64, partitions)
	for _, f := range r.Manifest.Events {
		if f.FromSeq <= next[f.Partition] || f.Rows == 0 || f.Rows > 1000 {
			t.Errorf("%+v", f)
		}
		next[f.Partition] = f.ToSeq
	}
	if _, err := backup.Restore(t.Context(), to, target(filepath.Join(base, "new")), nil); err != nil {
		t.Fatal(err)
	}
	restored := openStores(t, filepath.Join(base, "new"), 1, 0)
	if got := restored.scanned(tenants...); !slices.EqualFunc(got, want, same) {
		t.Errorf("%d events came back, want %d", len(got), len(want))
	}
	for p := range partitions {
		_, first, last, err := restored.log.Tail(t.Context(), p)
		if err != nil || last != upto[p] || first != upto[p]+1 || restored.offsets[p].Seq != upto[p] {
			t.Errorf("partition %d goes on with %d behind %d, the store has %+v; %v", p, first, last, restored.offsets[p], err)
		}
	}
}

func transition(id, incident string, kind alert.Phase, value float64) alert.Transition {
	at := time.Date(2026, 11, 1, 2, 3, 4, 5, time.UTC)
	return alert.Transition{ID: id, Tenant: "a", Incident: incident, RuleID: 1001, Rule: "r", Kind: kind, At: at, StartedAt: at, PendingAt: at, Value: value, Worst: 2, Threshold: 5,
		Labels: map[string]string{"x": "<&>"}, Group: "g\x00", GroupLabels: map[string]string{"x": "y"}, Summary: "it's “that”"}
}

func TestIncidentsAndQuarantineComeBackAsTheyWere(t *testing.T) {
	base := t.TempDir()
	s := openStores(t, filepath.Join(base, "data"), 2, 50)
	s.tenant("a")
	p := tenant.Partition("a", 2)
	held := event.Event{ID: "i", Source: "s", Type: "t", Time: time.Unix(1, 2).UTC(), Received: time.Unix(3, 4).UTC(), Data: []byte(`{"a":1e400}`), Identified: true}
	at := time.Unix(9, 9).UTC()
	s.commit(store.Commit{Partition: p, Transitions: []alert.Transition{
		transition("t1", "over", alert.PhaseFiring, math.Inf(1)), transition("t2", "open", alert.PhaseFiring, 7), transition("t3", "over", alert.PhaseOK, math.NaN()),
	}, Quarantine: []store.Quarantined{
		{QuarantineKey: store.QuarantineKey{Tenant: "a", ID: "q1"}, Partition: p, Position: event.Position{Seq: 4, Index: 2}, Stage: "aggregate", Reason: "why", Event: &held, At: at},
		{QuarantineKey: store.QuarantineKey{ID: "message-4"}, Partition: p, Position: event.Position{Seq: 5}, Stage: "decode", Reason: "no idea", Raw: []byte{0, 255, '\n'}, At: at},
	}}, 50)
	to := filepath.Join(base, "backup")
	if _, err := backup.Run(t.Context(), s.source(), to, nil); err != nil {
		t.Fatal(err)
	}
	r, err := backup.Restore(t.Context(), to, target(filepath.Join(base, "new")), nil)
	if err != nil || r.Transitions != 3 || r.Quarantined != 2 {
		t.Fatal(r, err)
	}
	n := openStores(t, filepath.Join(base, "new"), 1, 0)
	want, err1 := s.events.Transitions(t.Context(), 0, 10)
	got, err2 := n.events.Transitions(t.Context(), 0, 10)
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) || err1 != nil || err2 != nil {
		t.Errorf("transitions are\n%+v (%v), were\n%+v (%v)", got, err2, want, err1)
	}
	for _, id := range []tenant.ID{"a", ""} {
		want, err1 := s.events.Quarantined(t.Context(), id, store.QuarantineQuery{})
		got, err2 := n.events.Quarantined(t.Context(), id, store.QuarantineQuery{})
		a, err3 := json.Marshal(want)
		b, err4 := json.Marshal(got)
		err1, err2 = errors.Join(err1, err3), errors.Join(err2, err4)
		if string(a) != string(b) || len(got) != 1 || err1 != nil || err2 != nil {
			t.Errorf("in quarantine are %s (%v), were %s (%v)", b, err2, a, err1)
		}
	}
	state, err := n.events.Partition(t.Context(), p)
	if err != nil || len(state.States) != 1 || state.States[0].Phase != alert.PhaseFiring || state.States[0].Incident != "open" || state.States[0].Group != "g\x00" {
		t.Errorf("%+v, %v", state.States, err)
	}
}

func TestARestoreComputesTheRollupsOfEveryMetric(t *testing.T) {
	base := t.TempDir()
	s := openStores(t, filepath.Join(base, "data"), 1, 300)
	s.tenant("default")
	amount := s.put("default", store.KindMetric, "amount", metric.Definition{Slug: "amount", EventTypes: []string{"charge.*"}, Value: "data.amount / 100.0", Dimensions: map[string]string{"country": "data.card.country"}})
	random := rand.New(rand.NewPCG(5, 6))
	var c store.Commit
	for seq := range uint64(300) {
		c.Events = append(c.Events, charges(seq+1, 20, random)...)
	}
	s.commit(c, 300)
	to := filepath.Join(base, "backup")
	if _, err := backup.Run(t.Context(), s.source(), to, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), to, target(filepath.Join(base, "new")), nil); err != nil {
		t.Fatal(err)
	}
	n := openStores(t, filepath.Join(base, "new"), 1, 0)
	for id, want := range map[int64]func(*event.Stored) bool{
		metric.EventsID: func(*event.Stored) bool { return true },
		amount.ID:       func(ev *event.Stored) bool { return ev.Type == "charge.succeeded" || ev.Type == "charge.failed" },
	} {
		for _, step := range series.Resolutions() {
			counts, got := map[int64]uint64{}, map[int64]uint64{}
			for _, ev := range n.scanned("default") {
				if want(&ev) {
					counts[series.Align(ev.Time, step).Unix()]++
				}
			}
			err := n.events.Rollups(t.Context(), "default", store.RollupQuery{Metric: id, Step: step}, func(r *series.Rollup) error { got[r.Start.Unix()] += r.Agg.Count; return nil })
			if err != nil || fmt.Sprint(got) != fmt.Sprint(counts) {
				t.Errorf("metric %d in steps of %v: %v, raw events say %v (%v)", id, step, got, counts, err)
			}
		}
	}
	state, err := n.events.Partition(t.Context(), 0)
	if err != nil || len(state.Fills) != 2 || !state.Fills[0].Complete || !state.Fills[1].Complete {
		t.Errorf("fills: %+v, %v", state.Fills, err)
	}
}

func TestAStoreThatIsBuiltAnewTakesNothingFromTheBackup(t *testing.T) {
	base := t.TempDir()
	dir, to := filepath.Join(base, "data"), filepath.Join(base, "backup")
	s := openStores(t, dir, 1, 100)
	s.tenant("default")
	all := charges(90, 10, rand.New(rand.NewPCG(1, 1)))
	s.commit(store.Commit{Events: all}, 100)
	if r, err := backup.Run(t.Context(), s.source(), to, nil); err != nil || r.Events != 10 {
		t.Fatal(r, err)
	}
	s.close()
	if _, err := duckdb.SetAside(places(dir).EventsPath, time.Now()); err != nil {
		t.Fatal(err)
	}
	s = openStores(t, dir, 1, 0)
	s.commit(store.Commit{}, 50)
	r, err := backup.Run(t.Context(), s.source(), to, nil)
	if err != nil || r.Manifest.Count() != 10 || r.Manifest.Partitions[0].Seq != 100 || !slices.Equal(r.Behind, []int{0}) {
		t.Errorf("%+v, %v", r, err)
	}
	s.commit(store.Commit{Events: all}, 100)
	if r, err = backup.Run(t.Context(), s.source(), to, nil); err != nil || r.Manifest.Count() != 10 || r.Events != 0 || r.Behind != nil {
		t.Errorf("%+v, %v", r, err)
	}
}
