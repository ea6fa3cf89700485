package ingest_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest/cloudevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonlines"
)

// FuzzBinaryHeaders: an event in binary mode has the attributes that its headers say, unescaped, and no others; a header that names none, or
// is no text, has it refused.
func FuzzBinaryHeaders(f *testing.F) {
	f.Add("Subject", "order%2D7", "application/json", []byte(`{"a":1}`))
	f.Add("Region", "%E2%98%83 \"x\"", "text/plain", []byte("snow \xe2\x98\x83"))
	f.Add("Data", "x", "", []byte("{"))
	f.Add("Id", "%00", "application/octet-stream", []byte{0xff})
	f.Add("Time", "2026-01-01T00:00:00Z", "application/x+json; a=b", []byte(" 1 "))
	f.Fuzz(func(t *testing.T, name, value, media string, body []byte) {
		h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Type": {"t"}, "Ce-Id": {"i"}, "Ce-Source": {"s"}, "Content-Type": {media}}
		name = http.CanonicalHeaderKey("ce-" + name)
		h[name] = []string{value}
		b := batch()
		if err := cloudevents.Parse(h, body, b); err != nil {
			t.Fatal(err)
		}
		if len(b.Events)+len(b.Rejected) != 1 {
			t.Fatalf("%d events and %d rejected of one", len(b.Events), len(b.Rejected))
		}
		if len(b.Rejected) > 0 {
			return
		}
		ev := b.Events[0]
		want, err := url.PathUnescape(value)
		if err != nil {
			t.Fatalf("%s: %q is taken", name, value)
		}
		got := map[string]string{"Ce-Id": ev.ID, "Ce-Source": ev.Source, "Ce-Type": ev.Type, "Ce-Subject": ev.Subject}
		if text, known := got[name]; known && text != want {
			t.Fatalf("%s: %q became %q", name, value, text)
		}
		for _, text := range got {
			if strings.ContainsRune(text, 0) || len(text) > event.MaxAttrBytes {
				t.Fatalf("%+v is taken", ev)
			}
		}
		shown := event.AppendJSON(nil, &ev)
		var p event.Parser
		if _, problem := p.Parse(shown, false); problem != nil && len(shown) <= event.MaxBytes {
			t.Fatalf("it is shown as %q: %v", shown, problem)
		}
	})
}

// FuzzLinesAreReadOneByOne: each line that is not blank is one event or one refusal, whatever stands around it, and the same as it is alone.
func FuzzLinesAreReadOneByOne(f *testing.F) {
	f.Add([]byte("{\"type\":\"a\"}\n\r\n{\"type\":\"b\",\"id\":\"1\"}\r\n{"))
	f.Add([]byte("\n{\"type\":\"a\"}{\"type\":\"b\"}\n\u2028\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, want, accepted := batch(), 0, 0
		if bytes.Count(body, []byte("\n")) > 1000 {
			return
		}
		if err := jsonlines.Parse(body, all); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.SplitSeq(body, []byte("\n")) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			want++
			alone := batch()
			if err := jsonlines.Parse(line, alone); err != nil {
				t.Fatal(err)
			}
			accepted += len(alone.Events)
		}
		if len(all.Events) != accepted || len(all.Events)+len(all.Rejected) != want {
			t.Fatalf("%q: %d events and %d rejected, the lines by themselves are %d of %d", body, len(all.Events), len(all.Rejected), accepted, want)
		}
	})
}

// FuzzOneAndManyAgree: an event is taken in an array just as it is taken alone, and in each strict form only if it is in the free one.
func FuzzOneAndManyAgree(f *testing.F) {
	f.Add([]byte(`{"type":"a","specversion":"1.0","id":"1","source":"s","time":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"type":"a","data":[[[]]]} `))
	f.Fuzz(func(t *testing.T, one []byte) {
		taken := func(body []byte, form jsonevents.Form, strict bool) int {
			b := batch()
			if jsonevents.Parse(body, form, strict, b) != nil {
				return -1
			}
			return len(b.Events)
		}
		alone := taken(one, jsonevents.One, false)
		if alone < 0 {
			return
		}
		if n := taken(bytes.Join([][]byte{[]byte("["), []byte("]")}, one), jsonevents.Array, false); n != alone {
			t.Fatalf("%q alone is %d events, in an array %d", one, alone, n)
		}
		if n := taken(one, jsonevents.One, true); n > alone {
			t.Fatalf("%q is %d CloudEvents and %d events", one, n, alone)
		}
		if taken(one, jsonevents.Array, false) >= 0 {
			t.Fatalf("%q is taken for an array", one)
		}
	})
}

// FuzzTimes: no event outside of the retention is taken, however its time is written.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "2262-04-11T23:47:16.854775808Z", "1677-09-21T00:12:43.145224191Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := batch()
		body := append(event.AppendQuoted([]byte(`{"type":"a","time":`), s), '}')
		if jsonevents.Parse(body, jsonevents.One, false, b) != nil {
			return
		}
		for _, ev := range b.Events {
			if !time.Unix(0, ev.Time.UnixNano()).Equal(ev.Time) {
				t.Fatalf("%q is taken as %s, which does not fit", s, ev.Time)
			}
		}
	})
}
