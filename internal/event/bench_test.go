package event_test

import (
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
)

const benchBatch = 1000

func BenchmarkParseALine(b *testing.B) {
	lines := corpus(benchBatch)
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	b.SetBytes(int64(size / len(lines)))
	b.ReportAllocs()
	var p event.Parser
	for i := 0; b.Loop(); i++ {
		if i%benchBatch == 0 {
			p.Reset()
		}
		if _, problem := p.Parse(lines[i%benchBatch], false); problem != nil {
			b.Fatal(problem)
		}
	}
}

func BenchmarkScanALine(b *testing.B) {
	lines := corpus(benchBatch)
	b.ReportAllocs()
	var s event.Scanner
	for i := 0; b.Loop(); i++ {
		if _, err := s.Value(lines[i%benchBatch], 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeAnEvent(b *testing.B) {
	events := parsed(benchBatch)
	b.ReportAllocs()
	var buf []byte
	for i := 0; b.Loop(); i++ {
		if i%benchBatch == 0 {
			buf = event.BeginBatch(buf[:0])
		}
		buf = event.AppendEvent(buf, "default", &events[i%benchBatch])
	}
}

// BenchmarkDecodeABatch is of a thousand events: divide by that.
func BenchmarkDecodeABatch(b *testing.B) {
	events := parsed(benchBatch)
	buf := event.BeginBatch(nil)
	for i := range events {
		buf = event.AppendEvent(buf, "default", &events[i])
	}
	b.ReportAllocs()
	var d event.Decoder
	n := 0
	for b.Loop() {
		if err := d.Decode(buf, func(event.Stored) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}

func BenchmarkParseTime(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := event.ParseTime("2026-11-23T12:00:00.123456789Z"); !ok {
			b.Fatal("not read")
		}
	}
}

func BenchmarkIdentityKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = event.IdentityKey("default", "shop/checkout", "evt_000000000000000000000001")
	}
}
