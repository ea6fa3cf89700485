package ingest_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/ingest"
	"github.com/pulsestream/pulsestream/internal/ingest/cloudevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonevents"
	"github.com/pulsestream/pulsestream/internal/ingest/jsonlines"
)

func batch() *ingest.Batch {
	return ingest.NewBatch("the-key", time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), 30*24*time.Hour)
}

func TestAnArrayIsReadEventByEvent(t *testing.T) {
	b := batch()
	err := jsonevents.Parse([]byte(` [ {"type":"a"} , 5, {"type":"b","time":"nope"}, {"type":"c","source":"s","id":"1"} ] `), jsonevents.OneOrArray, false, b)
	if err != nil || len(b.Events) != 2 || len(b.Rejected) != 2 {
		t.Fatalf("%v %+v %+v", err, b.Events, b.Rejected)
	}
	if b.Events[0].Source != "the-key" || b.Events[0].ID == "" || b.Events[0].Identified || b.Events[0].Time.IsZero() {
		t.Errorf("what the sender left out was not filled in: %+v", b.Events[0])
	}
	if b.Events[1].Source != "s" || b.Events[1].ID != "1" || !b.Events[1].Identified {
		t.Errorf("what the sender said was changed: %+v", b.Events[1])
	}
	if b.Rejected[0].Index != 1 || b.Rejected[0].Code != event.CodeNotAnObject || b.Rejected[1].Index != 2 || b.Rejected[1].Code != event.CodeTime {
		t.Errorf("%+v", b.Rejected)
	}
}

func TestABodyThatIsNotJSONGivesNothingToTheSink(t *testing.T) {
	for _, s := range []string{``, ` `, `[{"type":"a"},`, `[{"type":"a"}] x`, `"x"`, `5`, `null`} {
		b := batch()
		err := jsonevents.Parse([]byte(s), jsonevents.OneOrArray, false, b)
		var syntax *event.SyntaxError
		if !errors.As(err, &syntax) || len(b.Events)+len(b.Rejected) != 0 {
			t.Errorf("%q: %v, %d events", s, err, len(b.Events))
		}
	}
	if err := jsonevents.Parse([]byte(`[]`), jsonevents.One, true, batch()); err == nil {
		t.Error("a batch was taken as one event")
	}
	if err := jsonevents.Parse([]byte(`{}`), jsonevents.Array, true, batch()); err == nil {
		t.Error("one event was taken as a batch")
	}
}

func TestMalformedLinesAreRejectedLines(t *testing.T) {
	b := batch()
	err := jsonlines.Parse([]byte("{\"type\":\"a\"}\r\n\n  \nnope\n{\"type\":\"b\"}"), b)
	if err != nil || len(b.Events) != 2 || len(b.Rejected) != 1 || b.Rejected[0].Index != 1 || b.Rejected[0].Code != event.CodeMalformed {
		t.Fatalf("%v %+v %+v", err, b.Events, b.Rejected)
	}
}

func TestARequestHasABoundedNumberOfEvents(t *testing.T) {
	line := []byte("{\"type\":\"a\"}\n")
	if err := jsonlines.Parse(bytes.Repeat(line, event.MaxPerRequest), batch()); err != nil {
		t.Error(err)
	}
	if err := jsonlines.Parse(bytes.Repeat(line, event.MaxPerRequest+1), batch()); !errors.Is(err, ingest.ErrTooMany) {
		t.Errorf("got %v", err)
	}
}

func TestBinaryModeCloudEvents(t *testing.T) {
	for _, c := range []struct {
		name   string
		header map[string]string
		body   string
		code   string // of the rejection; empty when taken
		data   string
		ext    string
	}{
		{name: "JSON", header: map[string]string{"Content-Type": "application/json"}, body: ` {"a":1} `, data: `{"a":1}`, ext: `{"datacontenttype":"application/json"}`},
		{name: "text", header: map[string]string{"Content-Type": "text/plain"}, body: `a"b`, data: `"a\"b"`, ext: `{"datacontenttype":"text/plain"}`},
		{name: "bytes", header: map[string]string{"Content-Type": "image/png"}, body: "\x00\xff", ext: `{"datacontenttype":"image/png","data_base64":"AP8="}`},
		{name: "no body", header: map[string]string{}, body: ""},
		{name: "percent-encoded extension", header: map[string]string{"Ce-Name": "Z%C3%BCrich%20%22x%22"}, ext: `{"name":"Zürich \"x\""}`},
		{name: "body cannot add attributes", header: map[string]string{"Content-Type": "application/json"}, body: `1},"type":"evil"`, code: event.CodeData},
		{name: "not JSON", header: map[string]string{"Content-Type": "application/json"}, body: `{`, code: event.CodeData},
		{name: "bad encoding", header: map[string]string{"Ce-X": "%zz"}, code: event.CodeAttribute},
		{name: "old version", header: map[string]string{"Ce-Specversion": "0.3"}, code: event.CodeSpecVersion},
		{name: "data as an attribute", header: map[string]string{"Ce-Data": "1"}, code: event.CodeAttribute},
	} {
		h := http.Header{}
		for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "1", "Ce-Source": "/s", "Ce-Type": "t"} {
			h.Set(k, v)
		}
		for k, v := range c.header {
			h.Set(k, v)
		}
		b := batch()
		if err := cloudevents.Parse(h, []byte(c.body), b); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.code != "" {
			if len(b.Rejected) != 1 || b.Rejected[0].Code != c.code {
				t.Errorf("%s: %+v", c.name, b.Rejected)
			}
			continue
		}
		if len(b.Events) != 1 || b.Events[0].ID != "1" || b.Events[0].Type != "t" || string(b.Events[0].Data) != c.data || string(b.Events[0].Extensions) != c.ext {
			t.Errorf("%s: %+v %s %s, rejected %+v", c.name, b.Events, b.Events[0].Data, b.Events[0].Extensions, b.Rejected)
		}
	}
}

func FuzzBodies(f *testing.F) {
	f.Add([]byte(`[{"type":"a"},{"type":"b","id":"1"}]`), "text/plain")
	f.Add([]byte("{\"type\":\"a\"}\n{"), "application/json")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		for _, parse := range []func(event.Sink) error{
			func(s event.Sink) error { return jsonevents.Parse(body, jsonevents.OneOrArray, false, s) },
			func(s event.Sink) error { return jsonlines.Parse(body, s) },
			func(s event.Sink) error {
				return cloudevents.Parse(http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"s"}, "Ce-Type": {string(body)}, "Content-Type": {contentType}}, body, s)
			},
		} {
			b := batch()
			_ = parse(b)
			for i := range b.Events {
				if b.Events[i].Type == "" || b.Events[i].ID == "" || b.Events[i].Source == "" || b.Events[i].Time.IsZero() {
					t.Fatalf("an incomplete event was taken: %+v", b.Events[i])
				}
			}
		}
	})
}
