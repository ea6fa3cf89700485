package event_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func TestAnEventIsReadWithAllItsAttributes(t *testing.T) {
	var p event.Parser
	ev, problem := p.Parse([]byte(`{"specversion":"1.0","id":"1","source":"shop","type":"order.paid","subject":"s","time":"2026-01-31t12:00:00.123456789+01:00",
		"data":{"n":9007199254740993,"a":1,"a":2},"traceparent":"00-1","sampled":true}`), true)
	if problem != nil {
		t.Fatal(problem)
	}
	want := time.Date(2026, 1, 31, 11, 0, 0, 123456789, time.UTC)
	if ev.ID != "1" || ev.Source != "shop" || ev.Type != "order.paid" || ev.Subject != "s" || !ev.Time.Equal(want) || !ev.Identified {
		t.Errorf("%+v", ev)
	}
	if string(ev.Data) != `{"n":9007199254740993,"a":1,"a":2}` {
		t.Errorf("data is no longer what was sent: %s", ev.Data)
	}
	if string(ev.Extensions) != `{"traceparent":"00-1","sampled":true}` {
		t.Errorf("extensions: %s", ev.Extensions)
	}
}

func TestWhatAnEventShowsCanBeSentAgain(t *testing.T) {
	var p event.Parser
	ev, problem := p.Parse([]byte(`{"type":"a\u0001b","id":"<&>","data":[null,"\ud83d\ude00"],"ext":"x"}`), false)
	if problem != nil {
		t.Fatal(problem)
	}
	ev.Source, ev.Time, ev.Received = "s", time.Unix(1, 5).UTC(), time.Unix(2, 7).UTC()
	shown := event.AppendJSON(nil, &ev)
	if !json.Valid(shown) {
		t.Fatalf("not JSON: %s", shown)
	}
	again, problem := p.Parse(shown, false)
	if problem != nil {
		t.Fatal(problem)
	}
	again.Received = ev.Received
	if twice := event.AppendJSON(nil, &again); !bytes.Equal(twice, shown) {
		t.Errorf("%s\n%s", shown, twice)
	}
}

func TestAnEventThatBreaksARuleIsRefusedWithItsCode(t *testing.T) {
	deep := func(n int) string {
		return `{"type":"x","data":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, c := range []struct {
		name, raw, code string
		strict          bool
	}{
		{"not JSON", `{"type":`, event.CodeMalformed, false},
		{"text behind", `{"type":"x"} x`, event.CodeMalformed, false},
		{"an array", `["x"]`, event.CodeNotAnObject, false},
		{"a string", `"x"`, event.CodeNotAnObject, false},
		{"no type", `{}`, event.CodeMissingType, false},
		{"null type", `{"type":null}`, event.CodeMissingType, false},
		{"empty type", `{"type":""}`, event.CodeMissingType, false},
		{"type is a number", `{"type":1}`, event.CodeType, false},
		{"id is a number", `{"type":"x","id":1}`, event.CodeInvalidID, false},
		{"id is empty", `{"type":"x","id":""}`, event.CodeInvalidID, false},
		{"id is too long", `{"type":"x","id":"` + strings.Repeat("x", 1025) + `"}`, event.CodeInvalidID, false},
		{"source has NUL", `{"type":"x","source":"a\u0000"}`, event.CodeSource, false},
		{"subject is a lone surrogate", `{"type":"x","subject":"\ud800"}`, event.CodeSubject, false},
		{"time without an offset", `{"type":"x","time":"2026-01-01T00:00:00"}`, event.CodeTime, false},
		{"time is a number", `{"type":"x","time":1}`, event.CodeTime, false},
		{"February 30", `{"type":"x","time":"2026-02-30T00:00:00Z"}`, event.CodeTime, false},
		{"extension with structure", `{"type":"x","user":{"id":1}}`, event.CodeAttribute, false},
		{"type twice", `{"type":"x","type":"y"}`, event.CodeAttribute, false},
		{"data_base64 is not", `{"type":"x","data_base64":"%"}`, event.CodeData, false},
		{"another specversion", `{"type":"x","specversion":"0.3"}`, event.CodeSpecVersion, false},
		{"33 levels of data", deep(33), event.CodeTooDeep, false},
		{"a CloudEvent without specversion", `{"type":"x","id":"1","source":"s"}`, event.CodeSpecVersion, true},
		{"a CloudEvent without id", `{"specversion":"1.0","type":"x","source":"s"}`, event.CodeInvalidID, true},
		{"a CloudEvent without source", `{"specversion":"1.0","type":"x","id":"1"}`, event.CodeSource, true},
		{"too large", `{"type":"x","data":"` + strings.Repeat("x", event.MaxBytes) + `"}`, event.CodeTooLarge, false},
	} {
		var p event.Parser
		if _, problem := p.Parse([]byte(c.raw), c.strict); problem == nil || problem.Code != c.code {
			t.Errorf("%s: got %v, want %s", c.name, problem, c.code)
		}
	}
	var p event.Parser
	if _, problem := p.Parse([]byte(deep(32)), false); problem != nil {
		t.Errorf("32 levels of data are allowed: %v", problem)
	}
}

func TestTimesOutsideTheRetentionAreRefused(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at time.Time
		ok bool
	}{
		{now, true}, {now.Add(10 * time.Minute), true}, {now.Add(10*time.Minute + 1), false}, {now.AddDate(0, 0, 1), false},
		{now.Add(-30 * 24 * time.Hour), true}, {now.Add(-30*24*time.Hour - 1), false}, {time.Unix(0, 0), false}, {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), false},
	} {
		if p := event.CheckTime(c.at, now, 30*24*time.Hour); (p == nil) != c.ok {
			t.Errorf("%s: %v", c.at, p)
		}
	}
}

func TestABatchIsDecodedAsItWasEncoded(t *testing.T) {
	events := []event.Event{
		{ID: "1", Source: "s", Type: "t", Time: time.Unix(1, 1).UTC(), Received: time.Unix(2, 2).UTC(), Data: []byte(`{"a":1}`), Identified: true},
		{ID: "2", Source: "s", Type: "t", Subject: "x", Time: time.Unix(-5, 0).UTC(), Received: time.Unix(3, 0).UTC(), Extensions: []byte(`{"e":1}`)},
		{ID: "", Source: "", Type: "", Time: time.Unix(0, 0).UTC(), Received: time.Unix(0, 0).UTC(), Data: []byte{}},
	}
	b := event.BeginBatch(nil)
	for i := range events {
		b = event.AppendEvent(b, "acme", &events[i])
	}
	var d event.Decoder
	i := 0
	err := d.Decode(b, func(got event.Stored) error {
		if got.Tenant != "acme" || got.Index != uint32(i) || got.ID != events[i].ID || !got.Time.Equal(events[i].Time) || !got.Received.Equal(events[i].Received) ||
			string(got.Data) != string(events[i].Data) || (got.Data == nil) != (events[i].Data == nil) || string(got.Extensions) != string(events[i].Extensions) || got.Identified != events[i].Identified {
			t.Errorf("event %d: %+v", i, got)
		}
		i++
		return nil
	})
	if err != nil || i != 3 {
		t.Fatal(i, err)
	}
	for n := range b {
		if err := d.Decode(b[:n], func(event.Stored) error { return nil }); err == nil && n > 1 && n != len(event.AppendEvent(event.BeginBatch(nil), "acme", &events[0])) &&
			n != len(event.AppendEvent(event.AppendEvent(event.BeginBatch(nil), "acme", &events[0]), "acme", &events[1])) {
			t.Errorf("a batch cut to %d of %d bytes was taken", n, len(b))
		}
	}
}

func TestIdentitiesOfDifferentEventsDiffer(t *testing.T) {
	seen := map[event.Key]string{}
	for _, parts := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}} {
		k := event.IdentityKey("t", parts[0], parts[1])
		if other, ok := seen[k]; ok {
			t.Errorf("%q has the identity of %q", parts, other)
		}
		seen[k] = parts[0]
	}
	if event.IdentityKey("t1", "s", "i") == event.IdentityKey("t2", "s", "i") {
		t.Error("two tenants' events have one identity")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"x","id":"1","data":{"a":[1]},"time":"2026-01-01T00:00:00Z","e":1}`), true)
	f.Add([]byte(`{"type":"x","type":"y"}`), false)
	f.Fuzz(func(t *testing.T, raw []byte, strict bool) {
		var p event.Parser
		ev, problem := p.Parse(raw, strict)
		if problem != nil {
			return
		}
		ev.Received = time.Unix(1, 0)
		shown := event.AppendJSON(nil, &ev)
		if !json.Valid(shown) {
			t.Fatalf("%q is shown as %q, which is not JSON", raw, shown)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(event.AppendEvent(event.BeginBatch(nil), "t", &event.Event{ID: "1", Data: []byte("1")}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var d event.Decoder
		_ = d.Decode(b, func(event.Stored) error { return nil })
	})
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(`{"id":"evt_1","type":"charge.succeeded","source":"stripe","data":` + `{"object":{"amount":1250,"currency":"usd","card":{"brand":"visa","country":"US"},"metadata":{"order":"1042","note":"` + strings.Repeat("x", 400) + `"}}}}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var p event.Parser
	for b.Loop() {
		if _, problem := p.Parse(raw, false); problem != nil {
			b.Fatal(problem)
		}
	}
}
