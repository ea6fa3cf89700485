package shred

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// events are a block of them, by their columns, as a segment holds it: five types, each sorted by time.
type events struct {
	numbers map[string][]int64
	texts   map[string]*column.Texts
}

func eventsOf(n int) events {
	r := rand.New(rand.NewPCG(9, 10))
	e := events{map[string][]int64{}, map[string]*column.Texts{"id": {}, "source": {}, "subject": {}}}
	for i := range n {
		// Ten minutes of each type, in microseconds; messages of the log hold some tens of events each.
		at := 1_790_000_000_000_000_000 + int64(i*5%n)*(600_000_000/int64(n))*1000 + r.Int64N(70_000)*1000
		e.numbers["time"] = append(e.numbers["time"], at)
		e.numbers["received"] = append(e.numbers["received"], at+2_000_000+r.Int64N(3000)*1000)
		e.numbers["seq"] = append(e.numbers["seq"], 1_000_000+int64(i*5%n)/40)
		e.numbers["index"] = append(e.numbers["index"], r.Int64N(200))
		e.texts["id"].Append(fmt.Appendf(nil, "evt-7-%016x", r.Uint64()))
		e.texts["source"].Append(fmt.Appendf(nil, "vendor-%d", i*5/n))
		e.texts["subject"].Append(fmt.Appendf(nil, "customer_%d", r.IntN(5000)))
	}
	return e
}

// BenchmarkColumns writes and reads each column of a block.
func BenchmarkColumns(b *testing.B) {
	const n = 8192
	e := eventsOf(n)
	var dst []byte
	for _, name := range []string{"time", "received", "seq", "index"} {
		values := e.numbers[name]
		b.Run("encode="+name, func(b *testing.B) {
			before := cpuTime(b)
			for b.Loop() {
				dst = column.AppendInts(dst[:0], values)
			}
			perRow(b, before, n, len(dst))
		})
		b.Run("decode="+name, func(b *testing.B) {
			src := column.AppendInts(nil, values)
			before := cpuTime(b)
			for b.Loop() {
				if _, err := column.DecodeInts(values, src, n); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, before, n, len(src))
		})
	}
	enc, dec := column.NewEncoder(), column.NewDecoder()
	for _, name := range []string{"id", "source", "subject"} {
		b.Run("encode="+name, func(b *testing.B) {
			before := cpuTime(b)
			for b.Loop() {
				dst = enc.AppendTexts(dst[:0], e.texts[name])
			}
			perRow(b, before, n, len(dst))
		})
		b.Run("decode="+name, func(b *testing.B) {
			src := enc.AppendTexts(nil, e.texts[name])
			var got column.Texts
			before := cpuTime(b)
			for b.Loop() {
				if err := dec.Texts(&got, src, n); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, before, n, len(src))
		})
	}
	docs, data := NewEncoder(), vendorLike(n)
	b.Run("encode=data", func(b *testing.B) {
		before := cpuTime(b)
		for b.Loop() {
			dst = docs.Append(dst[:0], data)
		}
		perRow(b, before, n, len(dst))
	})
}

// optional is texts whose shapes change from row to row, as some members are not always there.
func optional(n int) [][]byte {
	r := rand.New(rand.NewPCG(5, 6))
	docs := make([][]byte, n)
	for i := range docs {
		docs[i] = fmt.Appendf(nil, `{"object":"charge","amount":%d,"currency":"usd"%s,"status":"%s","attempt":%d,"card":{"brand":"%s"%s,"exp_year":%d},"balance_transaction":"txn_%016x"%s,"livemode":true}`,
			100+r.IntN(20_000), pick(r, "", `,"country":"DE"`), pick(r, "succeeded", "failed"), 1+r.IntN(3), pick(r, "visa", "mastercard", "amex"), pick(r, "", `,"last4":"4242"`), 2030+r.IntN(5), r.Uint64(),
			pick(r, "", `,"disputed":false`))
	}
	return docs
}

func BenchmarkEncodeOfShapesInTurn(b *testing.B) {
	docs := optional(8192)
	e := NewEncoder()
	var dst []byte
	before := cpuTime(b)
	for b.Loop() {
		dst = e.Append(dst[:0], docs)
	}
	perRow(b, before, len(docs), len(dst))
}

func perRow(b *testing.B, before time.Duration, rows, bytes int) {
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N)/float64(rows), "cpu-ns/event")
	b.ReportMetric(float64(bytes)/float64(rows), "bytes/event")
	b.ReportAllocs()
}

func BenchmarkDocs(b *testing.B) {
	docs := vendorLike(8192)
	src := NewEncoder().Append(nil, docs)
	var r Reader
	var all column.Texts
	before := cpuTime(b)
	for b.Loop() {
		if err := r.Reset(src, len(docs)); err != nil {
			b.Fatal(err)
		}
		if err := r.Docs(&all, 0, r.Len()); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, before, len(docs), len(src))
}

func BenchmarkPath(b *testing.B) {
	docs := vendorLike(8192)
	src := NewEncoder().Append(nil, docs)
	var r Reader
	for _, path := range [][]string{{"card", "brand"}, {"status"}, {"amount"}, {"nowhere"}} {
		b.Run(strings.Join(path, "."), func(b *testing.B) {
			var v Values
			var counts [256]int
			before := cpuTime(b)
			for b.Loop() {
				if err := r.Reset(src, len(docs)); err != nil {
					b.Fatal(err)
				}
				if err := r.Path(&v, 0, r.Len(), path...); err != nil {
					b.Fatal(err)
				}
				if codes, ok := v.Codes(); ok {
					for _, c := range codes {
						counts[c&255]++
					}
				}
			}
			perRow(b, before, len(docs), len(src))
		})
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkNumbers(b *testing.B) {
	docs := vendorLike(8192)
	src := NewEncoder().Append(nil, docs)
	var r Reader
	var numbers []float64
	before := cpuTime(b)
	for b.Loop() {
		err := r.Reset(src, len(docs))
		if err != nil {
			b.Fatal(err)
		}
		if numbers, err = r.Numbers(numbers, 0, r.Len(), "amount"); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, before, len(docs), len(src))
}
