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
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"github.com/pulsestream/pulsestream/internal/store"
)

// behind runs a statement on one file behind the back of the catalog that is open.
func behind(t *testing.T, path, statement string) {
	t.Helper()
	db, err := connect(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), statement)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeThatDamageInterruptsHasTheResultOfTheFileThatIsKept(t *testing.T) {
	const unreadable, wrong = `DROP TABLE resources; DROP TABLE jobs`, `UPDATE counters SET value = 1000000; UPDATE jobs SET channel = 'wrong'`
	for _, c := range []struct{ file, damage string }{{"catalog-copy.sqlite", unreadable}, {"catalog-copy.sqlite", wrong}, {"catalog.sqlite", wrong}} {
		t.Run(c.file+": "+c.damage, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			for name, change := range map[string]func(*Store) (revision int64, err error){
				"put": func(s *Store) (int64, error) {
					r, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "b"})
					return r.Revision, err
				},
				"delete": func(s *Store) (int64, error) {
					return 2, s.Delete(t.Context(), store.Delete{Tenant: "acme", Kind: store.KindRule, Slug: "a"})
				},
				"claim": func(s *Store) (int64, error) {
					jobs, err := s.Claim(t.Context(), now, time.Minute, 10)
					if len(jobs) != 1 || jobs[0].Channel != "right" {
						t.Errorf("claimed are %+v", jobs)
					}
					return 0, err
				},
			} {
				path := filepath.Join(t.TempDir(), "catalog.sqlite")
				s := opened(t, path)
				_, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "a"})
				job := store.Job{ID: "j", Tenant: "acme", Channel: "right", Incident: "i", CreatedAt: now, NextAt: now}
				if err := errors.Join(err, s.Enqueue(t.Context(), "tail", 1, []store.Job{job})); err != nil {
					t.Fatal(err)
				}
				behind(t, filepath.Join(filepath.Dir(path), c.file), c.damage)
				revision, err := change(s)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if at, err := s.Revision(t.Context()); err != nil || revision != 0 && (revision != 2 || at < 2 || at > 3) {
					t.Errorf("%s: it is revision %d, and the catalog is at %d, %v", name, revision, at, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				same(t, path)
			}
		})
	}
}

// The second file takes the place of the first, but nothing can be written at that moment: who watches hears of it later all the same.
func TestTheRevisionMovesOnAfterASwapThatWasInterrupted(t *testing.T) {
	path := filled(t, 3)
	s := opened(t, path)
	if _, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "mine"}); err != nil {
		t.Fatal(err)
	}
	s.moved(s.revision.Load() + 1) // as a change does that only the first file has, and that fails
	before := s.revision.Load()
	if _, err := s.second.writer.ExecContext(t.Context(), `PRAGMA busy_timeout = 0`); err != nil {
		t.Fatal(err)
	}
	busy, err := openFile(t.Context(), copyPath(path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.writer.Close() }()
	tx, err := busy.writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	harm(t, s, "catalog.sqlite")
	if err := s.Check(t.Context()); err == nil {
		t.Error("the check went well, although nothing could be written")
	}
	if err := errors.Join(tx.Rollback(), busy.writer.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := s.revision.Load()
	if now <= before {
		t.Errorf("the revision was %d and is %d", before, now)
	}
	if r, err := s.Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "next"}); err != nil || r.Revision <= now {
		t.Errorf("after revision %d: %+v, %v", now, r, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, path)
}

func TestAFileThatCannotBeReadLeavesTheOtherToReadFrom(t *testing.T) {
	for _, name := range []string{"catalog.sqlite", "catalog-copy.sqlite"} {
		for _, open := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/open=%v", name, open), func(t *testing.T) {
				path := filled(t, 3)
				bad := filepath.Join(filepath.Dir(path), name)
				var log bytes.Buffer
				start := func() *Store {
					s, err := Open(t.Context(), Config{Path: path, CheckEvery: -1, Log: slog.New(slog.NewTextHandler(&log, nil))})
					if err != nil {
						t.Fatal(err)
					}
					return s
				}
				var s *Store
				if open {
					s = start()
				}
				if err := errors.Join(os.Rename(bad, bad+".kept"), os.Mkdir(bad, 0o700)); err != nil { // SQLite cannot open a folder
					t.Fatal(err)
				}
				if !open {
					s = start()
				}
				defer func() { _ = s.Close() }()
				if err := s.Check(t.Context()); err == nil {
					t.Error("the check went well")
				}
				if list, err := s.List(t.Context(), "acme", store.KindRule); err != nil || len(list) != 3 {
					t.Errorf("reads do not go on: %v, %v", list, err)
				}
				put := store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "new"}
				if _, err := s.Put(t.Context(), put); err == nil || errors.Is(err, ErrDamaged) {
					t.Errorf("a change with one file: %v", err)
				}
				if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) > 0 {
					t.Errorf("set aside: %v", aside)
				}
				if !bytes.Contains(log.Bytes(), []byte("cannot be read")) {
					t.Errorf("the log says %q", &log)
				}
				if err := errors.Join(os.Remove(bad), os.Rename(bad+".kept", bad)); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Put(t.Context(), put); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				same(t, path)
			})
		}
	}
}

func TestWhatIsNotKnownIsNoDamage(t *testing.T) {
	path := filled(t, 1)
	db, err := openReadOnly(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, readOnly := db.ExecContext(t.Context(), `DELETE FROM jobs`)
	_, missing := db.ExecContext(t.Context(), `SELECT x FROM jobs`)
	var e *driver.Error
	if !errors.As(readOnly, &e) || !errors.As(missing, &e) {
		t.Fatal(readOnly, missing)
	}
	for _, c := range []struct {
		err    error
		damage bool
	}{{readOnly, false}, {errors.New("something else"), false}, {missing, true}, {sql.ErrNoRows, true}} {
		var s state
		if err := s.judge(t.Context(), c.err); (err == nil) != c.damage || (s.damage != nil) != c.damage {
			t.Errorf("%v: returned %v, damage %v; want it as damage: %v", c.err, err, s.damage, c.damage)
		}
	}
}

func TestACallerThatGoesAwayLeavesNoDoubt(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "catalog.sqlite"))
	for gone, want := range map[int]int64{1: 0, 2: 7} { // in the run on this file
		ctx, cancel := context.WithCancel(t.Context())
		runs, second := 0, s.second
		err := s.write(ctx, "move", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, moveSQL, fmt.Sprint(gone), 7)
			if runs++; runs == gone {
				cancel()
			}
			return err
		})
		cancel()
		if (err == nil) != (want > 0) || s.torn || s.second != second {
			t.Errorf("gone in run %d: %v, torn is %v, made anew: %v", gone, err, s.torn, s.second != second)
		}
		if got, err := s.Position(t.Context(), fmt.Sprint(gone)); err != nil || got != uint64(want) {
			t.Errorf("gone in run %d: it is at %d, %v", gone, got, err)
		}
	}
}

func TestWhatAnAttemptLeftIsRemoved(t *testing.T) {
	path := filled(t, 1)
	left := []string{path + madeAnew, copyPath(path) + madeAnew}
	for _, f := range left {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened(t, path)
	for _, f := range left {
		if _, err := os.Stat(f); err == nil {
			t.Errorf("%s is still there", filepath.Base(f))
		}
	}
}
