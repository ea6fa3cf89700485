package bus_test

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
)

// cpu is the processor time that this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// batchOf is an encoded batch of n events of some 350 bytes.
func batchOf(n int) []byte {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	b := event.BeginBatch(nil)
	for i := range n {
		ev := event.Event{ID: fmt.Sprintf("evt_%x-%08x", i*7919, i*104729), Source: []string{"stripe", "github", "shop"}[i%3], Type: fmt.Sprintf("type.%d", i%20), Subject: fmt.Sprintf("cus_%d", i%997),
			Time: at.Add(time.Duration(i) * 1234567), Received: at.Add(time.Hour), Identified: true,
			Data: fmt.Appendf(nil, `{"object":{"id":"ch_%x","amount":%d,"currency":"usd","captured":true,"payment_method_details":{"card":{"brand":"visa","country":"US","last4":"%04d"},"type":"card"},"metadata":{"order":"%d","plan":"pro","note":"%x"}}}`, i*15485863, 100+i*7%9000, i%10000, i, i*32452843)}
		b = event.AppendEvent(b, "default", &ev)
	}
	return b
}

// BenchmarkAppendOfEvents says what the log costs an event, on the processor.
func BenchmarkAppendOfEvents(b *testing.B) {
	for _, n := range []int{1, 30, 1000, 2500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := openBench(b)
			payload := batchOf(n)
			b.ReportAllocs()
			before, count := cpu(b), 0
			for b.Loop() {
				if _, err := l.Append(b.Context(), 0, payload); err != nil {
					b.Fatal(err)
				}
				count += n
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(count), "cpu-ns/event")
		})
	}
}

func openBench(b *testing.B) *bus.Bus {
	b.Helper()
	l, err := bus.Open(b.Context(), bus.Config{Dir: b.TempDir(), Partitions: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.Close)
	return l
}

// BenchmarkReadOfEvents says what a worker's side of the log costs an event: the reader and the decoder. Behind reads what has been on disk
// for some time, and along what is appended meanwhile, whose cost is in it.
func BenchmarkReadOfEvents(b *testing.B) {
	const n = 1000
	payload := batchOf(n)
	take := func(b *testing.B, r *bus.Reader, d *event.Decoder) (count int) {
		b.Helper()
		m, ok := <-r.Messages()
		if !ok || m.Err != nil {
			b.Fatal(r.Err(), m.Err)
		}
		if err := d.Decode(m.Payload, func(event.Stored) error { count++; return nil }); err != nil {
			b.Fatal(err)
		}
		r.Recycle(m.Payload)
		return count
	}
	b.Run("behind", func(b *testing.B) {
		const messages = 300
		l := openBench(b)
		for range messages {
			if _, err := l.Append(b.Context(), 0, payload); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		b.ResetTimer()
		before, count := cpu(b), 0
		for b.Loop() {
			var d event.Decoder
			r, err := l.Read(b.Context(), 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			for range messages {
				count += take(b, r, &d)
			}
			r.Close()
		}
		b.ReportMetric(float64(cpu(b)-before)/float64(count), "cpu-ns/event")
	})
	b.Run("along", func(b *testing.B) {
		l := openBench(b)
		var d event.Decoder
		r, err := l.Read(b.Context(), 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		b.ReportAllocs()
		before, count := cpu(b), 0
		for b.Loop() {
			if _, err := l.Append(b.Context(), 0, payload); err != nil {
				b.Fatal(err)
			}
			count += take(b, r, &d)
		}
		b.ReportMetric(float64(cpu(b)-before)/float64(count), "cpu-ns/event")
	})
}
