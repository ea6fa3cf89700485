package event_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
)

// FuzzParserReadsWhatEncodingJSONReads: of an event that is taken, encoding/json reads the same texts, data and extensions. A parser that was used
// before gives the same as a new one, and leaves the events before as they were.
func FuzzParserReadsWhatEncodingJSONReads(f *testing.F) {
	for _, line := range corpus(8) {
		f.Add(line)
	}
	f.Add([]byte(`{"type":"a\u0062\ud83d\ude00","\u0069d":"<&>","x\n":"\u0000","data":"\ud800","e":1e5,"f":null}`))
	f.Add([]byte(`{"type":"x","a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"r":1,"a":2}`))
	f.Add([]byte("{\"type\":\"\u00e9\u4e16\U0001F600 and some more text behind it\",\"subject\":\"\xff\"}"))
	var p event.Parser
	f.Fuzz(func(t *testing.T, raw []byte) {
		before, _ := p.Parse([]byte(`{"type":"\u0061","id":"\u0062","e\u0065":1}`), false)
		got, problem := p.Parse(raw, false)
		var fresh event.Parser
		want, wantProblem := fresh.Parse(raw, false)
		if (problem == nil) != (wantProblem == nil) || problem != nil && *problem != *wantProblem || !sameEvent(&got, &want) {
			t.Fatalf("%q is %+v, %v, and with a new parser %+v, %v", raw, got, problem, want, wantProblem)
		}
		if before.Type != "a" || before.ID != "b" || string(before.Extensions) != `{"ee":1}` {
			t.Fatalf("the event before became %+v", before)
		}
		if problem == nil {
			agrees(t, raw, &got)
		} else if problem.Code == event.CodeMalformed && json.Valid(raw) && utf8.Valid(raw) {
			t.Fatalf("%q is refused: %s", raw, problem.Detail)
		}
		p.Reset()
	})
}

func agrees(t *testing.T, raw []byte, ev *event.Event) {
	t.Helper()
	var theirs map[string]json.RawMessage
	if err := json.Unmarshal(raw, &theirs); err != nil {
		t.Fatalf("%q is taken, encoding/json says %v", raw, err)
	}
	for name, text := range map[string]string{"id": ev.ID, "source": ev.Source, "type": ev.Type, "subject": ev.Subject} {
		var want string
		if v := theirs[name]; v != nil && json.Unmarshal(v, &want) != nil || text != want {
			t.Fatalf("%q: %s is %q, encoding/json reads %q", raw, name, text, want)
		}
		delete(theirs, name)
	}
	if !bytes.Equal(theirs["data"], ev.Data) {
		t.Fatalf("%q: data is %q, encoding/json reads %q", raw, ev.Data, theirs["data"])
	}
	for _, name := range []string{"data", "time", "specversion", "received_at"} {
		delete(theirs, name)
	}
	for name, v := range theirs {
		if string(v) == "null" {
			delete(theirs, name)
		}
	}
	var ours map[string]json.RawMessage
	if ev.Extensions != nil {
		if err := json.Unmarshal(ev.Extensions, &ours); err != nil {
			t.Fatalf("%q has extensions %q: %v", raw, ev.Extensions, err)
		}
	}
	if len(ours) != len(theirs) {
		t.Fatalf("%q has extensions %q, encoding/json reads %q", raw, ours, theirs)
	}
	for name, v := range theirs {
		if !bytes.Equal(ours[name], v) {
			t.Fatalf("%q: %s is %q, encoding/json reads %q", raw, name, ours[name], v)
		}
	}
}
