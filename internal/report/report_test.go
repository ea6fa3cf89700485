package report_test

import (
	"database/sql"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" //nolint:depguard // that DuckDB reads the files is what is promised

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestDuckDBReadsEveryEventOfAParquetReportByteForByte(t *testing.T) {
	all := append(odd()[:20:20], realistic(300_000)...)
	for i := range all { // more different types than a dictionary takes, in both row groups
		if i >= 50_000 {
			all[i].Type += "." + all[i].ID + strings.Repeat("x", i%60)
		}
	}
	r := newRig(t, &events{all: append(all, odd()...)}, nil) // more than a row group
	r.run()
	want := append(all, odd()[:20]...)
	done := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.Parquet}), report.Done, report.Failed)
	if info, err := os.Stat(r.file(done)); err != nil || done.State != report.Done || done.Rows != int64(len(want)) || done.Bytes != info.Size() || done.Progress != 1 {
		t.Fatalf("%+v, %v, %v", done, info, err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT encode(id), encode(source), encode(type), encode(subject), epoch_ns("time"), epoch_ns(received), encode(data::VARCHAR), encode(extensions::VARCHAR),
		typeof(id), typeof("time"), typeof(data) FROM read_parquet($1)`, r.file(done))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var id, source, kind, subject, data, extensions []byte
		var happened, received int64
		var types [3]string
		if err := rows.Scan(&id, &source, &kind, &subject, &happened, &received, &data, &extensions, &types[0], &types[1], &types[2]); err != nil {
			t.Fatal(err)
		}
		w := &want[n]
		if string(id) != w.ID || string(source) != w.Source || string(kind) != w.Type || string(subject) != w.Subject || happened != w.Time.UnixNano() || received != w.Received.UnixNano() ||
			string(data) != string(w.Data) || (data == nil) != (w.Data == nil) || string(extensions) != string(w.Extensions) || (extensions == nil) != (w.Extensions == nil) {
			t.Fatalf("row %d is %q %q %q %q %d %d %q %q, want %+v", n, id, source, kind, subject, happened, received, data, extensions, w)
		}
		if types != [3]string{"VARCHAR", "TIMESTAMP_NS", "JSON"} {
			t.Fatalf("the types are %v", types)
		}
	}
	if err := rows.Err(); err != nil || n != len(want) {
		t.Fatalf("%d rows, want %d, %v", n, len(want), err)
	}
	var columns string
	if err := db.QueryRowContext(t.Context(), `SELECT string_agg(column_name, ' ') FROM (DESCRIBE FROM read_parquet($1))`, r.file(done)).Scan(&columns); err != nil || columns != "id source type subject time received data extensions" {
		t.Errorf("the columns are %q, %v", columns, err)
	}
}

func TestACSVReportHasEveryEventAndNoFormula(t *testing.T) {
	want := odd()[:20]
	r := newRig(t, &events{all: odd()}, nil)
	r.run()
	done := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}), report.Done, report.Failed)
	text := string(mustRead(t, r.file(done)))
	if !strings.HasPrefix(text, "id,source,type,subject,time,received,data,extensions\r\n") || !strings.HasSuffix(text, "\r\n") {
		t.Errorf("the file begins %.80q", text)
	}
	// encoding/csv makes \n of \r\n inside a cell; the texts that have one are compared so.
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(lines) != len(want)+1 || done.Rows != int64(len(want)) {
		t.Fatalf("%d lines, %v, %+v", len(lines), err, done)
	}
	plain := func(s string) string { return strings.TrimPrefix(strings.ReplaceAll(s, "\r\n", "\n"), "'") }
	sent := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	for i, line := range lines[1:] {
		w := &want[i]
		if plain(line[0]) != sent(w.ID) || plain(line[1]) != sent(w.Source) || line[4] != w.Time.Format(time.RFC3339Nano) || line[6] != string(w.Data) || line[7] != string(w.Extensions) {
			t.Errorf("line %d is %q, want %+v", i, line, w)
		}
		for _, cell := range line[:4] {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r") {
				t.Errorf("line %d has the formula %q", i, cell)
			}
		}
	}
}

func TestAReportOfAMetricHasARowForEachPoint(t *testing.T) {
	r := newRig(t, &events{}, nil)
	r.run()
	o := report.Order{Kind: report.Metric, Metric: "revenue", Format: report.CSV, Parameters: map[string][]string{"group_by": {"country"}}}
	if errs, err := r.Check(t.Context(), "acme", &o); err != nil || len(errs) > 0 {
		t.Fatal(errs, err)
	}
	done := r.wait(r.order("acme", o), report.Done, report.Failed)
	want := "time,label_country,value\r\n" +
		"2026-11-23T00:00:00Z,\"'=DE\",12.5\r\n2026-11-23T00:01:00Z,\"'=DE\",\r\n2026-11-23T00:00:00Z,__other__,-3\r\n2026-11-23T00:01:00Z,__other__,1e+21\r\n"
	if got := string(mustRead(t, r.file(done))); got != want || done.Rows != 4 {
		t.Errorf("%q, want %q, %+v", got, want, done)
	}
	o.Format = report.Parquet
	done = r.wait(r.order("acme", o), report.Done, report.Failed)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRowContext(t.Context(), `SELECT string_agg("time" || ' ' || label_country || ' ' || coalesce(value::VARCHAR, 'null'), '; ') FROM read_parquet($1)`, r.file(done)).Scan(&got); err != nil ||
		got != "2026-11-23 00:00:00 =DE 12.5; 2026-11-23 00:01:00 =DE null; 2026-11-23 00:00:00 __other__ -3.0; 2026-11-23 00:01:00 __other__ 1e+21" {
		t.Errorf("%q, %v", got, err)
	}
	o.Metric = "nothing"
	if _, err := r.Check(t.Context(), "acme", &o); !errors.Is(err, report.ErrNotFound) {
		t.Errorf("an unknown metric: %v", err)
	}
}

func TestAReportIsItsTenantsOnly(t *testing.T) {
	r := newRig(t, &events{all: odd()}, nil)
	r.run()
	done := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}), report.Done)
	if _, err := r.Get("other", done.ID); !errors.Is(err, report.ErrNotFound) {
		t.Errorf("another tenant gets %v", err)
	}
	if mine, theirs := r.List("acme"), r.List("other"); len(mine) != 1 || len(theirs) != 0 {
		t.Errorf("%v and %v are listed", mine, theirs)
	}
}

func TestAnAddressIsGoodForItsReportAndItsHourOnly(t *testing.T) {
	r := newRig(t, &events{all: odd()}, nil)
	r.run()
	done := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}), report.Done)
	theirs := r.wait(r.order("other", report.Order{Kind: report.Events, Format: report.CSV}), report.Done)
	address, until := r.Address(&done)
	if want := r.clock.now().Add(time.Hour); !until.Equal(want) {
		t.Errorf("good until %s, want %s", until, want)
	}
	_, f, err := r.Download(done.ID, address)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil || len(text) != int(done.Bytes) {
		t.Errorf("%d bytes of %d, %v", len(text), done.Bytes, err)
	}
	_ = f.Close()
	for name, change := range map[string]func(id *string, v map[string][]string){
		"another report's id": func(id *string, _ map[string][]string) { *id = theirs.ID },
		"no report's id":      func(id *string, _ map[string][]string) { *id = strings.Repeat("0", 32) },
		"a later end":         func(_ *string, v map[string][]string) { v["expires"] = []string{"99999999999"} },
		"an end of words":     func(_ *string, v map[string][]string) { v["expires"] = []string{"never"} },
		"no end":              func(_ *string, v map[string][]string) { delete(v, "expires") },
		"no signature":        func(_ *string, v map[string][]string) { delete(v, "signature") },
		"a changed signature": func(_ *string, v map[string][]string) { v["signature"] = []string{"A" + v["signature"][0][1:] + "A"} },
		"more than signature": func(_ *string, v map[string][]string) { v["signature"] = []string{v["signature"][0] + "\n"} },
	} {
		id, changed := done.ID, map[string][]string{"expires": address["expires"], "signature": address["signature"]}
		change(&id, changed)
		if _, _, err := r.Download(id, changed); !errors.Is(err, report.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.clock.add(time.Hour)
	if _, _, err := r.Download(done.ID, address); !errors.Is(err, report.ErrExpired) {
		t.Errorf("after an hour: %v", err)
	}
	again, _ := r.Address(&done)
	if _, f, err = r.Download(done.ID, again); err != nil {
		t.Errorf("a new address: %v", err)
	}
	_ = f.Close()
	r.open() // as after a restart
	if _, _, err := r.Download(done.ID, again); !errors.Is(err, report.ErrForbidden) {
		t.Errorf("an address of the time before a restart: %v", err)
	}
}

func TestAReportThatTheServerDidNotFinishIsWrittenAfterTheNextStart(t *testing.T) {
	e := &events{all: odd(), hold: make(chan struct{})}
	r := newRig(t, e, nil)
	r.run()
	one := r.order("acme", report.Order{Kind: report.Events, Format: report.Parquet})
	r.wait(one, report.Running)
	r.stop()
	if got := r.wait(one, report.Queued); got.Attempts != 0 {
		t.Errorf("a clean end counts: %+v", got)
	}
	if files := r.files(); len(files) != 1 || files[0] != one.ID+".json" {
		t.Errorf("a stop leaves %v", files)
	}
	stray := filepath.Join(filepath.Dir(filepath.Join(r.dir, "x")), "stray.part")
	if err := os.WriteFile(stray, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	close(e.hold)
	r.open()
	r.run()
	if done := r.wait(one, report.Done, report.Failed); done.Rows != 20 {
		t.Errorf("%+v", done)
	}
	if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stray file is still there: %v", err)
	}
	if err := os.Truncate(r.file(one), 10); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.open()
	if got := r.wait(one, report.Failed, report.Done); got.State != report.Failed || got.Reason == "" {
		t.Errorf("a report whose file was cut off is %+v", got)
	}
}

func TestAReportThatEndsTheServerThreeTimesFails(t *testing.T) {
	e := &events{all: odd(), hold: make(chan struct{})}
	r := newRig(t, e, nil)
	one := r.order("acme", report.Order{Kind: report.Events, Format: report.CSV})
	for range 3 {
		r.run() // and is not stopped, as if it were killed: what comes after is another life
		r.wait(one, report.Running)
		waitForFile(t, filepath.Join(r.dir, "*", one.ID+".part"))
		r.open()
	}
	if got := r.wait(one, report.Failed, report.Queued, report.Running); got.State != report.Failed || !strings.Contains(got.Reason, "3 times") {
		t.Errorf("%+v", got)
	}
}

func waitForFile(t *testing.T, pattern string) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("no %s", pattern)
		case <-tick.C:
		}
	}
}

func TestAReportEndsBeforeTheDiskIsFullAndLeavesNothing(t *testing.T) {
	const size = 1 << 30
	var asked atomic.Int64
	e := &events{all: realistic(50_000)}
	r := newRig(t, e, func(c *report.Config) {
		c.Disk = func(string) (uint64, uint64, error) {
			return uint64(max(0, size/10+3<<20-(asked.Add(1)-1)<<20)), size, nil // something else fills it meanwhile
		}
	})
	r.run()
	one := r.order("acme", report.Order{Kind: report.Events, Format: report.CSV})
	if got := r.wait(one, report.Done, report.Failed); got.State != report.Failed || !strings.Contains(got.Reason, "no room") || got.Rows != 0 {
		t.Errorf("%+v", got)
	}
	if files := r.files(); len(files) != 1 {
		t.Errorf("it leaves %v", files)
	}
	if _, err := r.Order("acme", report.Order{Kind: report.Events, Format: report.CSV}); !errors.Is(err, report.ErrNoRoom) {
		t.Errorf("an order on a full disk: %v", err)
	}
}

func TestAStoreThatIsNotThereIsAskedAgainAndAFaultIsNotToldInFull(t *testing.T) {
	for _, c := range []struct {
		fail   error
		reason string
	}{{store.ErrUnavailable, "was not available"}, {query.ErrBusy, "too many questions"}, {errors.New("secret of /var/lib"), "has been logged"}} {
		r := newRig(t, &events{all: odd(), fail: c.fail}, nil)
		r.run()
		got := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.Parquet}), report.Done, report.Failed)
		if want := map[bool]int{true: 3, false: 1}[errors.Is(c.fail, store.ErrUnavailable) || errors.Is(c.fail, query.ErrBusy)]; got.State != report.Failed || !strings.Contains(got.Reason, c.reason) || got.Attempts != want {
			t.Errorf("%v: %+v", c.fail, got)
		}
	}
}

func TestATimeThatParquetCannotHoldFailsTheReportAndSaysSo(t *testing.T) {
	far := event.Stored{Tenant: "acme", Event: event.Event{ID: "x", Time: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}}
	r := newRig(t, &events{all: []event.Stored{far}}, nil)
	r.run()
	if got := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.Parquet}), report.Done, report.Failed); !strings.Contains(got.Reason, "order CSV") {
		t.Errorf("%+v", got)
	}
}

func TestReportsAreRemovedAfterADayAndBeyondANumber(t *testing.T) {
	r := newRig(t, &events{all: odd()}, nil)
	r.run()
	var all []report.Report
	for range 22 {
		r.clock.add(time.Second)
		all = append(all, r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}), report.Done))
	}
	waitFor(t, func() bool { return len(r.List("acme")) == 20 })
	if list := r.List("acme"); list[0].ID != all[21].ID || list[19].ID != all[2].ID {
		t.Errorf("the newest 20 are not those that are left")
	}
	r.clock.add(25 * time.Hour)
	last := r.wait(r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}), report.Done)
	waitFor(t, func() bool { return len(r.List("acme")) == 1 })
	if files := r.files(); len(files) != 2 || !slices.Contains(files, last.ID+".csv") {
		t.Errorf("there are %v", files)
	}
}

func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatal("it does not come about")
		case <-tick.C:
		}
	}
}

func TestATenantWaitsForItsOwnReportsNotForOthers(t *testing.T) {
	e := &events{all: odd(), hold: make(chan struct{})}
	r := newRig(t, e, nil)
	r.run()
	var mine []report.Report
	for range 5 {
		r.clock.add(time.Second)
		mine = append(mine, r.order("acme", report.Order{Kind: report.Events, Format: report.CSV}))
	}
	if _, err := r.Order("acme", report.Order{Kind: report.Events, Format: report.CSV}); !errors.Is(err, report.ErrTooMany) {
		t.Errorf("a sixth: %v", err)
	}
	r.wait(mine[0], report.Running)
	r.clock.add(time.Second)
	theirs := r.order("other", report.Order{Kind: report.Events, Format: report.CSV})
	r.wait(theirs, report.Running)
	for _, one := range mine[1:] {
		r.wait(one, report.Queued)
	}
	close(e.hold)
	for _, one := range append(mine, theirs) {
		r.wait(one, report.Done)
	}
}

func TestManyTenantsAtOnceGetTheirOwnEvents(t *testing.T) {
	e := &events{}
	const tenants, each = 8, 500
	for i := range tenants * each {
		ev := odd()[0]
		ev.Tenant, ev.Seq = tenant.ID(rune('a'+i%tenants)), uint64(i+1)
		e.all = append(e.all, ev)
	}
	r := newRig(t, e, nil)
	r.run()
	var all []report.Report
	for i := range tenants {
		all = append(all, r.order(tenant.ID(rune('a'+i)), report.Order{Kind: report.Events, Format: report.Parquet}))
	}
	for _, one := range all {
		if done := r.wait(one, report.Done, report.Failed); done.Rows != each {
			t.Errorf("%+v", done)
		}
	}
}

func TestADirectoryThatCannotBeMadeRefusesOrdersAndLetsTheServerStart(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, &events{}, func(c *report.Config) { c.Dir = filepath.Join(blocked, "reports") })
	r.run()
	if _, err := r.Order("acme", report.Order{Kind: report.Events, Format: report.CSV}); err == nil {
		t.Error("an order is taken and cannot be kept")
	}
}
