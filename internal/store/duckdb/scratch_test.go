package duckdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"math/rand/v2"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

func walSize(p string) int64 {
	i, err := os.Stat(p + ".wal")
	if err != nil { return 0 }
	return i.Size() >> 20
}

func TestScratchWal(t *testing.T) {
	dir := os.Getenv("WAL_DIR")
	path := filepath.Join(dir, "e.db")
	if dir == "" {
		for _, mb := range []string{"32", "64", "128", "256"} {
			for _, n := range []string{"100", "10000"} {
			d := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=TestScratchWal", "-test.v")
			cmd.Env = append(os.Environ(), "WAL_DIR="+d, "WAL_MB="+mb, "WAL_N="+n)
			out, _ := cmd.CombinedOutput()
			_ = out
			p := filepath.Join(d, "e.db")
			w := walSize(p)
			st := time.Now()
			s, err := Open(context.Background(), Config{Path: p, CompactEvery: -1})
			if err != nil { t.Fatal(err) }
			o := time.Since(st)
			w2 := walSize(p)
			st = time.Now()
			if err := s.checkpoint(context.Background()); err != nil { t.Fatal(err) }
			cp := time.Since(st)
			st = time.Now()
			s.Close()
			cl := time.Since(st)
			st = time.Now()
			s, _ = Open(context.Background(), Config{Path: p, CompactEvery: -1})
			fmt.Println("events/commit", n, "wal MB", w, "open", o, "wal after open", w2, "checkpoint", cp, "close", cl, "reopen", time.Since(st))
			s.Close()
			}
		}
		return
	}
	var mb, n int
	fmt.Sscan(os.Getenv("WAL_MB"), &mb)
	fmt.Sscan(os.Getenv("WAL_N"), &n)
	s, err := Open(context.Background(), Config{Path: path, CompactEvery: -1})
	if err != nil { t.Fatal(err) }
	var at store.Offset
	clock := time.Now()
	for walSize(path) < int64(mb) {
		c := &store.Commit{From: at, To: store.Offset{Incarnation: "x", Seq: at.Seq+1}}
		for i := range n {
			clock = clock.Add(time.Millisecond)
			r := rand.Uint64()
			c.Events = append(c.Events, event.Stored{Tenant: "default", Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{ID: fmt.Sprintf("evt_%016x", r), Source: "stripe", Type: fmt.Sprint("charge.", r%20), Subject: fmt.Sprint("cus_", r%100000), Time: clock, Received: clock, Identified: true, Data: fmt.Appendf(nil, `{"id":"ch_%016x","object":"charge","amount":%d,"currency":"usd","country":"US","status":"succeeded","paid":true,"metadata":{"order":"%d","tags":["a","b"]},"description":"the quick brown fox %x"}`, r, r%100_000, i, r>>32)}})
		}
		for i := range n/10 {
			var a series.Agg
			a.Add(series.Observation{At: clock, Value: float64(i), Numeric: true})
			c.Rollups = append(c.Rollups, series.Rollup{Tenant: "default", Metric: int64(i%5), Labels: series.Labels{fmt.Sprint(i)}, Step: time.Minute, Start: series.Align(clock, time.Minute), Agg: a})
		}
		var err error
		at, err = s.Commit(context.Background(), c)
		if err != nil { t.Fatal(err) }
	}
	p, _ := os.FindProcess(os.Getpid())
	p.Kill()
	select {}
}
