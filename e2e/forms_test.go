package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/pulsestream/pulsestream/client"
)

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdCompressed(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

// header makes a header of names and values, one after the other.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestEveryFormOfBodyIsTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	when := time.Now().UTC().Add(-time.Hour).Truncate(time.Millisecond)
	stamp := when.Format(time.RFC3339Nano)
	// %s is the type, which tells the forms apart; n is how many events the body has.
	one := func(kind, id, extra string) string {
		return fmt.Sprintf(`{%s"id":%q,"source":"shop","type":%q,"subject":"order-7","time":%q,"data":{"amount":12.50,"items":["a","b"]},"region":"eu"}`, extra, id+kind, kind, stamp)
	}
	cloud := `"specversion":"1.0",`
	for _, form := range []struct {
		name, media string
		header      http.Header
		body        func(kind string) string
		encode      func(testing.TB, []byte) []byte
		n           int
	}{
		{name: "json-one", media: "application/json", n: 1, body: func(k string) string { return one(k, "a", "") }},
		{name: "json-array", media: "application/json", n: 2, body: func(k string) string { return "[" + one(k, "a", "") + "," + one(k, "b", "") + "]" }},
		{name: "json-charset", media: "application/json; charset=UTF-8", n: 1, body: func(k string) string { return " \r\n" + one(k, "a", "") + "\t\n" }},
		{name: "structured", media: "application/cloudevents+json", n: 1, body: func(k string) string { return one(k, "a", cloud) }},
		{name: "batch", media: "application/cloudevents-batch+json", n: 2, body: func(k string) string { return "[" + one(k, "a", cloud) + "," + one(k, "b", cloud) + "]" }},
		{name: "ndjson", media: "application/x-ndjson", n: 2, body: func(k string) string { return one(k, "a", "") + "\n\n" + one(k, "b", "") }},
		{name: "ndjson-crlf", media: "application/x-ndjson", n: 2, body: func(k string) string { return one(k, "a", "") + "\r\n" + one(k, "b", "") + "\r\n" }},
		{name: "gzip", media: "application/json", header: header("Content-Encoding", "gzip"), encode: gzipped, n: 1, body: func(k string) string { return one(k, "a", "") }},
		{name: "zstd", media: "application/x-ndjson", header: header("Content-Encoding", "zstd"), encode: zstdCompressed, n: 2,
			body: func(k string) string { return one(k, "a", "") + "\n" + one(k, "b", "") }},
		{name: "binary", media: "application/json", n: 1, header: header("Ce-Specversion", "1.0", "Ce-Id", "binary", "Ce-Source", "shop", "Ce-Type", "form.binary",
			"Ce-Subject", "order-7", "Ce-Time", stamp, "Ce-Region", "eu"), body: func(string) string { return `{"amount":12.50,"items":["a","b"]}` }},
		{name: "binary-gzip", media: "application/json", n: 1, header: header("Ce-Specversion", "1.0", "Ce-Id", "binary-gzip", "Ce-Source", "shop", "Ce-Type", "form.binary-gzip",
			"Ce-Subject", "order%2D7", "Ce-Time", stamp, "Ce-Region", "eu", "Content-Encoding", "gzip"), encode: gzipped,
			body: func(string) string { return `{"amount":12.50,"items":["a","b"]}` }},
	} {
		t.Run(form.name, func(t *testing.T) {
			kind := "form." + form.name
			body := []byte(form.body(kind))
			if form.encode != nil {
				body = form.encode(t, body)
			}
			receipt, err := s.SendRaw(t.Context(), form.media, body, form.header)
			if err != nil || receipt.Accepted != form.n || len(receipt.Rejected) != 0 {
				t.Fatalf("%+v, %v", receipt, err)
			}
			for _, e := range s.with(t).waitForEvents(client.EventQuery{Type: kind}, form.n) {
				if e.Source != "shop" || e.Subject != "order-7" || !e.Time.Equal(when) || string(e.Data) != `{"amount":12.50,"items":["a","b"]}` {
					t.Errorf("stored as %+v with data %s", e, e.Data)
				}
				if string(e.Extensions["region"]) != `"eu"` {
					t.Errorf("extension attributes %v, want region", e.Extensions)
				}
				if since := time.Since(e.ReceivedAt); since < 0 || since > time.Minute {
					t.Errorf("received at %s", e.ReceivedAt)
				}
			}
		})
	}
	s.wantNoErrors()
}

func TestBinaryModeTakesAnyBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, form := range map[string]struct{ media, body, data, base64 string }{
		"text":  {"text/plain; charset=utf-8", "snow ☃ \"man\"", `"snow ☃ \"man\""`, ""},
		"bytes": {"application/octet-stream", "\x00\xff\x01", "", `"AP8B"`},
		"none":  {"", "", "", ""},
		"xml":   {"application/xml", "<a/>", "", `"PGEvPg=="`},
		"json":  {"application/vnd.shop+json", `[1e400,"\u0000"]`, `[1e400,"\u0000"]`, ""},
	} {
		h := header("Ce-Specversion", "1.0", "Ce-Id", name, "Ce-Source", "shop", "Ce-Type", "binary")
		if r, err := s.SendRaw(t.Context(), form.media, []byte(form.body), h); err != nil || r.Accepted != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		eventually(t, 10*time.Second, func() error {
			e, err := s.Event(t.Context(), "shop", name)
			if err == nil && (string(e.Data) != form.data || string(e.Extensions["data_base64"]) != form.base64) {
				t.Errorf("%s: data %s, data_base64 %s", name, e.Data, e.Extensions["data_base64"])
			}
			return err
		})
	}
}

func TestWhatTheSenderLeavesOutIsFilledIn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	before := time.Now().Add(-time.Second)
	for range 2 { // without an id there is no idempotency
		if r, err := s.SendRaw(t.Context(), "application/json", []byte(`{"type":"bare"}`), nil); err != nil || r.Accepted != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	all := s.waitForEvents(client.EventQuery{Type: "bare"}, 2)
	if all[0].ID == all[1].ID {
		t.Errorf("two events with the id %s", all[0].ID)
	}
	for _, e := range all {
		if e.ID == "" || e.Source != "bootstrap" || e.Data != nil || e.Subject != "" || e.Time.Before(before) || e.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("filled in as %+v", e)
		}
	}
}

func TestAnEventSentAgainIsCountedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := client.Event{ID: "same", Source: "shop", Type: "twice", Data: 1}
	other := client.Event{ID: "same", Source: "other", Type: "twice", Data: 2} // the source is part of an event's identity
	s.send(e, e, other)
	s.send(e)
	s.stop()
	s.start()
	s.send(e)
	s.send(client.Event{ID: "last", Source: "shop", Type: "twice"})
	s.waitForEvents(client.EventQuery{Type: "twice"}, 3)
	r, err := s.Query(t.Context(), client.Query{Metric: "events", Agg: "count", GroupBy: []string{"source"}, Where: map[string][]string{"type": {"twice"}}})
	if got := fmt.Sprint(r.Totals("source")); err != nil || got != "map[other:1 shop:2]" {
		t.Errorf("counted %s, %v", got, err)
	}
	s.wantNoErrors()
}

func TestEventsAreListedByPageAndFilter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	base := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	var batch []client.Event
	for i := range 250 {
		at := base.Add(time.Duration(i/5) * time.Second) // five at each instant: pages must not lose those of the same time
		batch = append(batch, client.Event{ID: fmt.Sprint(i), Source: fmt.Sprintf("s%d", i%2), Type: fmt.Sprintf("page.%d", i%3), Subject: fmt.Sprint(i % 7), Time: &at})
	}
	s.send(batch...)
	count := func(q client.EventQuery, keep func(i int) bool) {
		t.Helper()
		want := 0
		for i := range batch {
			if keep(i) {
				want++
			}
		}
		all := s.waitForEvents(q, want)
		seen := map[string]bool{}
		for i, e := range all {
			if seen[e.ID] {
				t.Errorf("%+v: %s is there twice", q, e.ID)
			}
			seen[e.ID] = true
			if i > 0 && e.Time.After(all[i-1].Time) {
				t.Errorf("%+v: %s is newer than the one before it", q, e.ID)
			}
		}
	}
	count(client.EventQuery{Limit: 7}, func(int) bool { return true })
	count(client.EventQuery{Type: "page.1", Limit: 50}, func(i int) bool { return i%3 == 1 })
	count(client.EventQuery{Type: "page.*"}, func(int) bool { return true })
	count(client.EventQuery{Type: "other.*"}, func(int) bool { return false })
	count(client.EventQuery{Source: "s1", Subject: "3"}, func(i int) bool { return i%2 == 1 && i%7 == 3 })
	count(client.EventQuery{From: base.Add(10 * time.Second), To: base.Add(20 * time.Second), Limit: 9}, func(i int) bool { return i/5 >= 10 && i/5 < 20 })
	for query, where := range map[string]string{"limit=0": "query.limit", "limit=1001": "query.limit", "limit=x": "query.limit", "cursor=junk": "query.cursor",
		"from=yesterday": "query.from", "to=1e9": "query.to"} {
		p := wantProblem(t, s.exchange("GET", "/v1/events?"+query, nil, nil), http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != where {
			t.Errorf("%s: errors %+v, want %s", query, p.Errors, where)
		}
	}
	s.wantNoErrors()
}

// wantRejected checks the codes of rejected events by index.
func wantRejected(t testing.TB, got []client.Rejected, want map[int]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rejected, want %d: %+v", len(got), len(want), got)
	}
	for _, r := range got {
		if want[r.Index] != r.Code || r.Detail == "" {
			t.Errorf("event %d rejected as %s (%s), want %q", r.Index, r.Code, r.Detail, want[r.Index])
		}
	}
}

func TestGoodEventsOfABadRequestAreTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	good := func(id string) string { return `{"type":"mixed","id":"` + id + `"}` }
	large := `{"type":"mixed","data":"` + strings.Repeat("x", 256<<10) + `"}`
	deep := `{"type":"mixed","data":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`
	bad := []struct{ text, code string }{
		{`{"type":"mixed","time":"yesterday"}`, "invalid_time"},
		{`{"type":"mixed","time":1700000000}`, "invalid_time"},
		{`{"type":"mixed","time":"2001-01-01T00:00:00Z"}`, "time_out_of_range"},
		{`{"type":"mixed","time":"` + time.Now().Add(11*time.Minute).UTC().Format(time.RFC3339) + `"}`, "time_out_of_range"},
		{`{"id":"no-type"}`, "missing_type"},
		{`{"type":""}`, "missing_type"},
		{`{"type":7}`, "invalid_type"},
		{`{"type":"` + strings.Repeat("t", 1025) + `"}`, "invalid_type"},
		{`{"type":"mixed","id":""}`, "invalid_id"},
		{`{"type":"mixed","id":{}}`, "invalid_id"},
		{`{"type":"mixed","id":"nul \u0000"}`, "invalid_id"},
		{`{"type":"mixed","id":"half of a pair \ud83d"}`, "invalid_id"},
		{`{"type":"mixed","source":""}`, "invalid_source"},
		{`{"type":"mixed","subject":["x"]}`, "invalid_subject"},
		{`{"type":"mixed","extra":{"structure":1}}`, "invalid_attribute"},
		{`{"type":"mixed","type":"mixed"}`, "invalid_attribute"},
		{`{"type":"mixed","specversion":"0.3"}`, "invalid_specversion"},
		{`{"type":"mixed","data_base64":"%%%"}`, "invalid_data"},
		{`null`, "not_an_object"}, {`[]`, "not_an_object"}, {`"text"`, "not_an_object"}, {`7`, "not_an_object"},
		{deep, "too_deep"},
		{large, "too_large"},
	}
	onlyLines := []struct{ text, code string }{{`{`, "malformed"}, {`{"type":"mixed"}{}`, "malformed"}, {"\xff\xfe", "malformed"}, {`{"type":"mixed","data":"` + "\xc3\x28" + `"}`, "malformed"},
		{`{'type':'mixed'}`, "malformed"}, {"\x00", "malformed"}}
	for _, form := range []struct {
		name, media, open, between, end string
		extra                           []struct{ text, code string }
	}{
		{name: "array", media: "application/json", open: "[", between: ",", end: "]"},
		{name: "lines", media: "application/x-ndjson", between: "\n", end: "\n", extra: onlyLines},
	} {
		t.Run(form.name, func(t *testing.T) {
			var parts []string
			want := map[int]string{}
			goods := 0
			for i, b := range append(bad[:len(bad):len(bad)], form.extra...) {
				parts = append(parts, good(fmt.Sprintf("%s-%d", form.name, i)), b.text)
				want[2*i+1] = b.code
				goods++
			}
			body := form.open + strings.Join(parts, form.between) + form.end
			receipt, err := s.SendRaw(t.Context(), form.media, []byte(body), nil)
			if err != nil || receipt.Accepted != goods {
				t.Fatalf("%d accepted, want %d, %v", receipt.Accepted, goods, err)
			}
			wantRejected(t, receipt.Rejected, want)
			s.with(t).send(client.Event{ID: form.name + "-after", Type: "mixed"})
			eventually(t, 10*time.Second, func() error {
				all, err := s.AllEvents(t.Context(), client.EventQuery{Type: "mixed"})
				n := 0
				for _, e := range all {
					if strings.HasPrefix(e.ID, form.name) {
						n++
					}
				}
				if err == nil && n != goods+1 {
					err = fmt.Errorf("%d stored, want %d", n, goods+1)
				}
				return err
			})
		})
		t.Run(form.name+" without a good one", func(t *testing.T) {
			for _, b := range append(bad[:len(bad):len(bad)], form.extra...) {
				r := s.with(t).exchange("POST", "/v1/events", header("Content-Type", form.media), []byte(form.open+b.text+form.end))
				p := wantProblem(t, r, http.StatusUnprocessableEntity)
				wantRejected(t, p.Rejected, map[int]string{0: b.code})
				if len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Location, "[0]") {
					t.Errorf("%s: errors %+v", clip([]byte(b.text)), p.Errors)
				}
			}
		})
	}
	s.wantNoErrors()
}

func TestTheLimitsThemselvesAreAllowed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pad := func(text string, n int) string {
		return strings.Replace(text, "PAD", strings.Repeat("x", n-len(text)+3), 1)
	}
	full := pad(`{"type":"limit.size","data":"PAD"}`, 256<<10)
	if len(full) != 256<<10 {
		t.Fatal(len(full))
	}
	long := strings.Repeat("é", 512) // 1 024 bytes
	attributes, err := json.Marshal(map[string]string{"type": "limit.attributes", "id": long, "source": long, "subject": long})
	if err != nil {
		t.Fatal(err)
	}
	deep := `{"type":"limit.depth","data":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`
	early, late := time.Now().Add(9*time.Minute), time.Now().Add(-30*24*time.Hour+time.Minute)
	times := fmt.Sprintf(`[{"type":"limit.time","time":%q},{"type":"limit.time","time":%q}]`, early.Format(time.RFC3339), late.Format(time.RFC3339))
	for _, body := range []string{full, string(attributes), deep, times} {
		if r, err := s.SendRaw(t.Context(), "application/json", []byte(body), nil); err != nil || len(r.Rejected) != 0 {
			t.Errorf("%s: %+v, %v", clip([]byte(body)), r, err)
		}
	}
	many := []byte("[" + strings.TrimSuffix(strings.Repeat(`{"type":"limit.count"},`, 10_000), ",") + "]")
	if r, err := s.SendRaw(t.Context(), "application/json", many, nil); err != nil || r.Accepted != 10_000 {
		t.Errorf("10 000 events: %+v, %v", r, err)
	}
	// 16 MiB less a little, in events of 128 KiB.
	event := pad(`{"type":"limit.body","data":"PAD"}`, 128<<10-2) + ","
	body := "[" + strings.TrimSuffix(strings.Repeat(event, 128), ",") + "]"
	if len(body) > 16<<20 || len(body) < 16<<20-256 {
		t.Fatal(len(body))
	}
	if r, err := s.SendRaw(t.Context(), "application/json", gzipped(t, []byte(body)), header("Content-Encoding", "gzip")); err != nil || r.Accepted != 128 {
		t.Errorf("16 MiB: %+v, %v", r, err)
	}
	eventually(t, 20*time.Second, func() error {
		r, err := s.Query(t.Context(), client.Query{Metric: "events", GroupBy: []string{"type"}, From: time.Now().Add(-31 * 24 * time.Hour), To: time.Now().Add(time.Hour)})
		if got := fmt.Sprint(r.Totals("type")); err == nil && got != "map[limit.attributes:1 limit.body:128 limit.count:10000 limit.depth:1 limit.size:1 limit.time:2]" {
			err = fmt.Errorf("counted %s", got)
		}
		return err
	})
	if e, err := s.Event(t.Context(), long, long); err != nil || e.Subject != long {
		t.Errorf("the event with long attributes: %v", err)
	}
	s.wantNoErrors()
}
