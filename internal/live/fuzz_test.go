package live

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// FuzzSubscribe: a frame of a client is refused with a code and a sentence, or asks for something that a query may ask for.
func FuzzSubscribe(f *testing.F) {
	for _, s := range []string{`{"op":"subscribe","id":"a","metric":"events","step":"1s","group_by":["type"],"where":{"type":["a","b"],"source":"s"},"since":"15m","limit":5}`,
		`{"op":"subscribe","id":"a","metric":"events","since":"-9223372036854775808ns","step":"-1m"}`, `{"metric":"events","where":{"type":null},"agg":"p50"}`, `{"metric":"events","limit":-1,"group_by":null,"since":"400d","step":"1h"}`,
		`{"metric":"events","where":{"type":{}}}`} {
		f.Add([]byte(s))
	}
	program, err := metric.Compile(metric.Events("t"))
	if err != nil {
		f.Fatal(err)
	}
	set := metric.NewSet([]*metric.Program{program})
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hub := New(Config{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Span: 15 * time.Minute,
		Metrics: func(context.Context, tenant.ID) (*metric.Set, error) { return set, nil }})
	f.Fuzz(func(t *testing.T, b []byte) {
		var req request
		if json.Unmarshal(b, &req) != nil {
			return
		}
		s, err := (&conn{hub: hub, room: hub.room("t")}).prepare(t.Context(), req)
		if err != nil {
			var refused *refusedError
			if !errors.As(err, &refused) || refused.code == "" || refused.detail == "" {
				t.Fatalf("%s: %v", b, err)
			}
			return
		}
		if errs := s.query.Check(program.Definition()); len(errs) > 0 || s.query.Limit < 1 || s.query.Limit > 200 || s.span > query.MaxRange {
			t.Fatalf("%s asks for %+v since %s: %+v", b, s.query, s.span, errs)
		}
		s.query.From = now.Add(-s.span)
		if n := int(s.span/s.query.Step) + 2; n > query.MaxPoints+2 {
			t.Fatalf("%s asks for %d points", b, n)
		}
	})
}

// FuzzClientFrames: what a client sends comes out the same whether it arrives at once or byte by byte, and what is kept of it is bounded.
func FuzzClientFrames(f *testing.F) {
	f.Add(append(sent(opText, "in "), sent(final|opContinue, "parts")...))
	f.Add(append(sent(final|opPing, "x"), sent(final|opClose, "\x03\xe8")...))
	f.Add([]byte{final | opText, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := received(b, max(1, len(b)))
		bytewise, err2 := received(b, 1)
		if whole != bytewise || (err == nil) != (err2 == nil) {
			t.Fatalf("%q, %v at once; %q, %v byte by byte", whole, err, bytewise, err2)
		}
	})
}
