package column

import (
	"syscall"
	"testing"
	"time"
)

// Benchmarks give the CPU's ns/row and bytes/row besides ns/op, as an op is a column of 8192 rows.
func perRow(b *testing.B, before time.Duration, bytes int) {
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N)/rows, "cpu-ns/row")
	b.ReportMetric(float64(bytes)/rows, "bytes/row")
	b.ReportAllocs()
}

func BenchmarkIntsEncode(b *testing.B) {
	for _, c := range numberCases() {
		values := numbersOf(rows, c.of)
		b.Run(c.name, func(b *testing.B) {
			var dst []byte
			before := cpuTime(b)
			for b.Loop() {
				dst = AppendInts(dst[:0], values)
			}
			perRow(b, before, len(dst))
		})
	}
}

func BenchmarkIntsDecode(b *testing.B) {
	for _, c := range numberCases() {
		values := numbersOf(rows, c.of)
		src := AppendInts(nil, values)
		b.Run(c.name, func(b *testing.B) {
			var err error
			before := cpuTime(b)
			for b.Loop() {
				if values, err = DecodeInts(values, src, rows); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, before, len(src))
		})
	}
}

func BenchmarkTextsEncode(b *testing.B) {
	e := NewEncoder()
	for _, c := range textCases() {
		values, _ := textsOf(rows, c.of)
		b.Run(c.name, func(b *testing.B) {
			var dst []byte
			before := cpuTime(b)
			for b.Loop() {
				dst = e.AppendTexts(dst[:0], values)
			}
			perRow(b, before, len(dst))
		})
	}
}

func BenchmarkTextsDecode(b *testing.B) {
	e, d := NewEncoder(), NewDecoder()
	for _, c := range textCases() {
		values, _ := textsOf(rows, c.of)
		src := e.AppendTexts(nil, values)
		b.Run(c.name, func(b *testing.B) {
			var got Texts
			before := cpuTime(b)
			for b.Loop() {
				if err := d.Texts(&got, src, rows); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, before, len(src))
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
