package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

func BenchmarkPut(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "catalog.sqlite"))
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Put(b.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: fmt.Sprint(i), Body: []byte(`{"name":"r"}`), At: time.Now()}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "catalog.sqlite"))
	for i := range 1000 {
		if _, err := s.Put(b.Context(), store.Put{Tenant: "acme", Kind: store.KindKey, Slug: fmt.Sprint(i), Lookup: fmt.Sprintf("lookup-%d", i)}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Find(b.Context(), store.KindKey, "lookup-500"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClaimAndFinish(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "catalog.sqlite"))
	now := time.Now()
	i := 0
	for b.Loop() {
		i++
		if err := s.Enqueue(b.Context(), "tail", uint64(i), []store.Job{{ID: fmt.Sprint(i), Tenant: "acme", CreatedAt: now}}); err != nil {
			b.Fatal(err)
		}
		jobs, err := s.Claim(b.Context(), now, time.Minute, 10)
		if err != nil || len(jobs) != 1 {
			b.Fatal(len(jobs), err)
		}
		jobs[0].State = store.JobDone
		if err := s.Finish(b.Context(), jobs[0]); err != nil {
			b.Fatal(err)
		}
	}
}
