package segment

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// differ describes the first difference of two lists of events; "" when there is none.
func differ(got, want []event.Stored) string {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("event %d of %d is\n%.500s, want\n%.500s", i, len(got), fmt.Sprintf("%#v", got[i]), fmt.Sprintf("%#v", want[i]))
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d events, want %d", len(got), len(want))
	}
	return ""
}

// checks asks the same of what is kept as of the oracle.
func (k *kept) checks(g *generator, questions int) {
	k.t.Helper()
	var r Reader
	for range questions {
		t := g.tenant()
		k.checkPages(&r, g, t)
		k.checkScan(&r, g, t)
		k.checkRows(&r, g, t)
		k.checkFind(&r, g, t)
	}
	for partition := range 2 {
		k.checkIdentities(&r, g, partition)
	}
}

func (k *kept) checkPages(r *Reader, g *generator, t tenant.ID) {
	k.t.Helper()
	p := store.Page{EventFilter: g.filter(), Limit: 1 + g.IntN(8)*g.IntN(100)}
	if g.IntN(3) == 0 {
		ev := g.made[g.IntN(len(g.made))]
		p.After = &store.Cursor{Time: ev.Time, Position: ev.Position}
	}
	for range 5 {
		got, err := r.Page(k.t.Context(), k.set(t), t, p)
		if err != nil {
			k.t.Fatalf("%+v: %v", p, err)
		}
		if d := differ(got, g.made.page(t, p)); d != "" {
			k.t.Fatalf("page %+v after %+v of %q: %s", p, p.After, t, d)
		}
		if len(got) < p.Limit {
			return
		}
		last := got[len(got)-1]
		p.After = &store.Cursor{Time: last.Time, Position: last.Position}
	}
}

func (k *kept) checkScan(r *Reader, g *generator, t tenant.ID) {
	k.t.Helper()
	q := store.Scan{EventFilter: g.filter(), WithoutData: g.IntN(3) == 0}
	if g.IntN(2) == 0 {
		q.After = g.made[g.IntN(len(g.made))].Position
	}
	if g.IntN(2) == 0 {
		upto := g.made[g.IntN(len(g.made))].Position
		q.Upto = &upto
	}
	if g.IntN(2) == 0 {
		q.Limit = 1 + g.IntN(500)
	}
	var got []event.Stored
	if err := r.Scan(k.t.Context(), k.set(t), t, q, into(&got)); err != nil {
		k.t.Fatalf("%+v: %v", q, err)
	}
	if d := differ(got, g.made.scan(t, q)); d != "" {
		k.t.Fatalf("scan %+v of %q: %s", q, t, d)
	}
}

func (k *kept) checkFind(r *Reader, g *generator, t tenant.ID) {
	k.t.Helper()
	like := g.made[g.IntN(len(g.made))]
	if g.IntN(2) == 0 {
		t = like.Tenant
	}
	source, id := cmp.Or(like.Source, "nobody"), g.one(like.ID, like.ID, "1", "none")
	if id == "" {
		return
	}
	got, found, err := r.Find(k.t.Context(), k.set(t), t, source, id)
	want, there := g.made.find(t, source, id)
	if err != nil || found != there || !reflect.DeepEqual(got, want) {
		k.t.Fatalf("event %q of %q of %q: %v, %v\n%.500s, want\n%.500s", id, source, t, found, err, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}

func (k *kept) checkIdentities(r *Reader, g *generator, partition int) {
	k.t.Helper()
	set := &Set{Segments: k.segments}
	for _, tail := range k.tails {
		set.Views = append(set.Views, tail.Views(partition)...)
	}
	for _, since := range []time.Time{{}, g.at(), g.at()} {
		var got []store.Identity
		if err := r.Identities(k.t.Context(), set, partition, since, identitiesInto(&got)); err != nil {
			k.t.Fatal(err)
		}
		want := g.made.identities(partition, since)
		order := func(x, y store.Identity) int {
			return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.Source, y.Source), cmp.Compare(x.ID, y.ID), x.Received.Compare(y.Received))
		}
		slices.SortFunc(got, order)
		slices.SortFunc(want, order)
		if !slices.Equal(got, want) {
			k.t.Fatalf("partition %d has %d identities since %v, want %d", partition, len(got), since, len(want))
		}
	}
}

func TestAnswersAreThoseOfAPlainListWhereverEventsAre(t *testing.T) {
	for seed := range uint64(2) {
		g := newGenerator(seed)
		b := NewBuilder()
		var parts []oracle
		for range 5 {
			parts = append(parts, g.events(1+g.IntN(4000)))
		}
		all := &kept{t: t}
		var inMemory, onDisk, mixed kept
		for i, p := range parts {
			tail := tailOf(p)
			all.tails = append(all.tails, tail)
			onDisk.segments = append(onDisk.segments, sealed(t, b, tail))
			if i < 3 {
				mixed.segments = append(mixed.segments, onDisk.segments[i])
			} else {
				mixed.tails = append(mixed.tails, tail)
			}
		}
		inMemory.tails = []*Tail{tailOf(g.made)}
		one := kept{segments: []*Segment{merged(t, b, onDisk.segments)}}
		some := kept{segments: []*Segment{onDisk.segments[0], merged(t, b, onDisk.segments[1:4]), onDisk.segments[4]}}
		for name, k := range map[string]*kept{"tails": all, "a tail": &inMemory, "segments": &onDisk, "both": &mixed, "one segment": &one, "merged in part": &some,
			"sealed at once": {segments: []*Segment{sealed(t, b, inMemory.tails[0])}}} {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				k.t = t
				k.checks(g, 20)
			})
		}
	}
}

func TestATypeOfManyEventsHasBlocksOfItsOwn(t *testing.T) {
	var events []event.Stored
	for i := range 3*blockRows + 100 {
		events = append(events, event.Stored{Tenant: "t", Position: event.Position{Seq: uint64(i)}, Event: event.Event{ID: fmt.Sprint(i), Type: fmt.Sprint(i / (blockRows + 1)), Time: time.Unix(int64(i), 0), Received: time.Unix(0, 0)}})
	}
	s := sealed(t, NewBuilder(), tailOf(events))
	got := ""
	for _, b := range s.all[0].blocks {
		got += fmt.Sprint(b.rows, b.kinds, " ")
	}
	if want := "8192 [{0 8192}] 8192 [{0 1} {1 8192}] 8192 [{1 2} {2 8192}] 100 [{2 3} {3 100}] "; got != want {
		t.Errorf("blocks are %s, want %s", got, want)
	}
}

func TestBlocksOfLongTextsAreCutByTheirBytes(t *testing.T) {
	long := make([]byte, blockBytes/4)
	for i := range long {
		long[i] = byte('a' + rand.IntN(26))
	}
	var events []event.Stored
	for i := range 11 {
		data := long
		if i == 5 {
			data = append(slices.Clip(long), make([]byte, blockBytes)...)
		}
		events = append(events, event.Stored{Tenant: "t", Position: event.Position{Seq: uint64(i)}, Event: event.Event{ID: fmt.Sprint(i), Type: "a", Time: time.Unix(int64(i), 0).UTC(), Received: time.Unix(0, 0).UTC(), Data: data}})
	}
	s := sealed(t, NewBuilder(), tailOf(events))
	var rows []int
	for _, b := range s.all[0].blocks {
		rows = append(rows, b.rows)
	}
	if !slices.Equal(rows, []int{3, 2, 1, 3, 2}) {
		t.Errorf("blocks have %v rows", rows)
	}
	k := kept{t: t, segments: []*Segment{s}}
	var r Reader
	got, err := r.Page(t.Context(), k.set("t"), "t", store.Page{Limit: 20})
	slices.Reverse(got)
	if d := differ(got, events); err != nil || d != "" {
		t.Error(d, err)
	}
}

func TestAnEmptyTailMakesASegmentOfNothing(t *testing.T) {
	k := kept{t: t, segments: []*Segment{sealed(t, NewBuilder(), &Tail{})}}
	var r Reader
	if page, err := r.Page(t.Context(), k.set("t"), "t", store.Page{Limit: 1}); err != nil || len(page) > 0 {
		t.Error(page, err)
	}
}

func TestACallbacksErrorEndsAReadAndIsReturnedAsItIs(t *testing.T) {
	g := newGenerator(7)
	tail := tailOf(g.events(3000))
	for _, k := range []kept{{t: t, tails: []*Tail{tail}}, {t: t, segments: []*Segment{sealed(t, NewBuilder(), tail)}}} {
		var r Reader
		mine := errors.New("mine")
		calls := 0
		err := r.Scan(t.Context(), k.set("big"), "big", store.Scan{}, func(*event.Stored) error { calls++; return mine })
		if err != mine || calls != 1 { //nolint:errorlint // as it is
			t.Errorf("Scan: %v after %d calls", err, calls)
		}
		calls = 0
		set := &Set{Segments: k.segments}
		for _, tail := range k.tails {
			set.Views = tail.Views(1)
		}
		if err := r.Identities(t.Context(), set, 1, time.Time{}, func(store.Identity) error { calls++; return mine }); err != mine || calls != 1 { //nolint:errorlint // as it is
			t.Errorf("Identities: %v after %d calls", err, calls)
		}
	}
}

// everything asks all there is of a set, and says what was answered.
func everything(t testing.TB, s *Set) (answers []any, err error) {
	var r Reader
	var all []event.Stored
	err = r.Scan(t.Context(), s, "big", store.Scan{}, into(&all))
	answers = append(answers, all)
	page, failed := r.Page(t.Context(), s, "big", store.Page{Limit: 10})
	answers, err = append(answers, page), cmp.Or(err, failed)
	for _, id := range []string{"0", "1", "2", "none"} {
		ev, found, failed := r.Find(t.Context(), s, "big", "stripe", id)
		answers, err = append(answers, ev, found), cmp.Or(err, failed)
	}
	var ids []store.Identity
	failed = r.Identities(t.Context(), s, 1, time.Time{}, identitiesInto(&ids))
	answers, err = append(answers, ids), cmp.Or(err, failed)
	var rows []event.Stored
	failed = r.Rows(t.Context(), s, "big", store.EventFilter{}, func(events []event.Stored, _ float64, release func()) error {
		defer release()
		for i := range events {
			rows = append(rows, held(&events[i]))
		}
		return nil
	})
	return append(answers, rows), cmp.Or(err, failed)
}

// small is the bytes of a segment of a few hundred events, and what it answers.
func small(t testing.TB) (raw []byte, answers []any) {
	g := newGenerator(3)
	events := slices.DeleteFunc(g.events(80), func(ev event.Stored) bool { return len(ev.Data)+len(ev.ID) > 1000 })
	s := sealed(t, NewBuilder(), tailOf(events))
	raw, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	answers, err = everything(t, &Set{Segments: []*Segment{s}})
	if err != nil {
		t.Fatal(err)
	}
	return raw, answers
}

func opened(t testing.TB, path string, raw []byte) (*Segment, error) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return Open(path)
}

func TestEveryFlippedByteIsFoundAndNoneChangesAnAnswer(t *testing.T) {
	raw, want := small(t)
	path := filepath.Join(t.TempDir(), "a.seg")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(b []byte, at int) {
		if _, err := f.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	write(raw, 0)
	for at := range raw {
		if at > 0 {
			write(raw[at-1:at], at-1)
		}
		write([]byte{raw[at] ^ 1<<(at%8)}, at)
		s, err := Open(path)
		if err != nil {
			if !errors.Is(err, pieces.ErrDamaged) {
				t.Fatalf("byte %d: Open: %v", at, err)
			}
			continue
		}
		if err := s.Verify(func(int) error { return nil }); !errors.Is(err, pieces.ErrDamaged) {
			t.Fatalf("byte %d of %d: neither Open nor Check has found it: %v", at, len(raw), err)
		}
		got, err := everything(t, &Set{Segments: []*Segment{s}})
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("byte %d: wrong answers", at)
		}
		if err != nil && !errors.Is(err, pieces.ErrDamaged) {
			t.Fatalf("byte %d: %v, want pieces.ErrDamaged", at, err)
		}
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileThatIsCutShortOrMissingIsDamaged(t *testing.T) {
	raw, _ := small(t)
	path := filepath.Join(t.TempDir(), "a.seg")
	for n := 0; n < len(raw); n += 1 + n/50 {
		if _, err := opened(t, path, raw[:n]); !errors.Is(err, pieces.ErrDamaged) {
			t.Errorf("%d of %d bytes: %v", n, len(raw), err)
		}
	}
	if _, err := opened(t, path, append(slices.Clip(raw), 0)); !errors.Is(err, pieces.ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := Open(path + "x"); !errors.Is(err, pieces.ErrDamaged) {
		t.Errorf("no file: %v", err)
	}
}

func TestAFileIsRemovedAfterItsLastUserIsGone(t *testing.T) {
	raw, _ := small(t)
	path := filepath.Join(t.TempDir(), "a.seg")
	s, err := opened(t, path, raw)
	if err != nil {
		t.Fatal(err)
	}
	s.Use()
	s.Remove()
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := everything(t, &Set{Segments: []*Segment{s}}); err != nil {
		t.Errorf("its other user reads: %v", err)
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestAFailedBuildLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	tail := tailOf(newGenerator(1).events(10))
	if err := os.Mkdir(filepath.Join(dir, "a.seg"), 0o700); err != nil { // so that renaming fails
		t.Fatal(err)
	}
	b := NewBuilder()
	if _, err := b.Build(tail, filepath.Join(dir, "a.seg")); err == nil {
		t.Fatal("a segment took the place of a folder")
	}
	if _, err := b.Build(tail, filepath.Join(dir, "none", "a.seg")); err == nil {
		t.Fatal("a segment was made in no folder")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v are left: %v", files, err)
	}
	if _, err := b.Build(tail, filepath.Join(dir, "b.seg")); err != nil {
		t.Errorf("the builder is of no use any more: %v", err)
	}
}

// into keeps what is only lent.
func into(all *[]event.Stored) func(*event.Stored) error {
	return func(ev *event.Stored) error {
		own := *ev
		own.Keep(nil)
		*all = append(*all, own)
		return nil
	}
}

func identitiesInto(all *[]store.Identity) func(store.Identity) error {
	return func(i store.Identity) error {
		i.Source, i.ID = strings.Clone(i.Source), strings.Clone(i.ID)
		*all = append(*all, i)
		return nil
	}
}
