package event_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func FuzzCodecGivesBackWhatWentIn(f *testing.F) {
	f.Add("default", "1", "shop", "order.paid", "o-1", int64(1), int64(2), []byte(`{"a":1}`), []byte(`{"x":1}`), true)
	f.Add("", "", "", "", "", int64(-1<<63), int64(1<<63-1), []byte(nil), []byte{}, false)
	f.Fuzz(func(t *testing.T, tenantID, id, source, kind, subject string, at, received int64, data, extensions []byte, identified bool) {
		want := event.Event{ID: id, Source: source, Type: kind, Subject: subject, Time: time.Unix(0, at).UTC(), Received: time.Unix(0, received).UTC(),
			Data: data, Extensions: extensions, Identified: identified}
		b := event.BeginBatch(nil)
		for range 3 {
			b = event.AppendEvent(b, tenant.ID(tenantID), &want)
		}
		var d event.Decoder
		n := uint32(0)
		err := d.Decode(b, func(got event.Stored) error {
			if got.Tenant != tenant.ID(tenantID) || got.Index != n || !sameEvent(&got.Event, &want) {
				t.Fatalf("%+v became %+v", want, got)
			}
			n++
			return nil
		})
		if err != nil || n != 3 {
			t.Fatalf("%d of 3 events, %v", n, err)
		}
		// Cut short it is refused, or is fewer events.
		for cut := range b {
			n = 0
			if err := d.Decode(b[:cut], func(event.Stored) error { n++; return nil }); err == nil && n > 2 {
				t.Fatalf("%d events of %d bytes", n, cut)
			}
			if len(b) > 4096 {
				break
			}
		}
	})
}

func sameEvent(a, b *event.Event) bool {
	x, y := *a, *b
	x.Data, x.Extensions, y.Data, y.Extensions = nil, nil, nil, nil
	return reflect.DeepEqual(x, y) && bytes.Equal(a.Data, b.Data) && (a.Data == nil) == (b.Data == nil) && bytes.Equal(a.Extensions, b.Extensions)
}

// FuzzAShownEventCanBeSentAgain: what the API shows of an event is, sent again, the same event.
func FuzzAShownEventCanBeSentAgain(f *testing.F) {
	f.Add([]byte(`{"type":"x","id":"1","source":"s","subject":"\ud83d\ude00","data":{"a":[1,1e400,-0]},"time":"2026-01-01T00:00:00Z","e":1,"f":"\u0000","data_base64":"AA=="}`))
	f.Add([]byte(`{"type":"x","data":null,"g":null,"":1}`))
	f.Add([]byte(` { "type" : "\u0061" , "data" : "\ud800" } `))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p event.Parser
		ev, problem := p.Parse(raw, false)
		if problem != nil || ev.ID == "" || ev.Source == "" || ev.Time.Year() < 0 || ev.Time.Year() > 9999 {
			return
		}
		ev.Received = time.Unix(1, 0).UTC()
		shown := event.AppendJSON(nil, &ev)
		if len(shown) > event.MaxBytes {
			return
		}
		var q event.Parser
		again, problem := q.Parse(shown, false)
		if problem != nil {
			t.Fatalf("%q is shown as %q, which is refused: %v", raw, shown, problem)
		}
		again.Received = ev.Received
		if !sameEvent(&again, &ev) {
			t.Fatalf("%q is shown as %q, which is %+v, not %+v", raw, shown, again, ev)
		}
	})
}
