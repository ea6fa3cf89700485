package duckdb

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
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
	for _, sql := range tables() {
		if sql != segmentsTable && sql != flushedTable && sql != flushedRow {
			texts = append(texts, strings.Replace(sql, fmt.Sprintf("VALUES (%d)", schemaVersion), "VALUES (1)", 1))
		}
	}
	texts = append(texts, fmt.Sprintf(`INSERT INTO events SELECT 7, 'acme', 2, i, 3, 'e' || i, 'shop', 'sold', '', i * 1000000000, i * 1000000000 + 5, true,
		CASE WHEN i %% 2 = 0 THEN '{"n":' || i || '}' END, NULL FROM range(1, %d) r(i)`, events+1),
		`INSERT INTO offsets VALUES (2, 'one', 9, 4)`)
	for _, sql := range texts {
		if _, err := c.exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
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
