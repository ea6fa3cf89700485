package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

func opened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// filled makes a catalog of n resources and closes it.
func filled(t *testing.T, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "catalog.sqlite")
	s := opened(t, path)
	for i := range n {
		_, err := s.Put(t.Context(), store.Put{
			Tenant: "acme", Kind: store.KindRule, Slug: fmt.Sprintf("r-%03d", i), Body: bytes.Repeat([]byte(" "), 500),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyTheOwnerCanReadTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.sqlite")
	for _, when := range []string{"new", "loosened"} {
		s := opened(t, path)
		if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: when}); err != nil {
			t.Fatal(err)
		}
		for _, file := range Files(path) {
			info, err := os.Stat(file)
			if strings.HasSuffix(file, madeAnew) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode of %q is %v", when, file, info.Mode())
			}
		}
		if err := errors.Join(s.Close(), os.Chmod(path, 0o644), os.Chmod(copyPath(path), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryConnectionIsSafe(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "catalog.sqlite"))
	for name, db := range map[string]*sql.DB{"writer": s.first.writer, "second": s.second.writer, "reader": s.reader} {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000", "trusted_schema": "0",
			"query_only": map[string]string{"writer": "0", "second": "0", "reader": "1"}[name],
		} {
			var got string
			if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s = %q, %v; want %q", name, pragma, got, err, want)
			}
		}
	}
}

func TestCloseFoldsTheLogIn(t *testing.T) {
	path := filled(t, 3)
	if left, _ := filepath.Glob(path + "-*"); len(left) > 0 {
		t.Errorf("after Close there still is %v", left)
	}
}

func TestAnyPathWillDo(t *testing.T) {
	for _, name := range []string{"a b.sqlite", "50%25.sqlite", "what?mode=memory", "a#b&c=d;e", "Ä.sqlite"} {
		path := filepath.Join(t.TempDir(), name)
		if err := opened(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: the file is %v, %v", name, info, err)
		}
	}
}

func TestAMissingFolderIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "catalog.sqlite")
	if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v, want one that names %s", err, path)
	}
}

// Without its copy: with it, nothing is refused.
func TestADamagedFileIsRecognisedAndLeftAlone(t *testing.T) {
	whole, err := os.ReadFile(filled(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func([]byte) []byte{
		"not a database":      func([]byte) []byte { return bytes.Repeat([]byte("not a database. "), 1000) },
		"a flipped header":    func(b []byte) []byte { b[3] ^= 0xff; return b },
		"cut in the middle":   func(b []byte) []byte { return b[:len(b)/2/4096*4096] },
		"a page of zeros":     func(b []byte) []byte { clear(b[4096:8192]); return b },
		"a page of another":   func(b []byte) []byte { copy(b[len(b)-4096:], b[len(b)-8192:]); return b },
		"noise in every page": func(b []byte) []byte { noise(b, 4096); return b },
		"an overwritten tail": func(b []byte) []byte { noise(b[len(b)-4096:], 16); return b },
		"a schema that is wrong": func(b []byte) []byte {
			return bytes.Replace(b, []byte("CREATE TABLE jobs"), []byte("CREATE TABEL jobs"), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.sqlite")
			harmed := harm(bytes.Clone(whole))
			if err := os.WriteFile(path, harmed, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), Config{Path: path})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error is %v, want %v with the path", err, ErrDamaged)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, harmed) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// noise garbles eight bytes in each step.
func noise(b []byte, step int) {
	for i := 0; i < len(b); i += step {
		for j := range min(8, len(b)-i) {
			b[i+j] ^= 0x5a
		}
	}
}

func TestMigrationsAreAppliedOnceAndInOrder(t *testing.T) {
	path := filled(t, 1)
	s := opened(t, path)
	steps := append(append([]migration{}, migrations...),
		migration{"a note", `ALTER TABLE resources ADD COLUMN note TEXT; CREATE INDEX resources_note ON resources (note)`},
		migration{"broken", `CREATE TABLE halfway (x TEXT) STRICT; CREATE TABLE jobs (x TEXT)`})
	var log bytes.Buffer
	_, err := migrate(t.Context(), s.first.writer, steps, slog.New(slog.NewTextHandler(&log, nil)))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("migration %d (broken)", len(steps))) {
		t.Fatalf("error is %v, want one that names migration %d", err, len(steps))
	}
	if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "a note") {
		t.Errorf("the log says %q, want one line of the migration before", log.String())
	}
	var have, halfway int
	if err := s.first.writer.QueryRowContext(t.Context(), `SELECT (SELECT MAX(version) FROM schema_migrations), (SELECT COUNT(*) FROM sqlite_master WHERE name = 'halfway')`).Scan(&have, &halfway); err != nil {
		t.Fatal(err)
	}
	if have != len(steps)-1 || halfway != 0 {
		t.Errorf("the schema is at %d with %d tables of the failed migration, want %d and 0", have, halfway, len(steps)-1)
	}
	if list, err := s.List(t.Context(), "acme", store.KindRule); err != nil || len(list) != 1 {
		t.Errorf("after the migration there are %d resources, %v", len(list), err)
	}
}

func TestAFileOfANewerVersionIsRefused(t *testing.T) {
	path := filled(t, 1)
	s := opened(t, path)
	if _, err := migrate(t.Context(), s.first.writer, append(append([]migration{}, migrations...), migration{"later", "SELECT 1"}), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrNewer) {
		t.Errorf("error is %v, want %v", err, ErrNewer)
	}
}

func TestQueriesUseAnIndexAndSortNothing(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "catalog.sqlite"))
	for _, query := range []string{currentSQL, getSQL, findSQL, listSQL, listAllSQL, dueSQL, incidentJobsSQL, tenantJobsSQL, cursorSQL} {
		for _, step := range plan(t, s.reader, query) {
			if !strings.HasPrefix(step, "SEARCH") {
				t.Errorf("%s\n\t%s", query, step)
			}
		}
	}
}

func plan(t *testing.T, db *sql.DB, query string) (steps []string) {
	t.Helper()
	args := []any{"1", "2", "3"}[:strings.Count(query, "$")]
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	if err := rows.Err(); err != nil || len(steps) == 0 {
		t.Fatalf("plan of %s: %v, %v", query, steps, err)
	}
	return steps
}

func TestACallThatWaitsForItsTurnEndsWithItsContext(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "catalog.sqlite"))
	tx, err := s.first.writer.BeginTx(t.Context(), nil) // somebody is writing
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Put(ctx, store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := s.List(t.Context(), "acme", store.KindRule); err != nil {
		t.Errorf("a read beside it failed: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "r", IfRevision: -1}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
