package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/client"
)

func compact(t testing.TB, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// parsingFiles are the texts of JSONTestSuite by name, or some of our own that cover the same ground. The first letter of a name
// says whether a text must be accepted (y), must be refused (n), or may be either (i).
func parsingFiles(t *testing.T, shared bool) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	if shared {
		dir := sharedData(t, "json", "parsing")
		names, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(names) < 300 {
			t.Fatalf("%d files in %s: %v", len(names), dir, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(name)] = b
		}
		return files
	}
	for i, text := range []string{`[]`, `{}`, ` [ ] `, `null`, `true`, `0`, `-0`, `1e-2`, `123456789012345678901234567890.000000000000000000001`, `1E400`, `""`, `"\u0000"`, `"\ud83d\ude00"`,
		`"\uD800 alone"`, "\"\u2028\u2029\u007f\"", `"</script>&"`, `{"a":1,"a":2}`, `{"":{"":[[[]]]}}`, "[1,\n2\t,\r3]", "\"\U0001f4a9\"", `9007199254740993`} {
		files[fmt.Sprintf("y_%d", i)] = []byte(text)
	}
	for i, text := range []string{``, ` `, `[`, `]`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{a:1}`, `{"a":1,}`, `{"a":1 "b":2}`, `'a'`, `"a`, "\"a\nb\"", `"\x41"`, `"\u12g4"`, `01`, `1.`, `.5`, `+1`, `1e`, `0x1`, `NaN`,
		`-Infinity`, `True`, `nul`, `[1]]`, `{}}`, `/**/1`, "\x00", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\xaf\"", "\ufeff1", strings.Repeat("[", 100_000)} {
		files[fmt.Sprintf("n_%d", i)] = []byte(text)
	}
	files["i_0"] = []byte(strings.Repeat("[", 500) + strings.Repeat("]", 500))
	return files
}

func TestDataIsAnyJSONAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"own": false, "JSONTestSuite": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := parsingFiles(t, shared)
			s := newServer(t)
			taken := map[string]string{} // what must come back, by id
			for _, name := range slices.Sorted(maps.Keys(files)) {
				data := files[name]
				body := slices.Concat([]byte(`{"type":"json","source":"s","id":"`+name+`","data":`), data, []byte("}"))
				r := s.exchange("POST", "/v1/events", header("Content-Type", "application/json"), body)
				switch {
				case r.Status == http.StatusAccepted && name[0] != 'n':
					taken[name] = compact(t, data)
				case r.Status == http.StatusAccepted || name[0] == 'y':
					t.Errorf("%s: %d %s", name, r.Status, clip(r.Body))
				case name[0] == 'n':
					wantProblem(t, r, http.StatusBadRequest)
				case r.Status != http.StatusBadRequest:
					wantProblem(t, r, http.StatusUnprocessableEntity)
				}
				if bytes.ContainsAny(data, "\n\r") {
					continue
				}
				// As a line between two good ones it takes neither with it.
				lines := slices.Concat([]byte(`{"type":"json.before"}`+"\n"), bytes.Replace(body, []byte(`"source":"s"`), []byte(`"source":"lines"`), 1), []byte("\n"+`{"type":"json.after"}`))
				receipt, err := s.SendRaw(t.Context(), "application/x-ndjson", lines, nil)
				if want := map[bool]int{true: 3, false: 2}[taken[name] != ""]; err != nil || receipt.Accepted != want {
					t.Errorf("%s as a line: %+v, %v", name, receipt, err)
				}
			}
			stored := s.waitForEvents(client.EventQuery{Type: "json", Source: "s"}, len(taken))
			for _, e := range stored {
				if string(e.Data) != taken[e.ID] {
					t.Errorf("%s came back as %s, want %s", e.ID, clip(e.Data), clip([]byte(taken[e.ID])))
				}
				one, err := s.Event(t.Context(), "s", e.ID)
				if err != nil || string(one.Data) != taken[e.ID] {
					t.Errorf("%s by itself: %s, %v", e.ID, clip(one.Data), err)
				}
			}
			s.wantNoErrors()
		})
	}
}

// naughtyStrings are texts that break programs.
func naughtyStrings(t *testing.T, shared bool) []string {
	t.Helper()
	if !shared {
		return []string{"", " ", "\t", "\n", "\r\n", ".", "..", "/", "//", "/../", "%", "%2F", "%00", "a/b", "?q=1", "#", "a:b", ":", ",", "a,b", "*", "**", "a*", "__other__", "null", "undefined", "true", "0", "-1", "1e309", "NaN",
			"'", "\"", "'; DROP TABLE events; --", "$1", "?", "\\", "\\u0000", "</script>", "${7*7}", "{{7*7}}", "\x01\x02\x1f\x7f", "\u0080\u009f", "\u00a0", "\u200b", "\ufeff", "\ufffe", "\uffff", "\U0010ffff",
			"é", "e\u0301", "ß", "İ", "田中さん", "السلام", "\u202etxt", "👩‍👩‍👧‍👦", "🏳️‍🌈", strings.Repeat("Ω", 512), strings.Repeat("x", 1025), "a\x00b"}
	}
	b, err := os.ReadFile(sharedData(t, "json", "naughty-strings.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	if err := json.Unmarshal(b, &all); err != nil || len(all) < 500 {
		t.Fatalf("%d strings: %v", len(all), err)
	}
	return all
}

// attributeAllows says whether an attribute may have this value.
func attributeAllows(s string) bool {
	return s != "" && len(s) <= 1024 && !strings.Contains(s, "\x00") && utf8.ValidString(s)
}

func TestTextComesBackByteForByte(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]bool{"own": false, "big list of naughty strings": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testText(t, naughtyStrings(t, shared))
		})
	}
}

func testText(t *testing.T, texts []string) {
	s := newServer(t)
	slices.Sort(texts)
	texts = slices.Compact(texts)
	var batch []client.Event
	var wanted []string
	rejected := map[int]string{}
	for _, text := range texts {
		if !attributeAllows(text) {
			rejected[len(batch)] = "invalid_id"
		} else {
			wanted = append(wanted, text)
		}
		batch = append(batch, client.Event{ID: text, Source: text, Type: text, Subject: text, Data: map[string]string{"text": text, text: "name"}})
	}
	for i, text := range texts { // an empty text is left out by the client, so an id is made, and the type is what is missing
		if text == "" {
			rejected[i] = "missing_type"
		}
	}
	receipt, err := s.Send(t.Context(), batch...)
	if err != nil || receipt.Accepted != len(wanted) {
		t.Fatalf("%d accepted of %d, want %d, %v: %+v", receipt.Accepted, len(batch), len(wanted), err, receipt.Rejected)
	}
	wantRejected(t, receipt.Rejected, rejected)
	data := make([]client.Event, 0, len(texts))
	for i, text := range texts {
		data = append(data, client.Event{ID: fmt.Sprint(i), Source: "data", Type: "data", Data: text})
	}
	s.send(data...)
	for _, e := range s.waitForEvents(client.EventQuery{Source: "data"}, len(data)) {
		var got string
		var i int
		if _, err := fmt.Sscan(e.ID, &i); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(e.Data, &got); err != nil || got != texts[i] {
			t.Errorf("data %q came back as %q, %v", texts[i], got, err)
		}
	}

	seen := map[string]bool{}
	for _, e := range s.waitForEvents(client.EventQuery{}, len(data)+len(wanted)) {
		if e.Source == "data" {
			continue
		}
		wantText(t, e, e.ID)
		seen[e.ID] = true
	}
	if len(seen) != len(wanted) {
		t.Errorf("%d of %d texts listed", len(seen), len(wanted))
	}
	if _, err := s.PutMetric(t.Context(), client.Metric{Slug: "texts", Filter: `source != "data"`, Dimensions: map[string]string{"text": "data.text", "id": "id"}}); err != nil {
		t.Fatal(err)
	}
	s.waitForFill("texts")
	for _, text := range wanted {
		if !seen[text] {
			t.Errorf("%q is not listed", text)
		}
		one, err := s.Event(t.Context(), text, text)
		if err != nil {
			t.Errorf("GET of %q: %v", text, err)
			continue
		}
		wantText(t, one, text)
		for _, q := range []client.EventQuery{{Source: text}, {Subject: text}} {
			if found, _, err := s.Events(t.Context(), q); err != nil || len(found) != 1 || found[0].ID != text {
				t.Errorf("filter %+v finds %d events, %v", q, len(found), err)
			}
		}
	}
	for _, label := range []struct{ metric, dimension string }{{"events", "source"}, {"events", "type"}, {"texts", "text"}, {"texts", "id"}} {
		r, err := s.Query(t.Context(), client.Query{Metric: label.metric, Agg: "count", GroupBy: []string{label.dimension}, Limit: 1000, Step: "1h"})
		if err != nil {
			t.Fatal(err)
		}
		totals := r.Totals(label.dimension)
		for _, text := range wanted {
			if isLabel(text) && totals[text] != 1 {
				t.Errorf("%s by %s: %q is counted %v times", label.metric, label.dimension, text, totals[text])
			}
		}
	}
	for _, text := range wanted[:min(len(wanted), 120)] {
		if !isLabel(text) {
			continue
		}
		r, err := s.Query(t.Context(), client.Query{Metric: "events", Where: map[string][]string{"type": {text}, "source": {text, "nobody"}}, Step: "1m"})
		if err != nil || len(r.Series) != 1 || r.Series[0].Total == nil || *r.Series[0].Total != 1 {
			t.Errorf("where type and source are %q: %+v, %v", text, r.Series, err)
		}
	}
	s.wantNoErrors()
}

// isLabel says whether a text is a label as it is: longer ones are cut, and one stands for the rest of all.
func isLabel(text string) bool { return len(text) <= 256 && text != client.Other }

func wantText(t *testing.T, e client.StoredEvent, text string) {
	t.Helper()
	var data map[string]string
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Errorf("%q: %v", text, err)
		return
	}
	if e.ID != text || e.Source != text || e.Type != text || e.Subject != text || data["text"] != text && text != "text" || data[text] != "name" {
		t.Errorf("%q came back as id %q, source %q, type %q, subject %q, data %q", text, e.ID, e.Source, e.Type, e.Subject, data)
	}
}

func TestTypesWithSeparatorsCanBeListed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, kind := range []string{"a b", "a&b", "a=b", "a+b", "ä/b", "a%2Cb", "a,b", ",", "/"} {
		s.send(client.Event{ID: kind, Type: kind})
		for _, e := range s.waitForEvents(client.EventQuery{Type: kind}, 1) {
			if e.Type != kind {
				t.Errorf("type %q finds %q", kind, e.Type)
			}
		}
	}
	r := s.exchange("GET", "/v1/events?type="+url.QueryEscape("a b")+"&type="+url.QueryEscape("a,b"), nil, nil)
	var page struct{ Data []client.StoredEvent }
	if err := json.Unmarshal(r.Body, &page); err != nil || len(page.Data) != 2 {
		t.Errorf("two types find %d events, %v", len(page.Data), err)
	}
}

// waitForFill waits until a metric has been computed from the events stored before it.
func (s *server) waitForFill(slug string) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, func() error {
		m, err := s.Metric(s.t.Context(), slug)
		if err == nil && (m.Fill == nil || m.Fill.State != "done") {
			err = fmt.Errorf("%s is filled to %+v", slug, m.Fill)
		}
		return err
	})
}
