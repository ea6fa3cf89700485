package verify

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// installation is a data directory as a server leaves it: a log of messages with three events each, and the store of them.
type installation struct {
	t      *testing.T
	dir    string
	log    *bus.Bus
	events *duckdb.Store
	book   *ledger.Ledger
	commit store.Commit
}

const partitions = 2

func newInstallation(t *testing.T) *installation {
	t.Helper()
	in := &installation{t: t, dir: t.TempDir(), book: ledger.New()}
	quiet := slog.New(slog.DiscardHandler)
	in.must(os.WriteFile(filepath.Join(in.dir, "lock"), nil, 0o600))
	things, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(in.dir, "catalog.sqlite")})
	in.must(err)
	_, err = things.Put(t.Context(), store.Put{Tenant: tenant.Default, Kind: store.KindTenant, Slug: string(tenant.Default), Body: []byte(`{"name":"Default"}`), At: noon()})
	in.must(err)
	in.must(things.Close())
	in.log, err = bus.Open(t.Context(), bus.Config{Dir: filepath.Join(in.dir, "log"), Partitions: partitions, Log: quiet})
	in.must(err)
	in.events, err = duckdb.Open(t.Context(), duckdb.Config{Path: filepath.Join(in.dir, "events.duckdb"), CompactEvery: -1})
	in.must(err)
	t.Cleanup(in.stop)
	in.commit.Partition = tenant.Partition(tenant.Default, partitions)
	in.commit.To.Incarnation, _, _, err = in.log.Tail(t.Context(), in.commit.Partition)
	in.must(err)
	in.commit.Fills = []store.Fill{{Tenant: tenant.Default, Partition: in.commit.Partition, Metric: metric.EventsID, Complete: true}}
	return in
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

func (in *installation) stop() {
	in.log.Close()
	in.must(in.events.Close())
}

// message appends a message with some events to the log. Those named in again were sent before.
func (in *installation) message(again ...int) {
	in.t.Helper()
	batch := event.BeginBatch(nil)
	var all []event.Stored
	add := func(n int) {
		ev := event.Event{ID: fmt.Sprint("e", n), Source: "shop", Type: "order", Time: noon().Add(time.Duration(n) * time.Second), Received: noon().Add(time.Minute),
			Data: fmt.Appendf(nil, `{"n":%d}`, n), Identified: true}
		batch = event.AppendEvent(batch, tenant.Default, &ev)
		all = append(all, event.Stored{Event: ev, Tenant: tenant.Default, Partition: in.commit.Partition, Position: event.Position{Index: uint32(len(all))}})
		in.must(in.book.Answered(in.book.Sending([]ledger.Event{{ID: ev.ID, Source: ev.Source, Type: ev.Type, Time: ev.Time}}), ledger.Acknowledged, 202, nil))
	}
	for _, n := range again {
		add(n)
	}
	for range 3 {
		add(len(in.commit.Events) + len(all) - len(again))
	}
	seq, err := in.log.Append(in.t.Context(), in.commit.Partition, batch)
	in.must(err)
	in.commit.To.Seq = seq
	for i := range all {
		if all[i].Seq = seq; i >= len(again) {
			in.commit.Events = append(in.commit.Events, all[i])
		}
	}
}

// keep commits what is to be stored, with the rollups that belong to it, after change had its way.
func (in *installation) keep(change func(*store.Commit)) {
	in.t.Helper()
	p, err := metric.Compile(metric.Events(tenant.Default))
	in.must(err)
	sums := newTally(p)
	var doc metric.Doc
	for i := range in.commit.Events {
		doc.Reset(&in.commit.Events[i].Event)
		sums.add(&doc, &in.commit.Events[i].Event)
	}
	for s, n := range sums.steps {
		if s.width != time.Minute { // which others are made of
			continue
		}
		in.commit.Rollups = append(in.commit.Rollups, series.Rollup{Tenant: tenant.Default, Metric: metric.EventsID, Labels: n.labels, Step: s.width,
			Start: time.Unix(s.start, 0), Agg: series.Agg{Count: n.count}})
	}
	if change != nil {
		change(&in.commit)
	}
	_, err = in.events.Commit(in.t.Context(), &in.commit)
	in.must(err)
}

func (in *installation) verify() *Report {
	in.t.Helper()
	in.stop()
	r, err := Offline(in.t.Context(), OfflineConfig{DataDir: in.dir, EventsPath: filepath.Join(in.dir, "events.duckdb"), CatalogPath: filepath.Join(in.dir, "catalog.sqlite"),
		LogDir: filepath.Join(in.dir, "log"), Ledger: in.book, Tenant: tenant.Default, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	in.must(err)
	return r
}

func TestOfflineFindsWhatIsWrongInADataDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*store.Commit)
		want   []string // checks that fail, and nothing else does
	}{
		"nothing": {},
		"an event is not stored": {func(c *store.Commit) { c.Events = c.Events[1:] },
			[]string{"log 0 and stored events agree", "acknowledged events are stored", "rollups of default equal raw events"}},
		"an event is stored twice": {func(c *store.Commit) {
			e := c.Events[0]
			e.Seq, e.Index = 3, 0 // where it stands in the log a second time
			c.Events = append(c.Events, e)
		}, []string{"log 0 and stored events agree", "events of default are unique", "sent events are stored once", "rollups of default equal raw events"}},
		"an event is stored that nobody sent": {func(c *store.Commit) {
			e := c.Events[0]
			e.ID, e.Index = "ghost", 77
			c.Events = append(c.Events, e)
		}, []string{"log 0 and stored events agree", "stored events were sent", "rollups of default equal raw events"}},
		"an event's data are others":   {func(c *store.Commit) { c.Events[0].Data = []byte(`{}`) }, []string{"log 0 and stored events agree"}},
		"a rollup is wrong":            {func(c *store.Commit) { c.Rollups[0].Agg.Count++ }, []string{"rollups of default equal raw events"}},
		"the offset is ahead":          {func(c *store.Commit) { c.To.Seq = 99 }, []string{"nothing new is gone from the log"}},
		"the offset is of another log": {func(c *store.Commit) { c.To.Incarnation = "other" }, []string{"log 0 and offset agree"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstallation(t)
			in.message()
			in.message()
			in.message(0, 4)
			in.keep(c.change)
			r := in.verify()
			var failed []string
			for _, check := range r.Checks {
				if check.Violations > 0 {
					failed = append(failed, check.Name)
				}
			}
			part := fmt.Sprintf("log %d ", in.commit.Partition)
			got := strings.ReplaceAll(strings.Join(failed, ", "), part, "log 0 ")
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("%q did not fail", w)
				}
			}
			if len(failed) != len(c.want) {
				t.Errorf("failed are %s, want %q", got, c.want)
			}
			if t.Failed() {
				_ = r.WriteText(t.Output())
			}
		})
	}
}

func TestOfflineNamesADamagedFileOfTheCatalogAndReadsTheOther(t *testing.T) {
	for _, name := range []string{"catalog.sqlite", "catalog-copy.sqlite"} {
		in := newInstallation(t)
		in.message()
		in.keep(nil)
		in.stop()
		path := filepath.Join(in.dir, name)
		b, err := os.ReadFile(path)
		in.must(err)
		b[len(b)/2] ^= 0xff
		b[100] ^= 4 // the kind of the first page
		in.must(os.WriteFile(path, b, 0o600))
		r := in.verify()
		for _, check := range r.Checks {
			named := strings.Contains(strings.Join(check.Examples, "\n"), path)
			if about := check.Name == "both files of the catalog are whole"; (check.Violations > 0) != about || named != about {
				t.Errorf("%s: %s: %q", name, check.Name, check.Examples)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}

func TestOfflineSaysWhatIsNotInTheStoreYet(t *testing.T) {
	in := newInstallation(t)
	in.message()
	in.keep(nil)
	in.message()
	r := in.verify()
	notes := ""
	for _, c := range r.Checks {
		notes += strings.Join(c.Notes, "\n")
	}
	if !strings.Contains(notes, "1 messages of the log are not in the store yet") {
		t.Errorf("the notes are %q", notes)
	}
	if r.Ledger.Lost != 3 {
		t.Errorf("%d lost; the store has 3 of 6", r.Ledger.Lost)
	}
}

func TestOfflineKeepsOffARunningServersData(t *testing.T) {
	dir := t.TempDir()
	if _, err := Offline(t.Context(), OfflineConfig{DataDir: dir, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "not a data directory") {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := Offline(t.Context(), OfflineConfig{DataDir: dir, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "running server") {
		t.Errorf("data in use: %v", err)
	}
}
