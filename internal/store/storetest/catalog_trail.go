package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Tamper runs a statement on the store of a folder, which c has open, as somebody would who can write to the database and knows how it is kept.
type Tamper func(t *testing.T, dir string, c store.Catalog, sql string)

// Trail checks what a provider promises of the audit log.
func Trail(t *testing.T, open OpenCatalog, tamper Tamper) {
	s := trailSuite{catalogSuite{open: open}, tamper}
	for _, group := range []map[string]func(*testing.T){s.writing(), s.reading()} {
		for _, name := range sortedNames(group) {
			t.Run(name, group[name])
		}
	}
	t.Run("Tampering", s.tampering)
}

type trailSuite struct {
	catalogSuite
	tamper Tamper
}

func record(id tenant.ID, slug string, n int) store.Record {
	return store.Record{
		Tenant: id, At: at().Add(time.Duration(n) * time.Minute), Actor: store.Actor{Subject: "key:k", Name: "Zürich <&>", Address: "127.0.0.1", UserAgent: "ua"},
		Action: "rule.put", Target: store.Target{Kind: store.KindRule, Slug: slug}, RequestID: "r", After: json.RawMessage(`{"n":` + fmt.Sprint(n) + `,"big":12345678901234567890}`),
	}
}

// appended adds n entries, the first with the number 1, all but the first of them in one transaction.
func appended(t *testing.T, c store.Catalog, id tenant.ID, n int) []store.Entry {
	t.Helper()
	first, err := c.Trail().Append(t.Context(), record(id, "r-1", 0))
	must(t, err)
	var more []store.Record
	for i := 1; i < n; i++ {
		more = append(more, record(id, fmt.Sprintf("r-%d", i+1), i))
	}
	putting(t, c, store.Put{Tenant: id, Kind: store.KindRule, Slug: "appended", At: at(), Records: more})
	all := walked(t, c, id, store.Span{})
	if len(all) != n || all[0].Text != first.Text {
		t.Fatalf("there are %d entries, want %d; the first is\n%s, want\n%s", len(all), n, all[0].Text, first.Text)
	}
	return all
}

func walked(t *testing.T, c store.Catalog, id tenant.ID, span store.Span) (all []store.Entry) {
	t.Helper()
	must(t, c.Trail().Walk(t.Context(), id, span, func(e *store.Entry) error {
		all = append(all, *e)
		return nil
	}))
	return all
}

// broken is what following the chain finds.
func broken(t *testing.T, c store.Catalog, id tenant.ID) []store.Break {
	t.Helper()
	v := store.NewVerifier()
	for _, e := range walked(t, c, id, store.Span{}) {
		v.Add(&e)
	}
	head, err := c.Trail().Head(t.Context(), id)
	must(t, err)
	v.End(head)
	_, breaks := v.Result()
	return breaks
}

func seqs(entries []store.Entry) (out []int64) {
	for i := range entries {
		out = append(out, entries[i].Seq)
	}
	return out
}

func (s trailSuite) writing() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"a change and its entry happen together": func(t *testing.T) {
			c := s.fresh(t)
			putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("r"), At: at(), Records: []store.Record{record("acme", "r", 0)}})
			must(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", Records: []store.Record{record("acme", "r", 1), record(store.Installation, "r", 1)}}))
			if got := seqs(walked(t, c, "acme", store.Span{})); !slices.Equal(got, []int64{1, 2}) {
				t.Errorf("the tenant's chain has the entries %v, want 1 and 2", got)
			}
			if got := seqs(walked(t, c, store.Installation, store.Span{})); !slices.Equal(got, []int64{1}) {
				t.Errorf("the installation's chain has the entries %v, want 1", got)
			}
		},
		"a change that fails leaves no entry": func(t *testing.T) {
			c := s.fresh(t)
			r := putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Lookup: "L", Body: body("r"), At: at()})
			records := []store.Record{record("acme", "r", 0)}
			for _, p := range []store.Put{
				{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: -1, Records: records},
				{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: r.Revision + 5, Records: records},
				{Tenant: "evil", Kind: store.KindRule, Slug: "r", Lookup: "L", Records: records},
			} {
				wantError(t, second(c.Put(t.Context(), p)), store.ErrConflict)
			}
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: r.Revision + 5, Records: records}), store.ErrConflict)
			wantError(t, c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "gone", Records: records}), store.ErrNotFound)
			if got := walked(t, c, "acme", store.Span{}); len(got) > 0 {
				t.Errorf("the chain has %d entries", len(got))
			}
			if breaks := broken(t, c, "acme"); len(breaks) > 0 {
				t.Errorf("the chain is broken: %v", breaks)
			}
		},
		"an entry that cannot be written fails the change": func(t *testing.T) {
			c := s.fresh(t)
			r := simplePut(t, c, "acme", store.KindRule, "r")
			for name, spoil := range map[string]func(*store.Record){
				"no tenant": func(r *store.Record) { r.Tenant = "" }, "nobody": func(r *store.Record) { r.Actor.Subject = "" }, "nothing done": func(r *store.Record) { r.Action = "" },
				"no time": func(r *store.Record) { r.At = time.Time{} }, "a zero byte": func(r *store.Record) { r.Target.Slug = "a\x00" },
				"no text": func(r *store.Record) { r.Actor.Name = "\xff" }, "no JSON": func(r *store.Record) { r.Before = json.RawMessage(`{"a":`) },
			} {
				bad := record("acme", "r", 1)
				spoil(&bad)
				records := []store.Record{record("acme", "r", 0), bad}
				for what, err := range map[string]error{
					"put":    second(c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("changed"), At: at(), Records: records})),
					"delete": c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", Records: records}),
					"append": second(c.Trail().Append(t.Context(), bad)),
				} {
					if !errors.Is(err, store.ErrRefused) {
						t.Errorf("%s with %s: error is %v, want %v", what, name, err, store.ErrRefused)
					}
				}
			}
			got, err := c.Get(t.Context(), "acme", store.KindRule, "r")
			must(t, err)
			sameResource(t, "after changes that could not be recorded, it", got, r)
			if got := walked(t, c, "acme", store.Span{}); len(got) > 0 {
				t.Errorf("the chain has %d entries", len(got))
			}
		},
		"no change happens while the audit log cannot be written": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			r := simplePut(t, c, "acme", store.KindRule, "r")
			s.tamper(t, dir, c, `ALTER TABLE audit_entries RENAME TO audit_lost`)
			if _, err := c.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", Body: body("changed"), At: at(), Records: []store.Record{record("acme", "r", 0)}}); err == nil {
				t.Error("the change was made")
			}
			if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r", Records: []store.Record{record("acme", "r", 0)}}); err == nil {
				t.Error("the resource was deleted")
			}
			s.tamper(t, dir, c, `ALTER TABLE audit_lost RENAME TO audit_entries`)
			got, err := c.Get(t.Context(), "acme", store.KindRule, "r")
			must(t, err)
			sameResource(t, "after changes that could not be recorded, it", got, r)
		},
		"writers of one chain and of others lose and double nothing": func(t *testing.T) {
			c := s.fresh(t)
			const each = 15
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := range each {
						var err error
						id := []tenant.ID{"acme", "acme", "acme", "evil"}[w]
						if slug := fmt.Sprintf("r-%d-%d", w, i); w == 0 {
							_, err = c.Trail().Append(t.Context(), record(id, slug, i))
						} else {
							_, err = c.Put(t.Context(), store.Put{Tenant: id, Kind: store.KindRule, Slug: slug, At: at(),
								Records: []store.Record{record(id, slug, i), record(store.Installation, slug, i)}})
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			for id, want := range map[tenant.ID]int{"acme": 3 * each, "evil": each, store.Installation: 3 * each} {
				got := walked(t, c, id, store.Span{})
				if breaks := broken(t, c, id); len(got) != want || len(breaks) > 0 {
					t.Errorf("the chain of %s has %d entries, want %d; broken: %v", id, len(got), want, breaks)
				}
			}
		},
		"the use of a resource is no change of it": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			a, b := simplePut(t, c, "acme", store.KindKey, "a"), simplePut(t, c, "evil", store.KindKey, "a")
			before := revision(t, c)
			must(t, c.Touch(t.Context(), nil))
			must(t, c.Touch(t.Context(), []store.Use{
				{Tenant: "acme", Kind: store.KindKey, Slug: "a", At: at().Add(time.Hour)}, {Tenant: "acme", Kind: store.KindKey, Slug: "gone", At: at()},
				{Tenant: "acme", Kind: store.KindKey, Slug: "a", At: at()},
			}))
			must(t, c.Touch(t.Context(), []store.Use{{Tenant: "acme", Kind: store.KindKey, Slug: "a", At: at().Add(time.Minute)}})) // another process was earlier
			must(t, c.Close())
			c = s.reopen(t, dir)
			for _, want := range []store.Resource{a, b} {
				got, err := c.Get(t.Context(), want.Tenant, store.KindKey, "a")
				must(t, err)
				sameResource(t, "what was used", got, want)
				if used := at().Add(time.Hour); want.Tenant == "acme" && !got.UsedAt.Equal(used) || want.Tenant == "evil" && !got.UsedAt.IsZero() {
					t.Errorf("%s's was used at %v, want %v for acme and never for the other", want.Tenant, got.UsedAt, used)
				}
			}
			if now := revision(t, c); now != before {
				t.Errorf("uses took the revision from %d to %d", before, now)
			}
			if r := simplePut(t, c, "acme", store.KindKey, "a"); !r.UsedAt.Equal(at().Add(time.Hour)) {
				t.Errorf("a change took the last use to %v", r.UsedAt)
			}
		},
	}
}

func (s trailSuite) reading() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"an entry comes back as it was hashed, after a restart too": func(t *testing.T) {
			dir := t.TempDir()
			c := s.reopen(t, dir)
			made := appended(t, c, "acme", 2)
			head, err := c.Trail().Head(t.Context(), "acme")
			must(t, err)
			must(t, c.Close())
			c = s.reopen(t, dir)
			read, err := c.Trail().Read(t.Context(), "acme", store.EntryQuery{}, 10)
			must(t, err)
			slices.Reverse(read)
			for _, got := range [][]store.Entry{read, walked(t, c, "acme", store.Span{})} {
				if len(got) != 2 {
					t.Fatalf("there are %d entries", len(got))
				}
				for i, e := range got {
					if e.Text != made[i].Text || e.Hash != store.HashOf(e.Text) || e.Hash != made[i].Hash || e.Wrong != "" || e.Actor != made[i].Actor || !e.At.Equal(made[i].At) {
						t.Errorf("entry %d is\n%+v, want\n%+v", i+1, e, made[i])
					}
				}
				if got[1].Previous != got[0].Hash || head != (store.Head{Seq: 2, Hash: got[1].Hash}) {
					t.Errorf("the chain is %s → %s, its head %v", got[1].Previous, got[0].Hash, head)
				}
			}
			next, err := c.Trail().Append(t.Context(), record("acme", "r", 3))
			if must(t, err); next.Seq != 3 || next.Previous != head.Hash {
				t.Errorf("after the restart the chain goes on with %+v", next)
			}
		},
		"entries are found by time, actor, action and target, newest first, page by page": func(t *testing.T) {
			c := s.fresh(t)
			appended(t, c, "acme", 5)
			other := record("acme", "r-2", 5)
			other.Actor.Subject, other.Action, other.Target.Kind = "member:m", "key.make", store.KindKey
			if err := second(c.Trail().Append(t.Context(), other)); err != nil {
				t.Fatal(err)
			}
			appended(t, c, "evil", 3)
			minute := func(n int) time.Time { return at().Add(time.Duration(n) * time.Minute) }
			for i, test := range []struct {
				q     store.EntryQuery
				limit int
				want  []int64
			}{
				{store.EntryQuery{}, 10, []int64{6, 5, 4, 3, 2, 1}}, {store.EntryQuery{}, 2, []int64{6, 5}}, {store.EntryQuery{Before: 3}, 10, []int64{2, 1}},
				{store.EntryQuery{From: minute(1), To: minute(3)}, 10, []int64{3, 2}}, {store.EntryQuery{Actor: "member:m"}, 10, []int64{6}},
				{store.EntryQuery{Action: "rule.put", Before: 3}, 10, []int64{2, 1}}, {store.EntryQuery{Kind: store.KindRule, Slug: "r-2"}, 10, []int64{2}},
				{store.EntryQuery{Slug: "r-2"}, 10, []int64{6, 2}}, {store.EntryQuery{Actor: "nobody"}, 10, nil}, {store.EntryQuery{From: minute(9)}, 10, nil},
			} {
				got, err := c.Trail().Read(t.Context(), "acme", test.q, test.limit)
				if must(t, err); !slices.Equal(seqs(got), test.want) {
					t.Errorf("query %d: the entries are %v, want %v", i, seqs(got), test.want)
				}
			}
		},
		"a walk goes over all of a long chain, or over a stretch of it": func(t *testing.T) {
			c := s.fresh(t)
			const n = 1100
			var puts []store.Record
			for i := range n {
				puts = append(puts, record("acme", "r", i))
			}
			putting(t, c, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", At: at(), Records: puts})
			if got := walked(t, c, "acme", store.Span{}); len(got) != n || got[n-1].Seq != n {
				t.Errorf("there are %d entries, want %d", len(got), n)
			}
			if breaks := broken(t, c, "acme"); len(breaks) > 0 {
				t.Errorf("broken: %v", breaks)
			}
			if got := seqs(walked(t, c, "acme", store.Span{From: at().Add(time.Minute), To: at().Add(9 * time.Minute), Upto: 4})); !slices.Equal(got, []int64{2, 3, 4}) {
				t.Errorf("the stretch is %v", got)
			}
			enough := errors.New("enough")
			if err := c.Trail().Walk(t.Context(), "acme", store.Span{}, func(*store.Entry) error { return enough }); !errors.Is(err, enough) {
				t.Errorf("the walk ended with %v", err)
			}
		},
	}
}

// tampered is what somebody does to a chain of six entries, and the first break that is to be found: its number, and what its reason has.
type tampered struct {
	sql  []string
	want string
}

func tamperings() map[string]tampered {
	const of = ` WHERE tenant = 'acme' AND seq `
	return map[string]tampered{
		"an edit is located":                              {[]string{`UPDATE audit_entries SET text = replace(text, '"n":2', '"n":7')` + of + `= 3`}, "3 not as it was written"},
		"an edit of the time is located":                  {[]string{`UPDATE audit_entries SET at = at + 1` + of + `= 3`}, "3 found by"},
		"an edit of the actor is located":                 {[]string{`UPDATE audit_entries SET actor = 'key:other'` + of + `= 3`}, "3 found by"},
		"another hash is located":                         {[]string{`UPDATE audit_entries SET hash = substr(hash, 2) || 'f'` + of + `= 3`}, "3 not as it was written"},
		"a deletion is located":                           {[]string{`DELETE FROM audit_entries` + of + `= 3`}, "3 missing"},
		"a deletion of several is located":                {[]string{`DELETE FROM audit_entries` + of + `IN (3, 4)`}, "3 entries 3 to 4 are missing"},
		"a deletion of the first is located":              {[]string{`DELETE FROM audit_entries` + of + `= 1`}, "1 missing"},
		"a deletion of the newest is located":             {[]string{`DELETE FROM audit_entries` + of + `>= 5`}, "5 entries 5 to 6 are missing"},
		"a deletion of all is located":                    {[]string{`DELETE FROM audit_entries WHERE tenant = 'acme'`}, "1 entries 1 to 6 are missing"},
		"a head that is gone is missed":                   {[]string{`DELETE FROM audit_heads WHERE tenant = 'acme'`}, "6 no head"},
		"a head that was moved back is noticed":           {[]string{`UPDATE audit_heads SET seq = 5 WHERE tenant = 'acme'`}, "6 ends at entry 5"},
		"an entry of another tenant in one's place shows": {[]string{`DELETE FROM audit_entries` + of + `= 3`, `UPDATE audit_entries SET tenant = 'acme' WHERE tenant = 'evil' AND seq = 3`}, "3 another chain"},
		"a reordering is located": {[]string{`UPDATE audit_entries SET seq = 103` + of + `= 3`, `UPDATE audit_entries SET seq = 3` + of + `= 4`,
			`UPDATE audit_entries SET seq = 4` + of + `= 103`}, "3 entry 4 stands in its place"},
	}
}

// tampering runs in one catalog: each case has two tenants of its own.
func (s trailSuite) tampering(t *testing.T) {
	dir := t.TempDir()
	c := s.reopen(t, dir)
	cases, n := tamperings(), 0
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		test := cases[name]
		n++
		mine, others := tenant.ID(fmt.Sprintf("acme-%d", n)), tenant.ID(fmt.Sprintf("evil-%d", n))
		t.Run(name, func(t *testing.T) {
			appended(t, c, mine, 6)
			appended(t, c, others, 3)
			if breaks := broken(t, c, mine); len(breaks) > 0 {
				t.Fatalf("untouched it is broken: %v", breaks)
			}
			for _, sql := range test.sql {
				s.tamper(t, dir, c, strings.NewReplacer("'acme'", "'"+string(mine)+"'", "'evil'", "'"+string(others)+"'").Replace(sql))
			}
			breaks := broken(t, c, mine)
			if len(breaks) == 0 {
				t.Fatal("it goes unnoticed")
			}
			if got := fmt.Sprint(breaks[0].Seq, " ", breaks[0].Reason); !strings.HasPrefix(got, test.want[:2]) || !strings.Contains(got, test.want[2:]) {
				t.Errorf("it is located as %q, want %q", got, test.want)
			}
			// Nor does going on hide it.
			if _, err := c.Trail().Append(t.Context(), record(mine, "next", 9)); err == nil {
				if breaks := broken(t, c, mine); len(breaks) == 0 {
					t.Error("it goes unnoticed after the next entry")
				}
			}
			if breaks := broken(t, c, others); len(breaks) > 0 && !strings.Contains(name, "another tenant") {
				t.Errorf("the other tenant's chain is broken: %v", breaks)
			}
		})
	}
	t.Run("an entry that was written anew with its hash is located", func(t *testing.T) {
		made := appended(t, c, "acme", 6)
		for seq, want := range map[int]string{3: "entry 4 was made behind another one", 6: "head has another hash"} {
			forged := strings.Replace(made[seq-1].Text, `"key:k"`, `"key:z"`, 1)
			s.tamper(t, dir, c, fmt.Sprintf(`UPDATE audit_entries SET text = '%s', actor = 'key:z', hash = '%s' WHERE tenant = 'acme' AND seq = %d`, forged, store.HashOf(forged), seq))
			breaks := broken(t, c, "acme")
			if i := slices.IndexFunc(breaks, func(b store.Break) bool { return b.Seq == int64(seq) }); i < 0 || !strings.Contains(breaks[i].Reason, want) {
				t.Errorf("entry %d: broken: %v", seq, breaks)
			}
		}
	})
}
