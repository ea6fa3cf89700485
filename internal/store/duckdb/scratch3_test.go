package duckdb

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"math/rand/v2"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
)

func TestScratchCp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.db")
	for _, locked := range []bool{true, false} {
	s, err := Open(context.Background(), Config{Path: path+fmt.Sprint(locked), CompactEvery: -1})
	if err != nil { t.Fatal(err) }
	var at store.Offset
	clock := time.Now()
	mk := func(n int) *store.Commit {
		c := &store.Commit{From: at, To: store.Offset{Incarnation: "x", Seq: at.Seq+1}}
		for i := range n {
			clock = clock.Add(time.Millisecond)
			r := rand.Uint64()
			c.Events = append(c.Events, event.Stored{Tenant: "default", Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{ID: fmt.Sprintf("evt_%016x", r), Source: "stripe", Type: fmt.Sprint("charge.", r%20), Subject: fmt.Sprint("cus_", r%100000), Time: clock, Received: clock, Identified: true, Data: fmt.Appendf(nil, `{"id":"ch_%016x","object":"charge","amount":%d,"currency":"usd","country":"US","status":"succeeded","paid":true,"metadata":{"order":"%d","tags":["a","b"]},"description":"the quick brown fox %x"}`, r, r%100_000, i, r>>32)}})
		}
		return c
	}
	for walSize(s.path) < 64 {
		if at, err = s.Commit(context.Background(), mk(10000)); err != nil { t.Fatal(err) }
	}
	var during atomic.Bool
	done := make(chan error, 1)
	go func() {
		time.Sleep(200*time.Millisecond)
		during.Store(true)
		st := time.Now()
		var err error
		if locked { err = s.checkpoint(context.Background()) } else {
			c, _ := s.db.connect()
			_, err = c.exec("CHECKPOINT")
			c.close()
		}
		fmt.Println("checkpoint took", time.Since(st), err, "wal after", walSize(s.path))
		during.Store(false)
		done <- err
	}()
	var lat, latd []time.Duration
	stop := time.Now().Add(4*time.Second)
	for time.Now().Before(stop) {
		c := mk(100)
		d := during.Load()
		st := time.Now()
		if at, err = s.Commit(context.Background(), c); err != nil { t.Fatal(err) }
		if d || during.Load() { latd = append(latd, time.Since(st)) } else { lat = append(lat, time.Since(st)) }
	}
	<-done
	slices.Sort(lat); slices.Sort(latd)
	fmt.Println("locked", locked, "before/after: n", len(lat), "p50", lat[len(lat)/2], "max", lat[len(lat)-1])
	if len(latd) > 0 { fmt.Println("during: n", len(latd), "p50", latd[len(latd)/2], "max", latd[len(latd)-1]) }
	n := 0
	s.Scan(context.Background(), "default", store.Scan{WithoutData: true}, func(*event.Stored) error { n++; return nil})
	fmt.Println("events", n, "at", at.Seq, walSize(s.path))
	s.Close()
	}
}
