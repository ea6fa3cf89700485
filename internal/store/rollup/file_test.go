package rollup

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
)

// small is a whole file that has everything, and its rollups.
func small(t testing.TB) (raw []byte, rows []*series.Rollup) {
	t.Helper()
	dir := t.TempDir()
	b := NewBuilder()
	rows = newGenerator(5).minutes(40, 100)
	f := built(t, b, filepath.Join(dir, "a"), rows)
	if _, err := b.Merge(t.Context(), []*File{f}, true, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	return raw, rows
}

// everythingOf reads all there is of a file.
func everythingOf(t testing.TB, f *File) (all []series.Rollup, err error) {
	t.Helper()
	for _, k := range metricsOf([]*File{f}) {
		for _, step := range series.Resolutions() {
			q := store.RollupQuery{Metric: k.metric, Step: step, Bucket: step, GroupBy: []int{0, 1, 2}}
			err = errors.Join(err, (&Reader{}).Rollups(t.Context(), &Set{Files: []*File{f}}, k.tenant, &q, func(u *series.Rollup) error {
				c := *u
				c.Labels, c.Agg = slices.Clone(u.Labels), *u.Agg.Clone()
				all = append(all, c)
				return nil
			}))
		}
	}
	return all, err
}

func TestEveryFlippedByteIsFoundAndNoneChangesAnAnswer(t *testing.T) {
	raw, _ := small(t)
	path := filepath.Join(t.TempDir(), "a")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	write := func(b []byte, at int) {
		if _, err := out.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	write(raw, 0)
	want, err := everythingOf(t, opened(t, path))
	if err != nil || len(want) == 0 {
		t.Fatal(len(want), err)
	}
	for at := 0; at < len(raw); at += 1 + at%7 {
		write(raw, 0)
		write([]byte{raw[at] ^ 1<<(at%8)}, at)
		f, err := Open(path)
		if err != nil {
			if !errors.Is(err, pieces.ErrDamaged) {
				t.Fatalf("byte %d: Open: %v", at, err)
			}
			continue
		}
		if err := f.Verify(func(int) error { return nil }); !errors.Is(err, pieces.ErrDamaged) {
			t.Fatalf("byte %d of %d: neither Open nor Verify has found it: %v", at, len(raw), err)
		}
		got, err := everythingOf(t, f)
		if err == nil && differ(got, want) != "" {
			t.Fatalf("byte %d: wrong answers", at)
		}
		if err != nil && !errors.Is(err, pieces.ErrDamaged) {
			t.Fatalf("byte %d: %v, want ErrDamaged", at, err)
		}
		if err := f.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileThatIsCutShortOrMissingIsDamaged(t *testing.T) {
	raw, _ := small(t)
	path := filepath.Join(t.TempDir(), "a")
	for n := 0; n < len(raw); n += 1 + n/50 {
		if err := os.WriteFile(path, raw[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, pieces.ErrDamaged) {
			t.Errorf("%d of %d bytes: %v", n, len(raw), err)
		}
	}
	if _, err := Open(path + "x"); !errors.Is(err, pieces.ErrDamaged) {
		t.Errorf("no file: %v", err)
	}
}

// Bytes with fitting checksums that nobody wrote may answer anything, but crash nobody.
func FuzzBlocksAreReadOrRefused(f *testing.F) {
	e := newEncoder()
	for _, u := range newGenerator(2).minutes(60, 20) {
		e.add(u.Start.UnixNano(), u.Labels, &u.Agg)
	}
	first, last := e.bounds()
	e.sort()
	f.Add(e.appendRows(nil), e.appendQuantiles(nil), e.appendDistinct(nil), 60, first, last)
	f.Add([]byte{1, 0}, []byte{}, []byte{}, 1, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, rows, quant, unique []byte, n int, first, last int64) {
		if n <= 0 || n > blockRows { // the directory's reader looks at it
			return
		}
		d := newDecoder()
		if d.rows(rows, n, first, last) != nil || d.sketches(quant, unique) != nil {
			return
		}
		for i := range n {
			var a, one series.Agg
			if d.mergeInto(&a, &one, i) != nil {
				return
			}
			if len(d.labelsOf(int(d.codes[i]))) > maxLabels {
				t.Fatal("too many labels")
			}
		}
	})
}

func FuzzADirectoryIsReadOrRefused(f *testing.F) {
	f.Add([]byte{0, 0}, int64(8))
	f.Add(appendDirectory(nil, true, []tenantEntries{{"a", []entry{{metric: 1, rows: 5, off: 8, len: [3]uint32{3, 0, 1}}}}}), int64(12))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		if end < pieces.MagicSize { // Open looks at it
			return
		}
		long, all, err := readDirectory(pieces.NewDirectory(b, end))
		if err != nil {
			if !errors.Is(err, pieces.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, same, err := readDirectory(pieces.NewDirectory(appendDirectory(nil, long, all), end))
		if err != nil || again != long || len(same) != len(all) {
			t.Fatalf("what was read and written again is something else: %v", err)
		}
	})
}

// vendors are rollups as the benchmark's tenants have them: counts of 18 types, money of 36 series, messages of 240.
func vendors(tenants, minutes, every int, r *rand.Rand) (rows []*series.Rollup) {
	countries := []string{"US", "DE", "GB", "FR", "BR", "IN", "JP", "NL", "ES", "IT", "CA", "AU"}
	for tn := range tenants {
		for m := range minutes {
			at := start().Add(time.Duration(m) * time.Minute)
			add := func(metric int64, labels series.Labels, n int, value func() float64) {
				u := &series.Rollup{Tenant: tenantName(tn), Metric: metric, Labels: labels, Step: time.Minute, Start: at}
				for range n {
					o := series.Observation{At: at.Add(time.Duration(r.IntN(60_000)) * time.Millisecond), HasDistinct: true}
					o.Distinct = uint64(r.ExpFloat64()*300) * 0x9e3779b97f4a7c15 // few subjects come often
					if value != nil {
						o.Value, o.Numeric = value(), true
					}
					u.Agg.Add(o)
				}
				rows = append(rows, u)
			}
			for i := range 18 {
				if n := int(r.ExpFloat64() * 12 / float64(1+i)); n > 0 {
					add(1, series.Labels{vendorsOf()[i%4], typesOf()[i]}, n, nil)
				}
			}
			for range every {
				i := int(r.ExpFloat64()*6) % 36
				add(2, series.Labels{[]string{"usd", "eur", "gbp", "jpy", "brl", "inr"}[i%6], typesOf()[i/6]}, 1+r.IntN(3), func() float64 { return float64(1000+r.IntN(9000)) / 100 })
				i = int(r.ExpFloat64()*40) % 240
				add(3, series.Labels{[]string{"verizon", "t-mobile", "at&t", "vodafone", "telekom"}[i%5], countries[i/5%12], []string{"delivered", "sent", "queued", "undelivered"}[i/60]}, 1+r.IntN(2), nil)
			}
			for range every / 3 {
				add(4, series.Labels{[]string{"success", "failure", "cancelled"}[r.IntN(3)], []string{"acme/web", "acme/api", "acme/data"}[r.IntN(3)]}, 1, func() float64 { return float64(r.IntN(100_000)) })
			}
		}
	}
	return rows
}
