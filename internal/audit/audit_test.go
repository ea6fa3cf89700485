package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func noon() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

func over(t *testing.T) *audit.Catalog {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return audit.Over(s, noon)
}

func by(ctx context.Context, subject string, of tenant.ID) context.Context {
	return audit.With(ctx, audit.Actor{Tenant: of, Subject: subject, Name: "Ann", Address: "10.0.0.7", UserAgent: "curl\x00\xff", RequestID: "r1"})
}

func put(t *testing.T, ctx context.Context, c *audit.Catalog, p store.Put) store.Resource { //nolint:revive // the test comes first
	t.Helper()
	r, err := c.Put(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func chain(t *testing.T, c *audit.Catalog, id tenant.ID) (all []store.Entry) {
	t.Helper()
	err := c.Trail().Walk(t.Context(), id, store.Span{}, func(e *store.Entry) error {
		all = append(all, *e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func told(e *store.Entry) string {
	return fmt.Sprintf("%s %s %s/%s %s→%s", e.Actor.Subject, e.Action, e.Target.Kind, e.Target.Slug, e.Before, e.After)
}

func wantChain(t *testing.T, c *audit.Catalog, id tenant.ID, want ...string) {
	t.Helper()
	all := chain(t, c, id)
	for i := range max(len(all), len(want)) {
		var got, should string
		if i < len(all) {
			got = told(&all[i])
		}
		if i < len(want) {
			should = want[i]
		}
		if got != should {
			t.Errorf("entry %d of %s is\n%s, want\n%s", i+1, id, got, should)
		}
	}
}

func rule(slug, summary string) store.Put {
	return store.Put{Tenant: "acme", Kind: store.KindRule, Slug: slug, Body: json.RawMessage(`{"id":7,"summary":"` + summary + `"}`), At: noon()}
}

func TestAChangeIsRecordedWithWhoWhatBeforeAndAfter(t *testing.T) {
	c, ctx := over(t), by(t.Context(), "key:k", "acme")
	put(t, ctx, c, rule("r", "one"))
	r := put(t, ctx, c, rule("r", "two"))
	put(t, audit.Doing(ctx, "rule.mend"), c, rule("r", "three"))
	if err := c.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r"}); err != nil {
		t.Fatal(err)
	}
	if r.Revision == 0 {
		t.Error("the resource did not come back")
	}
	wantChain(t, c, "acme",
		`key:k rule.put rule/r null→{"summary":"one"}`, `key:k rule.put rule/r {"summary":"one"}→{"summary":"two"}`,
		`key:k rule.mend rule/r {"summary":"two"}→{"summary":"three"}`, `system rule.delete rule/r {"summary":"three"}→null`)
	wantChain(t, c, store.Installation)
	e := chain(t, c, "acme")[0]
	if want := (store.Actor{Subject: "key:k", Name: "Ann", Address: "10.0.0.7", UserAgent: "curl��"}); e.Actor != want || e.RequestID != "r1" || !e.At.Equal(noon()) {
		t.Errorf("the entry is of %+v, request %q at %v, want %+v, r1 and noon", e.Actor, e.RequestID, e.At, want)
	}
}

func TestWhatFailsIsNotRecordedAndItsErrorIsTheStores(t *testing.T) {
	c, ctx := over(t), t.Context()
	r := put(t, ctx, c, rule("r", "one"))
	other := rule("other", "x")
	other.Lookup = "taken"
	put(t, ctx, c, other)
	for name, p := range map[string]store.Put{
		"only if missing": {IfRevision: -1}, "another revision": {IfRevision: r.Revision + 7}, "a lookup that is taken": {Lookup: "taken"},
	} {
		q := rule("r", "two")
		q.IfRevision, q.Lookup = p.IfRevision, p.Lookup
		if _, err := c.Put(ctx, q); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: error is %v, want a conflict", name, err)
		}
	}
	for name, d := range map[string]struct {
		store.Delete
		want error
	}{
		"another revision": {store.Delete{Slug: "r", IfRevision: 1 << 40}, store.ErrConflict}, "none": {store.Delete{Slug: "gone"}, store.ErrNotFound},
	} {
		d.Tenant, d.Kind = "acme", store.KindRule
		if err := c.Delete(ctx, d.Delete); !errors.Is(err, d.want) {
			t.Errorf("delete of %s: error is %v, want %v", name, err, d.want)
		}
	}
	if n := len(chain(t, c, "acme")); n != 2 {
		t.Errorf("there are %d entries, want those of the two changes", n)
	}
}

func TestWhatCannotBeRecordedDoesNotHappen(t *testing.T) {
	c := over(t)
	r := put(t, t.Context(), c, rule("r", "one"))
	ctx := audit.Doing(t.Context(), "no\x00name")
	if _, err := c.Put(ctx, rule("r", "two")); !errors.Is(err, store.ErrRefused) {
		t.Errorf("the change that cannot be recorded: %v", err)
	}
	if err := c.Delete(ctx, store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "r"}); !errors.Is(err, store.ErrRefused) {
		t.Errorf("the deletion that cannot be recorded: %v", err)
	}
	if got, err := c.Get(ctx, "acme", store.KindRule, "r"); err != nil || got.Revision != r.Revision {
		t.Errorf("it is %+v, %v", got, err)
	}
}

func TestBeforeIsWhatWasReallyChanged(t *testing.T) {
	c, ctx := over(t), t.Context()
	put(t, ctx, c, rule("r", "first"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 8 {
				if _, err := c.Put(ctx, rule("r", fmt.Sprintf("%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := chain(t, c, "acme")
	if len(all) != 33 {
		t.Fatalf("there are %d entries, want 33", len(all))
	}
	for i := 1; i < len(all); i++ {
		if string(all[i].Before) != string(all[i-1].After) {
			t.Errorf("entry %d changed %s, but the one before it had left %s", i+1, all[i].Before, all[i-1].After)
		}
	}
}

func TestATenantIsToldOfAnOperatorAndTheInstallationWhoThatWas(t *testing.T) {
	c, ctx := over(t), by(t.Context(), "key:op", "default")
	put(t, ctx, c, store.Put{Tenant: "acme", Kind: store.KindTenant, Slug: "acme", Body: json.RawMessage(`{"name":"Acme"}`)})
	put(t, ctx, c, store.Put{Tenant: "acme", Kind: store.KindKey, Slug: "k", Body: json.RawMessage(`{"name":"first"}`)})
	put(t, ctx, c, store.Put{Tenant: "default", Kind: store.KindRule, Slug: "own", Body: json.RawMessage(`{}`)})
	put(t, ctx, c, store.Put{Tenant: "default", Kind: store.KindTenant, Slug: "default", Body: json.RawMessage(`{}`)})
	wantChain(t, c, "acme", `operator tenant.put tenant/acme null→{"name":"Acme"}`, `operator key.make key/k null→{"name":"first"}`)
	wantChain(t, c, "default", `key:op rule.put rule/own null→{}`, `key:op tenant.put tenant/default null→{}`)
	wantChain(t, c, store.Installation, `key:op tenant.put tenant/acme null→{"name":"Acme"}`, `key:op key.make key/k null→{"name":"first"}`,
		`key:op tenant.put tenant/default null→{}`)
	for _, e := range chain(t, c, "acme") {
		if strings.Contains(e.Text, "op\"") || strings.Contains(e.Text, "10.0.0.7") || strings.Contains(e.Text, "Ann") {
			t.Errorf("the tenant is told of the operator: %s", e.Text)
		}
	}
	if e := chain(t, c, store.Installation)[1]; e.Target.Tenant != "acme" || e.Actor.Address != "10.0.0.7" {
		t.Errorf("the installation's entry is of tenant %q, from %q", e.Target.Tenant, e.Actor.Address)
	}
}

func TestWhatIsNoChangeIsNoted(t *testing.T) {
	c, ctx := over(t), by(t.Context(), "key:k", "acme")
	if err := c.Note(ctx, "acme", audit.Event{Action: "report.order", Kind: "report", Slug: "x", Details: map[string]string{"format": "csv"}}); err != nil {
		t.Fatal(err)
	}
	wantChain(t, c, "acme", `key:k report.order report/x null→{"format":"csv"}`)
}

func TestTheProgramsBookkeepingIsNotRecorded(t *testing.T) {
	c, ctx := over(t), t.Context()
	for _, k := range []store.Kind{store.KindCursor, store.KindTransition, store.KindSigningKey} {
		put(t, ctx, c, store.Put{Tenant: "acme", Kind: k, Slug: "s", Body: json.RawMessage(`{"a":1}`)})
		if err := c.Delete(ctx, store.Delete{Tenant: "acme", Kind: k, Slug: "s"}); err != nil {
			t.Error(err)
		}
	}
	member := func(last, name string) store.Put {
		return store.Put{Tenant: "acme", Kind: "member", Slug: "m", Body: json.RawMessage(`{"name":"` + name + `","secrets":{"totp":"S3CRET","totp_last":` + last + `}}`)}
	}
	put(t, ctx, c, member("1", "Ann"))
	put(t, ctx, c, member("2", "Ann"))
	put(t, ctx, c, member("3", "Bea"))
	wantChain(t, c, "acme",
		`system member.make member/m null→{"name":"Ann","secrets":{"totp":"[hidden]","totp_last":"[hidden]"}}`,
		`system member.put member/m {"name":"Ann","secrets":{"totp":"[hidden]","totp_last":"[hidden]"}}→{"name":"Bea","secrets":{"totp":"[hidden]","totp_last":"[changed]"}}`)
}

func TestOfANoteWhatWasAddedIsRecorded(t *testing.T) {
	c, ctx := over(t), by(t.Context(), "key:k", "acme")
	for _, list := range []string{`[{"kind":"ack"}]`, `[{"kind":"ack"},{"kind":"comment","text":"on it"}]`} {
		put(t, ctx, c, store.Put{Tenant: "acme", Kind: store.KindNote, Slug: "i1", Body: json.RawMessage(list)})
	}
	wantChain(t, c, "acme", `key:k incident.note incident/i1 null→[{"kind":"ack"}]`, `key:k incident.note incident/i1 null→[{"kind":"comment","text":"on it"}]`)
}

func TestAnExportIsVerifiedWithoutTheServerAndWhatWasDoneToItIsLocated(t *testing.T) {
	c, ctx := over(t), by(t.Context(), "key:k", "acme")
	for i := range 6 {
		put(t, ctx, c, rule(fmt.Sprintf("r-%d", i+1), `a <b> & \"c\",\"hash\":\"x\"`))
	}
	var b strings.Builder
	if err := audit.Export(ctx, c.Trail(), "acme", store.Span{}, audit.NDJSON, &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(b.String(), "\n")[:6]
	head, err := c.Trail().Head(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		lines []string
		want  string // the first break; empty: none
	}{
		"as it is": {lines, ""}, "a stretch of it": {lines[2:5], ""}, "without the last line end": {append(lines[:5:5], strings.TrimSpace(lines[5])), ""},
		"an edit":       {edited(lines, 2, `"r-3"`, `"r-9"`), "3 it is not as it was written"},
		"another hash":  {edited(lines, 2, `"hash":"`+lines[2][len(lines[2])-67:len(lines[2])-65], `"hash":"zz`), "3 it is not as it was written"},
		"one removed":   {append(lines[:2:2], lines[3:]...), "3 it is missing"},
		"two swapped":   {[]string{lines[0], lines[2], lines[1], lines[3]}, "2 it is missing"},
		"one twice":     {[]string{lines[0], lines[0], lines[1]}, "1 it stands behind entry 1"},
		"a line of its": {[]string{lines[0], "{}\n", lines[1]}, "1 line 2"},
	} {
		got, err := audit.VerifyExport(strings.NewReader(strings.Join(test.lines, "")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch {
		case test.want == "" && (len(got.Broken) > 0 || got.Tenant != "acme" || int(got.Entries) != len(test.lines)):
			t.Errorf("%s: %+v", name, got)
		case test.want != "" && (len(got.Broken) == 0 || !strings.HasPrefix(fmt.Sprint(got.Broken[0].Seq, " ", got.Broken[0].Reason), test.want)):
			t.Errorf("%s: broken %v, want %s", name, got.Broken, test.want)
		}
		if name == "as it is" && got.Last != head {
			t.Errorf("the copy ends with %v, the chain with %v", got.Last, head)
		}
	}
	if _, err := audit.VerifyExport(strings.NewReader("seq,at\r\n1,2\r\n")); err == nil {
		t.Error("a CSV file was taken for an export that can be verified")
	}
}

func edited(lines []string, n int, from, to string) []string {
	out := append([]string(nil), lines...)
	out[n] = strings.Replace(out[n], from, to, 1)
	return out
}

func TestACellOfAnExportIsNoFormula(t *testing.T) {
	c := over(t)
	ctx := audit.With(t.Context(), audit.Actor{Tenant: "acme", Subject: "key:k", Name: "=HYPERLINK(1)", UserAgent: "a,\"b\""})
	put(t, ctx, c, rule("r", "one"))
	var b strings.Builder
	if err := audit.Export(ctx, c.Trail(), "acme", store.Span{}, audit.CSV, &b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, `,'=HYPERLINK(1),,"a,""b""",rule.put,,rule,r,,`) || !strings.HasPrefix(got, "seq,at,subject,") {
		t.Errorf("the export is %s", got)
	}
}

func TestAHeadThatWasNotedTellsARewrittenChain(t *testing.T) {
	c, ctx := over(t), t.Context()
	put(t, ctx, c, rule("r", "one"))
	noted, err := c.Trail().Head(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	put(t, ctx, c, rule("r", "two"))
	for name, test := range map[string]struct {
		known store.Head
		want  bool
	}{
		"none": {store.Head{}, true}, "as it was": {noted, true}, "another hash": {store.Head{Seq: 1, Hash: strings.Repeat("a", 64)}, false},
		"an entry that there is not": {store.Head{Seq: 9, Hash: noted.Hash}, false},
	} {
		r, err := audit.Verify(ctx, c.Trail(), "acme", test.known)
		if err != nil || r.OK != test.want || r.Entries != 2 || r.Head.Seq != 2 || (len(r.Broken) == 0) != test.want {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// late is a trail that something is written to between the look at its head and the first entry that is read.
type late struct {
	store.Trail
	write func()
}

func (l late) Walk(ctx context.Context, id tenant.ID, span store.Span, each func(*store.Entry) error) error {
	l.write()
	return l.Trail.Walk(ctx, id, span, each)
}

func TestAChainThatBeginsWhileItIsVerifiedIsNotBroken(t *testing.T) {
	c := over(t)
	ctx := by(t.Context(), "key:k1", "acme")
	write := func() { put(t, ctx, c, rule("busy", "Busy")) }
	if r, err := audit.Verify(ctx, late{c.Trail(), write}, "acme", store.Head{}); err != nil || !r.OK || r.Entries != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
