package segment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
)

func TestAnIndexNamesTheBlockOfWhatWasAddedAndLittleElse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, rows := range [][]int{{1}, {33}, {34}, {8192}, {1, 1}, {8192, 1000, 8192}, slices.Repeat([]int{2000}, 33)} {
		hashes := make([]uint64, 0, 300_000)
		for _, n := range rows {
			for range n {
				hashes = append(hashes, r.Uint64())
			}
		}
		s, e := index(t, hashes, rows)
		var l idLooker
		row, extra := 0, 0
		for b, n := range rows {
			for range n {
				if err := l.look(s, e, hashes[row]); err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(l.blocks, b) {
					t.Fatalf("of %d blocks row %d is not in %d", len(rows), row, b)
				}
				extra += len(l.blocks) - 1
				row++
			}
		}
		wrong := 0
		const looks = 20_000
		for range looks {
			if err := l.look(s, e, r.Uint64()); err != nil {
				t.Fatal(err)
			}
			wrong += len(l.blocks)
		}
		if share := float64(wrong) / looks; share > 0.004 {
			t.Errorf("of %d blocks, %.2f %% of what is not there is found", len(rows), share*100)
		}
		if share := float64(extra) / float64(row); row > 1000 && share > 0.004 {
			t.Errorf("of %d blocks, %.2f %% of what is there is found elsewhere as well", len(rows), share*100)
		}
		if bytes := float64(e.ids.Len) / float64(row); row > 1000 && bytes > 3.4 {
			t.Errorf("of %d blocks, an id takes %.1f bytes", len(rows), bytes)
		}
	}
}

func TestAnIdentityThatComesInEveryRowIsInEveryBlockAndTakesNoRoom(t *testing.T) {
	rows := slices.Repeat([]int{1000}, 40)
	hashes := make([]uint64, 40_000)
	for i := range hashes {
		hashes[i] = 7 << 40
	}
	s, e := index(t, hashes, rows)
	var l idLooker
	if err := l.look(s, e, 7<<40); err != nil || len(l.blocks) != 40 {
		t.Errorf("%d blocks, %v", len(l.blocks), err)
	}
}

// index makes a file that has nothing but an index of rows of these hashes, which lie in blocks of so many rows.
func index(t *testing.T, hashes []uint64, rows []int) (*Segment, *tenantEntry) {
	t.Helper()
	e := &tenantEntry{rows: len(hashes)}
	for _, n := range rows {
		e.blocks = append(e.blocks, blockEntry{rows: n})
	}
	var ids idEncoder
	for _, h := range hashes {
		ids.add(h)
	}
	path, w := filepath.Join(t.TempDir(), "ids"), pieces.NewWriter()
	_, err := w.Make(path, magic, func() (dir []byte, err error) {
		e.ids, err = w.Put(ids.append(nil, e.blocks))
		return nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := pieces.Open(path, magic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Release() })
	return &Segment{File: f}, e
}

// What a look costs is counted, not timed: among many segments it asks the index of each once, and decodes the ids of the one block that has the
// event, whatever else the tenant has.
func TestALookForAnIDDecodesOneBlock(t *testing.T) {
	b, set := NewBuilder(), &Set{}
	const segments, each = 12, 30_000
	var some []event.Stored
	for i := range segments {
		all := vendorsOf(uint64(i), each)
		for j := range all {
			all[j].Tenant = "big"
		}
		set.Segments = append(set.Segments, sealed(t, b, tailOf(all)))
		some = append(some, all[i], all[each/2], all[each-1-i])
	}
	if blocks := len(set.Segments[0].all[0].blocks); blocks < 4 {
		t.Fatalf("the tenant has only %d blocks in a segment", blocks)
	}
	var r Reader
	for _, looks := range []string{"the first time", "again"} {
		var all effort
		for i := range some {
			_, found, cost, err := r.find(t.Context(), set, "big", some[i].Source, some[i].ID)
			if err != nil || !found {
				t.Fatal(found, err)
			}
			if cost.indexes > segments || cost.blocks > 3 {
				t.Errorf("%s, a look asked %d indexes and decoded the ids of %d blocks", looks, cost.indexes, cost.blocks)
			}
			all.blocks += cost.blocks
		}
		if most := len(some) + len(some)/4; all.blocks > most {
			t.Errorf("%s, %d looks decoded the ids of %d blocks, want at most %d", looks, len(some), all.blocks, most)
		}
	}
	for i := range 100 {
		_, found, cost, err := r.find(t.Context(), set, "big", "stripe", fmt.Sprint("none", i))
		if err != nil || found || cost.blocks > 1 || cost.indexes != segments {
			t.Fatalf("what is not there: %v, %v, %+v", found, err, cost)
		}
	}
}

func TestALookReadsNoMoreThanTwoLinesOfAnIndexAndFindsTheirDamage(t *testing.T) {
	all := vendorsOf(1, 5000)
	for i := range all {
		all[i].Tenant = "big"
	}
	s := sealed(t, NewBuilder(), tailOf(all))
	e := s.all[0]
	raw, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	f := idFormOf(e.rows, len(e.blocks))
	home := f.home(hash(all[0].Source, all[0].ID))
	path := filepath.Join(t.TempDir(), "b.seg")
	damaged := func(line int) error {
		bad := slices.Clone(raw)
		bad[int(e.ids.Off)+line*lineBytes+lineHead] ^= 1
		x, err := opened(t, path, bad)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = x.Release() }()
		var r Reader
		_, found, err := r.Find(t.Context(), &Set{Segments: []*Segment{x}}, "big", all[0].Source, all[0].ID)
		if err == nil && !found {
			t.Errorf("line %d: the event is lost", line)
		}
		return err
	}
	if err := damaged(home); !errors.Is(err, pieces.ErrDamaged) {
		t.Errorf("its own line: %v", err)
	}
	if err := damaged((home + f.homes/2) % f.homes); err != nil {
		t.Errorf("a line far away: %v", err)
	}
}
