package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

func TestACatalogOfOneFileGetsItsCopyAndItsChecksums(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrate(t.Context(), f.writer, migrations[:2], slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	_, err = f.writer.ExecContext(t.Context(), `INSERT INTO resources (tenant, kind, slug, id, body, revision, created_at, updated_at) VALUES ('acme', 'rule', 'old', 1000, '{}', 1, 0, 0)`)
	if err := errors.Join(err, f.writer.Close()); err != nil {
		t.Fatal(err)
	}
	if reads, err := Open(t.Context(), Config{Path: path, ReadOnly: true}); err != nil {
		t.Errorf("as it is, it cannot be read: %v", err)
	} else if err := reads.Close(); err != nil {
		t.Error(err)
	}
	var log bytes.Buffer
	s, err := Open(t.Context(), Config{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "acme", store.KindRule, "old"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "WARN") || strings.Contains(log.String(), "ERROR") {
		t.Errorf("the log complains: %s", log.String())
	}
	same(t, path)
}

func TestAFileThatIsOneChangeBehindCatchesUp(t *testing.T) {
	for _, which := range []string{"first", "second"} {
		path := filepath.Join(t.TempDir(), "catalog.sqlite")
		s := opened(t, path)
		ahead := s.first
		if which == "first" {
			ahead = s.second
		}
		if _, _, err := ahead.write(t.Context(), func(tx *sql.Tx) error {
			_, err := put(t.Context(), tx, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "half"})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = opened(t, path)
		if _, err := s.Get(t.Context(), "acme", store.KindRule, "half"); err != nil {
			t.Errorf("behind was the %s: %v", which, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, path)
	}
}

// A change that only the first file has taken is not acknowledged, and the next one waits until both are the same again.
func TestASecondFileThatCannotBeWrittenIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	s := opened(t, path)
	put := func(slug string) error {
		_, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: slug})
		return err
	}
	if err := put("before"); err != nil {
		t.Fatal(err)
	}
	block := copyPath(path) + madeAnew + "-wal"
	if err := errors.Join(s.second.writer.Close(), os.MkdirAll(filepath.Join(block, "x"), 0o700)); err != nil { // nor can it be made anew
		t.Fatal(err)
	}
	if err := put("during"); err == nil {
		t.Error("a change that one file has is acknowledged")
	}
	if err := put("refused"); err == nil {
		t.Error("a change was made with one file")
	}
	if _, err := s.Get(t.Context(), "acme", store.KindRule, "refused"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the change that was refused was made: %v", err)
	}
	if list, err := s.List(t.Context(), "acme", store.KindRule); err != nil || len(list) != 2 {
		t.Errorf("reads do not go on: %v, %v", list, err)
	}
	if err := os.RemoveAll(block); err != nil {
		t.Fatal(err)
	}
	if err := put("after"); err != nil {
		t.Error(err)
	}
	if err := s.second.writer.Close(); err != nil { // now it can be made anew at once
		t.Fatal(err)
	}
	if err := put("unnoticed"); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, path)
}

func TestDamageWhileTheCatalogIsOpenIsFoundAndMended(t *testing.T) {
	for _, name := range []string{"catalog.sqlite", "catalog-copy.sqlite"} {
		t.Run(name, func(t *testing.T) {
			path, log := filled(t, 20), &bytes.Buffer{}
			s, err := Open(t.Context(), Config{Path: path, CheckEvery: -1, Log: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "mine", Body: []byte(`{"a":1}`)}); err != nil {
				t.Fatal(err)
			}
			revision, _ := s.Revision(t.Context())
			harm(t, s, name)
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "its checksum is not that of its rows") || !strings.Contains(log.String(), name+".damaged-") {
				t.Errorf("the log says %q", log)
			}
			r, err := s.Get(t.Context(), "acme", store.KindRule, "mine")
			if err != nil || string(r.Body) != `{"a":1}` {
				t.Errorf("%s, %v", r.Body, err)
			}
			now, err := s.Revision(t.Context())
			if err != nil || (now > revision) != (name == "catalog.sqlite") {
				t.Errorf("the revision was %d and is %d, %v", revision, now, err)
			}
			next, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "next"})
			if err != nil || next.Revision != now+1 {
				t.Errorf("%+v, %v", next, err)
			}
			if err := s.Check(t.Context()); err != nil || strings.Count(log.String(), "\n") != 1 {
				t.Errorf("%v; the log says %q", err, log)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			same(t, path)
		})
	}
}

// harm changes a row behind the checksum's back.
func harm(t *testing.T, s *Store, name string) {
	t.Helper()
	db, err := connect(filepath.Join(filepath.Dir(s.path), name), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE resources SET body = '{"a":2}' WHERE slug = 'mine'`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestADoubtIsLookedInto(t *testing.T) {
	path := filled(t, 3)
	told := make(chan string, 10)
	s, err := Open(t.Context(), Config{Path: path, Log: slog.New(slog.NewTextHandler(lines(told), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "mine"}); err != nil {
		t.Fatal(err)
	}
	harm(t, s, "catalog.sqlite")
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "b.sqlite")); !errors.Is(err, ErrDamaged) {
		t.Errorf("the backup of a damaged file: %v", err)
	}
	select {
	case line := <-told:
		if !strings.Contains(line, "nothing is lost") {
			t.Error(line)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody looked")
	}
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "b.sqlite")); err != nil {
		t.Error(err)
	}
}

type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

func TestBothDamagedIsRefusedAndNothingIsChanged(t *testing.T) {
	for _, left := range []string{stopped, killed, folded} {
		whole := furnished(t, left)
		for name, b := range whole {
			switch {
			case strings.HasSuffix(name, "-wal"):
			case left != stopped:
				whole[name] = nil // the log has nothing to stand on
			default:
				b[20] ^= 0xff
			}
		}
		path := lay(t, t.TempDir(), whole)
		if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrDamaged) {
			t.Fatalf("error is %v, want %v", err, ErrDamaged)
		}
		for name, b := range files(t, path) {
			if !bytes.Equal(b, whole[name]) {
				t.Errorf("%s was changed", name)
			}
		}
	}
}

func TestReadingOnlyChangesNothing(t *testing.T) {
	for _, left := range []string{stopped, killed, folded} {
		whole := furnished(t, left)
		path := lay(t, t.TempDir(), whole)
		s, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := content(t.Context(), s); err != nil {
			t.Error(err)
		}
		_, changed := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "x"})
		if !errors.Is(changed, errReading) || !errors.Is(s.Check(t.Context()), errReading) || !errors.Is(s.Backup(t.Context(), path+".b"), errReading) {
			t.Errorf("a catalog that is only read was changed: %v", changed)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		now := files(t, path)
		for name, b := range whole {
			if !bytes.Equal(now[name], b) {
				t.Errorf("%s was changed", name)
			}
		}
		if len(now) != len(whole) {
			t.Errorf("there are %d files, there were %d", len(now), len(whole))
		}
	}
}

// Every statement there is moves the sum to where a look at all rows finds it.
func TestTheSumFollowsEveryStatement(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "catalog.sqlite"))
	for _, statement := range []string{
		`INSERT INTO cursors (name, position) VALUES ('a', 1), ('b', 2), ('c', 3), (CAST(x'610062' AS TEXT), 4)`,
		`INSERT INTO cursors (name, position) VALUES ('a', 5), ('d', 6) ON CONFLICT (name) DO UPDATE SET position = excluded.position`,
		`INSERT INTO cursors (name, position) VALUES ('a', 7), ('e', 8) ON CONFLICT (name) DO NOTHING`,
		`REPLACE INTO cursors (name, position) VALUES ('a', 9), ('f', 8)`,
		`UPDATE cursors SET position = position + 1, name = name || 'x'`,
		`DELETE FROM cursors WHERE name LIKE 'a%'`,
		`DELETE FROM cursors`,
		`INSERT INTO resources (tenant, kind, slug, id, body, revision, created_at, updated_at) VALUES ('t', 'k', 's', -1, '', 1, 9223372036854775807, 0)`,
		`UPDATE resources SET lookup = 'x'`,
		`INSERT INTO audit_entries (tenant, seq, at, actor, action, kind, slug, text, hash) VALUES ('t', 1, 0, '', '', '', '', '{}', 'h')`,
		`INSERT INTO audit_heads (tenant, seq, hash) VALUES ('t', 1, 'h')`,
	} {
		err := s.write(t.Context(), statement, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		both, err := lookAtBoth(t.Context(), s.path, true)
		if err := errors.Join(err, both[0].unread, both[1].unread, both[0].damage, both[1].damage); err != nil || both[0].sum != both[1].sum {
			t.Fatal(statement, err, both)
		}
	}
}

func TestTheSumOfAnOlderFileHasTheAuditLogAndThatOfANewOneItsHeadsOnly(t *testing.T) {
	const entry = `INSERT INTO audit_entries (tenant, seq, at, actor, action, kind, slug, text, hash) VALUES ('acme', 1, 0, '', '', '', '', '{}', 'h')`
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, upto := range []int{4, 5} { // the second step seals what was written after the first one
		if _, err := migrate(t.Context(), f.writer, migrations[:upto], slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if upto == 4 {
			if _, err := f.writer.ExecContext(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.writer.Close(); err != nil {
		t.Fatal(err)
	}
	if older, err := look(t.Context(), path, false); err != nil || older.damage != nil || older.version != 5 {
		t.Fatal("as it was written by an older version:", older, err)
	}
	s, err := Open(t.Context(), Config{Path: path, CheckEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tamper(t.Context(), `INSERT INTO audit_heads (tenant, seq, hash) VALUES ('acme', 1, 'h')`); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		statement string
		damaged   bool
	}{{`SELECT 1`, false}, {`UPDATE audit_entries SET hash = 'x'`, false}, {`UPDATE audit_heads SET hash = 'x'`, true}} {
		db, err := connect(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), test.statement)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if now, err := look(t.Context(), path, true); err != nil || (now.damage != nil) != test.damaged {
			t.Errorf("%s: %v, %v", test.statement, now.damage, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
