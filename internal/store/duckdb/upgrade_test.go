package duckdb

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// fileOfSchema1 makes a file as the first releases did: events stand in a table.
func fileOfSchema1(t *testing.T, path string, events int) {
	t.Helper()
	db, err := openInstance(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	c, err := db.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	texts := []string{`CREATE TABLE events (
		finder UINTEGER NOT NULL, tenant VARCHAR NOT NULL, "partition" INTEGER NOT NULL, seq UBIGINT NOT NULL, idx UINTEGER NOT NULL,
		id VARCHAR NOT NULL, source VARCHAR NOT NULL, type VARCHAR NOT NULL, subject VARCHAR NOT NULL,
		"time" BIGINT NOT NULL, received BIGINT NOT NULL, identified BOOLEAN NOT NULL, data VARCHAR, extensions VARCHAR)`}
	texts = append(texts, tablesOfSchema(1)...)
	texts = append(texts, fmt.Sprintf(`INSERT INTO events SELECT 7, 'acme', 2, i, 3, 'e' || i, 'shop', 'sold', '', i * 1000000000, i * 1000000000 + 5, true,
		CASE WHEN i %% 2 = 0 THEN '{"n":' || i || '}' END, NULL FROM range(1, %d) r(i)`, events+1),
		`INSERT INTO offsets VALUES (2, 'one', 9, 4)`)
	for _, sql := range texts {
		if err := c.exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// tablesOfSchema are the tables of an earlier release but those of events.
func tablesOfSchema(version int) []string {
	var texts []string
	for _, sql := range tables() {
		if sql == usageTable || version < 3 && sql == rollupFiles().schema() || version < 2 && (sql == eventFiles().schema() || sql == flushedTable || sql == flushedRow) {
			continue
		}
		texts = append(texts, strings.Replace(sql, fmt.Sprintf("VALUES (%d)", schemaVersion), fmt.Sprintf("VALUES (%d)", version), 1))
	}
	if version > 2 {
		return texts
	}
	for _, table := range []string{"rollup_1m", "rollup_1h", "rollup_1d"} {
		texts = append(texts, `CREATE TABLE `+table+` (
			tenant VARCHAR NOT NULL, metric BIGINT NOT NULL, start BIGINT NOT NULL, labels VARCHAR[] NOT NULL, gen BIGINT NOT NULL,
			count UBIGINT NOT NULL, "values" UBIGINT NOT NULL, sum DOUBLE NOT NULL, min DOUBLE, max DOUBLE, last DOUBLE,
			last_at BIGINT, sketches BLOB)`)
	}
	return texts
}

// fileOfSchema2 makes a file as the releases did that had rollups in tables: those of two hours, by minute and label, each in several parts, of which some
// are merged and in the hours and days already.
func fileOfSchema2(t *testing.T, path string) (want map[time.Duration]map[string]*series.Agg) {
	t.Helper()
	db, err := openInstance(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	c, err := db.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, sql := range append(tablesOfSchema(2), `INSERT INTO offsets VALUES (2, 'one', 9, 4)`) {
		if err := c.exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	want = map[time.Duration]map[string]*series.Agg{}
	start := time.Date(2026, 3, 14, 23, 0, 0, 0, time.UTC)
	put := func(table string, at time.Time, label string, gen int, a *series.Agg) {
		low, high, last, lastAt := any(nil), any(nil), any(nil), any(nil)
		if a.Values > 0 {
			low, high, last, lastAt = a.Min, a.Max, a.Last, a.LastAt
		}
		err := c.exec(`INSERT INTO `+table+` VALUES ('acme', 7, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, at.UnixNano(), []string{label, "ä, 'b'"}, int64(gen),
			a.Count, a.Values, a.Sum, low, high, last, lastAt, a.Sketches())
		if err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for part := range 400 {
		at := start.Add(time.Duration(r.IntN(120)) * time.Minute)
		label := []string{"x", "", "zz"}[r.IntN(3)]
		var a series.Agg
		for range 1 + r.IntN(5) {
			a.Add(series.Observation{At: at.Add(time.Duration(r.IntN(60)) * time.Second), Value: float64(r.IntN(1000)) / 10, Numeric: r.IntN(3) > 0, Distinct: r.Uint64(), HasDistinct: true})
		}
		put("rollup_1m", at, label, part%3, &a)
		for _, step := range series.Resolutions() {
			if want[step] == nil {
				want[step] = map[string]*series.Agg{}
			}
			key := fmt.Sprint(series.Align(at, step).UnixNano(), label)
			if want[step][key] == nil {
				want[step][key] = &series.Agg{}
			}
			want[step][key].Merge(&a)
			if part%3 == 0 && step == time.Hour {
				put("rollup_1h", series.Align(at, step), label, 0, &a)
			}
		}
	}
	return want
}

// sketchesOf are what the sketches of an aggregate tell.
func sketchesOf(a *series.Agg) string {
	c := a.Clone()
	keys, many := c.DistinctKeys(nil)
	return fmt.Sprintf("%d %d %x %x", c.Unique(), keys, many, c.AppendQuantiles(nil))
}

func TestAFileWithRollupsInTablesIsBroughtUpToDateWithAllOfThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	want := fileOfSchema2(t, path)
	if err := os.MkdirAll(path+segmentsSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		for step, all := range want {
			n := 0
			q := store.RollupQuery{Metric: 7, Step: step, GroupBy: []int{0, 1}}
			err := s.Rollups(t.Context(), "acme", q, func(u *series.Rollup) error {
				n++
				w := all[fmt.Sprint(u.Start.UnixNano(), u.Labels[0])]
				if w == nil || u.Labels[1] != "ä, 'b'" || u.Agg.Count != w.Count || u.Agg.Last != w.Last || sketchesOf(&u.Agg) != sketchesOf(w) {
					t.Errorf("round %d: %+v, want %+v", round, u, w)
				}
				return nil
			})
			if err != nil || n != len(all) {
				t.Errorf("round %d: %d rollups of %v, want %d: %v", round, n, step, len(all), err)
			}
		}
		if p, err := s.Partition(t.Context(), 2); err != nil || p.Offset != (store.Offset{Incarnation: "one", Seq: 9, Revision: 4}) {
			t.Errorf("the partition is at %+v, %v", p.Offset, err)
		}
		checkFiles(t, s)
		if round == 1 {
			if _, err := s.Compact(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSegmentsOfTheReleaseBeforeAreReadAndMergedAsTheyAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	old, err := os.ReadFile(filepath.Join("..", "segment", "testdata", "first.seg"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := openInstance(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.connect()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(path+segmentsSuffix, 0o700); err != nil {
		t.Fatal(err)
	}
	texts := append(tablesOfSchema(3), `INSERT INTO offsets VALUES (1, 'one', 9, 4)`, `UPDATE flushed SET number = 7`)
	for n := 1; n <= mergeRun; n++ {
		texts = append(texts, fmt.Sprintf(`INSERT INTO segments VALUES (%d, %d, 1500, %d, 1800000000000000000, 1800001499000000000)`, n, n, len(old)))
		if err := os.WriteFile(filepath.Join(path+segmentsSuffix, fmt.Sprintf("%012d.seg", n)), old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range texts {
		if err := c.exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	c.close()
	db.close()
	for round := range 3 {
		s, err := Open(t.Context(), Config{Path: path, CompactEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1500 {
			if i%50 == 7 || i%13 != 0 {
				continue
			}
			ev, err := s.Event(t.Context(), "acme", "shop", fmt.Sprintf("evt_%06d", i*7919))
			if err != nil || ev.Position != (event.Position{Seq: uint64(1 + i/100), Index: uint32(i % 100)}) || string(ev.Data) != fmt.Sprintf(`{"n":%d}`, i%10) {
				t.Fatalf("round %d: event %d is %+v, %v", round, i, ev, err)
			}
		}
		if round == 1 {
			if _, err := s.mergeSegments(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(s.mem.segments.all); n != 1 {
				t.Errorf("%d segments after merging", n)
			}
		}
		checkFiles(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileOfTheFirstReleaseIsBroughtUpToDateWithEveryEventInIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	const events = 3000
	fileOfSchema1(t, path, events)
	for range 2 { // the second time there is nothing to do
		s, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = s.Scan(t.Context(), "acme", store.Scan{}, func(ev *event.Stored) error {
			n++
			data := ""
			if n%2 == 0 {
				data = fmt.Sprintf(`{"n":%d}`, n)
			}
			want := event.Stored{Tenant: "acme", Partition: 2, Position: event.Position{Seq: uint64(n), Index: 3}}
			if ev.ID != fmt.Sprint("e", n) || ev.Source != "shop" || ev.Type != "sold" || ev.Position != want.Position || ev.Partition != 2 ||
				string(ev.Data) != data || (ev.Data == nil) != (data == "") || !ev.Time.Equal(time.Unix(int64(n), 0)) || !ev.Identified {
				t.Fatalf("event %d is %+v", n, ev)
			}
			return nil
		})
		if err != nil || n != events {
			t.Fatalf("%d events, %v", n, err)
		}
		p, err := s.Partition(t.Context(), 2)
		if err != nil || p.Offset != (store.Offset{Incarnation: "one", Seq: 9, Revision: 4}) {
			t.Fatalf("the partition is at %+v, %v", p.Offset, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
