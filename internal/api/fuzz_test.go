package api

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

func FuzzEventCursor(f *testing.F) {
	f.Add(encodeEventCursor(store.Cursor{Time: time.Unix(1, 2), Position: event.Position{Seq: 3, Index: 4}}))
	f.Add("")
	f.Add("AAAA\r\nBBBB")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := decodeEventCursor(s)
		if ok && encodeEventCursor(c) != s {
			t.Fatalf("%q is %+v, which is written %q", s, c, encodeEventCursor(c))
		}
	})
}

func FuzzEventCursorGivesBackItsPlace(f *testing.F) {
	f.Add(int64(-1<<63), uint64(1<<64-1), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, at int64, seq uint64, index uint32) {
		want := store.Cursor{Time: time.Unix(0, at).UTC(), Position: event.Position{Seq: seq, Index: index}}
		if got, ok := decodeEventCursor(encodeEventCursor(want)); !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, ok)
		}
	})
}

func FuzzIncidentCursor(f *testing.F) {
	f.Add(encodeIncidentCursor(store.IncidentCursor{StartedAt: time.Unix(1, 2), ID: "inc_1"}))
	f.Add("AAAAAAAAAAD_")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := decodeIncidentCursor(s)
		if ok && (encodeIncidentCursor(c) != s || c.ID == "") {
			t.Fatalf("%q is %+v, which is written %q", s, c, encodeIncidentCursor(c))
		}
	})
}

// FuzzCondition: a condition names a revision that exists only if it is that revision's ETag; no other text is taken for no condition at all.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`"1"`, `W/"7"`, `*`, ``, `"9223372036854775807"`, `"-1"`, `1`, `"1", "2"`, `"+5"`} {
		f.Add(s, "")
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, match, none string) {
		c, err := Conditional{IfMatch: match, IfNoneMatch: none}.condition()
		switch {
		case err != nil:
			return
		case c == catalog.Always && match != "":
			t.Fatalf("If-Match %q is no condition", match)
		case c == catalog.IfMissing && none != "*", c == catalog.IfPresent && match != "*":
			t.Fatalf("If-Match %q and If-None-Match %q are %d", match, none, c)
		}
		if c > 0 {
			again, err := Conditional{IfMatch: etag(int64(c))}.condition()
			if err != nil || again != c {
				t.Fatalf("If-Match %q is revision %d, whose ETag is %d, %v", match, c, again, err)
			}
		}
	})
}

// FuzzQuarantinedEventIsShownAsItWasReceived: whatever text an event has, the quarantine's list is JSON and gives it back.
func FuzzQuarantinedEventIsShownAsItWasReceived(f *testing.F) {
	f.Add("1", "shop", "order.paid", "o-1", []byte(`{"a":1}`), "it panicked")
	f.Add("\u2028</script>", "\x01\x7f", "é", "\U0010ffff", []byte(`"\ud800"`), "\xff")
	f.Fuzz(func(t *testing.T, id, source, kind, subject string, data []byte, reason string) {
		for name, text := range map[string]string{"id": id, "source": source, "type": kind, "subject": subject} {
			if event.CheckAttribute(name, text) != nil {
				return
			}
		}
		var scan event.Scanner
		if end, err := scan.Value(data, 0); err != nil || end != len(data) || scan.Depth > event.MaxDepth || data[0] <= ' ' {
			return
		}
		shown, err := json.Marshal(viewQuarantined(&store.Quarantined{Reason: reason, At: time.Unix(1, 0), Event: &event.Event{
			ID: id, Source: source, Type: kind, Subject: subject, Time: time.Unix(0, 1).UTC(), Data: data}}))
		if err != nil {
			t.Fatal(err)
		}
		var view struct{ Event json.RawMessage }
		if err := json.Unmarshal(shown, &view); err != nil {
			t.Fatalf("%v: %s", err, shown)
		}
		var p event.Parser
		got, problem := p.Parse(view.Event, false)
		if problem != nil || got.ID != id || got.Source != source || got.Type != kind || got.Subject != subject {
			t.Fatalf("%+v, %v: %s", got, problem, shown)
		}
	})
}
