package e2e

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// download gets an address as somebody without credentials does.
func download(t *testing.T, address string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestReportsOfEventsAndMetricsAreWrittenAndDownloaded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	var sent []client.Event
	for i := range 3000 {
		sent = append(sent, client.Event{ID: fmt.Sprint("e", i), Source: "shop", Type: []string{"order.paid", "order.sent"}[i%2], Subject: "=SUM(A1)", Data: map[string]any{"n": i}})
	}
	s.send(sent...)
	s.waitForEvents(client.EventQuery{}, len(sent))

	ordered, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv", From: time.Now().Add(-time.Hour), Query: client.ReportQuery{Type: []string{"order.paid"}, Source: "shop"}})
	if err != nil || ordered.ID == "" || ordered.URL != "" {
		t.Fatalf("%+v, %v", ordered, err)
	}
	done, err := s.WaitForReport(t.Context(), ordered.ID)
	if err != nil || done.Rows != 1500 || done.Progress != 1 || done.Bytes == 0 || done.URL == "" || done.URLExpiresAt == nil || done.ExpiresAt == nil {
		t.Fatalf("%+v, %v", done, err)
	}
	var file bytes.Buffer
	if err := s.DownloadReport(t.Context(), done, &file); err != nil || int64(file.Len()) != done.Bytes {
		t.Fatalf("%d bytes of %d, %v", file.Len(), done.Bytes, err)
	}
	lines, err := csv.NewReader(&file).ReadAll()
	if err != nil || len(lines) != 1501 || lines[1][0] != "e0" || lines[1500][0] != "e2998" || lines[1][3] != "'=SUM(A1)" || lines[1][6] != `{"n":0}` {
		t.Fatalf("%d lines, %v, %v", len(lines), lines[:min(2, len(lines))], err)
	}

	parquet, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "parquet"})
	if err != nil {
		t.Fatal(err)
	}
	if parquet, err = s.WaitForReport(t.Context(), parquet.ID); err != nil || parquet.Rows != 3000 {
		t.Fatalf("%+v, %v", parquet, err)
	}
	whole := download(t, parquet.URL, nil)
	text, err := io.ReadAll(whole.Body)
	if err != nil || whole.StatusCode != http.StatusOK || !bytes.HasPrefix(text, []byte("PAR1")) || !bytes.HasSuffix(text, []byte("PAR1")) || int64(len(text)) != parquet.Bytes {
		t.Errorf("%d bytes, %s, %v", len(text), whole.Status, err)
	}
	if h := whole.Header; h.Get("Content-Type") != "application/vnd.apache.parquet" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=events-") || h.Get("Cache-Control") != "private, no-store" {
		t.Errorf("the headers are %v", h)
	}
	part := download(t, parquet.URL, header("Range", "bytes=-4"))
	if tail, err := io.ReadAll(part.Body); err != nil || part.StatusCode != http.StatusPartialContent || string(tail) != "PAR1" {
		t.Errorf("a range: %s %q %v", part.Status, tail, err)
	}

	points, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "metric", Format: "csv", Query: client.ReportQuery{Metric: "events", Agg: "count", Step: "1m", GroupBy: []string{"type"}}})
	if err != nil {
		t.Fatal(err)
	}
	if points, err = s.WaitForReport(t.Context(), points.ID); err != nil || points.Rows < 60 {
		t.Errorf("%+v, %v", points, err)
	}
	if list, err := s.Reports(t.Context()); err != nil || len(list) != 3 || list[0].ID != points.ID {
		t.Errorf("%+v, %v", list, err)
	}
	s.wantNoErrors()
}

func TestAReportsAddressCannotBeChangedAndItsTenantIsItsOnlyReader(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.send(client.Event{ID: "1", Source: "shop", Type: "order.paid"})
	s.waitForEvents(client.EventQuery{}, 1)
	ordered, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.WaitForReport(t.Context(), ordered.ID)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(done.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(u *url.URL, v url.Values){
		"no signature":    func(_ *url.URL, v url.Values) { v.Del("signature") },
		"a later end":     func(_ *url.URL, v url.Values) { v.Set("expires", "99999999999") },
		"an earlier end":  func(_ *url.URL, v url.Values) { v.Set("expires", "1") },
		"another id":      func(u *url.URL, _ url.Values) { u.Path = strings.Replace(u.Path, done.ID, strings.Repeat("0", 32), 1) },
		"a way out":       func(u *url.URL, _ url.Values) { u.Path = "/v1/reports/..%2f..%2fcatalog/file" },
		"other signature": func(_ *url.URL, v url.Values) { v.Set("signature", strings.Repeat("A", 43)) },
	} {
		changed, v := *address, address.Query()
		change(&changed, v)
		changed.RawQuery = v.Encode()
		if resp := download(t, changed.String(), nil); resp.StatusCode != http.StatusForbidden || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	other := s.tenant(client.Tenant{ID: "other"})
	if _, err := other.Report(t.Context(), done.ID); client.StatusOf(err) != http.StatusNotFound {
		t.Errorf("another tenant gets %v", err)
	}
	if list, err := other.Reports(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees %v, %v", list, err)
	}
	theirs, err := other.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = other.WaitForReport(t.Context(), theirs.ID); err != nil || theirs.Rows != 0 {
		t.Errorf("another tenant's report has %d rows, %v", theirs.Rows, err)
	}
	viewer, err := s.MakeKey(t.Context(), "viewer", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	reader := client.New(s.url, viewer.Secret)
	if _, err := reader.Report(t.Context(), done.ID); err != nil {
		t.Errorf("a viewer cannot see it: %v", err)
	}
	if _, err := reader.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv"}); client.StatusOf(err) != http.StatusForbidden {
		t.Errorf("a viewer orders: %v", err)
	}
	for name, o := range map[string]client.ReportOrder{
		"a metric among events":   {Kind: "events", Format: "csv", Query: client.ReportQuery{Metric: "events"}},
		"a metric without name":   {Kind: "metric", Format: "csv"},
		"a metric that is not":    {Kind: "metric", Format: "csv", Query: client.ReportQuery{Metric: "nothing"}},
		"a step that is none":     {Kind: "metric", Format: "csv", Query: client.ReportQuery{Metric: "events", Step: "often"}},
		"another format":          {Kind: "events", Format: "xlsx"},
		"an end before the start": {Kind: "events", Format: "csv", From: time.Now(), To: time.Now().Add(-time.Hour)},
	} {
		if _, err := s.OrderReport(t.Context(), o); client.StatusOf(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.wantNoErrors()
}

func TestReportsOutliveARestartAndTheirAddressesDoNot(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.send(client.Event{ID: "1", Source: "shop", Type: "order.paid"})
	s.waitForEvents(client.EventQuery{}, 1)
	ordered, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "parquet"})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.WaitForReport(t.Context(), ordered.ID)
	if err != nil {
		t.Fatal(err)
	}
	old := s.url
	s.kill()
	s.start()
	after, err := s.Report(t.Context(), ordered.ID)
	if err != nil || after.State != "done" || after.Bytes != before.Bytes {
		t.Fatalf("%+v, %v", after, err)
	}
	if resp := download(t, strings.Replace(before.URL, old, s.url, 1), nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("an address from before the restart: %s", resp.Status)
	}
	if err := s.DownloadReport(t.Context(), after, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestReportsLeaveTheDiskToEvents(t *testing.T) {
	t.Parallel()
	dir, grow := smallDisk(t, "256m")
	s := startServer(t, &server{dir: dir, env: []string{"PULSESTREAM_BOOTSTRAP_API_KEY=" + administratorKey}})
	s.send(client.Event{ID: "1", Source: "shop", Type: "order.paid"})
	s.waitForEvents(client.EventQuery{}, 1)
	// A tenth of the disk is left to events, of which they would take a half: between the two they are taken, and reports are not.
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for freeOn(t, dir) > 22<<20 {
		if _, err := ballast.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv"})
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || refused.RetryAfter() == 0 || !strings.Contains(refused.Detail, "no room") {
		t.Errorf("an order on a disk that is nearly full: %v", err)
	}
	s.send(client.Event{ID: "2", Source: "shop", Type: "order.paid"})
	grow("512m")
	ordered, err := s.OrderReport(t.Context(), client.ReportOrder{Kind: "events", Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WaitForReport(t.Context(), ordered.ID); err != nil {
		t.Error(err)
	}
}

// freeOn is how many bytes are free on the file system of a directory.
func freeOn(t *testing.T, dir string) uint64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Bavail * uint64(fs.Bsize)
}
