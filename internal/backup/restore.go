package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/vault"
)

// Marker is the name of the file that says, in a data directory, that a restore into it has not ended. A server must not start on it.
const Marker = "restore-is-not-complete"

// Unfinished is an error if a restore into a data directory was broken off.
func Unfinished(dataDir string) error {
	if _, err := os.Lstat(filepath.Join(dataDir, Marker)); err != nil {
		return nil //nolint:nilerr // there is no marker
	}
	return fmt.Errorf("a restore into %s was broken off: delete that directory and restore again", dataDir)
}

// Target is where a restore makes an installation, and how.
type Target struct {
	Places
	// MaxSeries is how many series of one metric of one tenant are kept apart, as the server does it.
	MaxSeries int
	Threads   int
	Logger    *slog.Logger
	Now       func() time.Time
}

// Restored is what a restore has done.
type Restored struct {
	Manifest    Manifest `json:"manifest"`
	Events      uint64   `json:"events"`
	Transitions int      `json:"transitions"`
	Quarantined int      `json:"quarantined"`
	Skipped     uint64   `json:"events_left_out_of_metrics"`
	// KeyNeeded: the secrets are encrypted under a master key that was given to the server, and is not in the backup.
	KeyNeeded bool          `json:"secrets_key_needed,omitempty"`
	Took      time.Duration `json:"duration_ns"`
}

// Restore verifies a backup and makes an installation from it in a data directory that must be empty or not there. When it fails, the
// directory is empty again.
func Restore(ctx context.Context, dir string, to Target, tell func(Progress)) (*Restored, error) {
	if tell == nil {
		tell = func(Progress) {}
	}
	began := to.Now()
	if err := to.checkEmpty(); err != nil {
		return nil, err
	}
	m, err := Verify(ctx, dir, tell)
	if err != nil {
		return nil, err
	}
	r := &restoring{Target: to, dir: dir, m: m, tell: tell}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("restore %s: %w", dir, err)
	}
	r.result.Manifest, r.result.Took = *m, to.Now().Sub(began)
	return &r.result, nil
}

// checkEmpty refuses to restore over anything.
func (t *Target) checkEmpty() error {
	entries, err := os.ReadDir(t.DataDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into the data directory: %w", err)
	}
	if err := Unfinished(t.DataDir); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // of a file system that is mounted there
			return fmt.Errorf("%w: %s holds something (%s)", errNotEmpty, t.DataDir, e.Name())
		}
	}
	for _, path := range []string{t.EventsPath, t.CatalogPath, t.LogDir} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%w: %s is there already", errNotEmpty, path)
		}
	}
	return nil
}

// restoring is a restore under way.
type restoring struct {
	Target
	dir    string
	m      *Manifest
	tell   func(Progress)
	result Restored

	catalog      *sqlite.Store
	events       *duckdb.Store
	incarnations []string // of the new log
}

func (r *restoring) run(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	lock := filepath.Join(r.DataDir, lockName)
	unlock, ok, err := tryLock(lock)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("%w: %s is used by another process", errNotEmpty, r.DataDir))
	}
	defer unlock()
	marker := filepath.Join(r.DataDir, Marker)
	err = errors.Join(os.WriteFile(marker, []byte("The restore that has made this file has not ended.\n"), 0o600), syncFile(r.DataDir), syncFile(filepath.Dir(r.DataDir)))
	if err == nil {
		err = r.fill(ctx)
	}
	if err != nil {
		return errors.Join(err, r.clear())
	}
	if err := syncFile(r.DataDir); err != nil {
		return err
	}
	return errors.Join(os.Remove(marker), syncFile(r.DataDir))
}

// clear removes what was made. The directory was empty.
func (r *restoring) clear() error {
	var errs []error
	for _, path := range append(sqlite.Files(r.CatalogPath), r.EventsPath, r.EventsPath+".wal", r.EventsPath+".segments", r.LogDir,
		filepath.Join(r.DataDir, lockName), filepath.Join(r.DataDir, Marker), vault.OwnIn(r.DataDir).Path) {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// fill makes the three stores.
func (r *restoring) fill(ctx context.Context) (err error) {
	if err := r.openCatalog(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.catalog.Close()) }()
	if err := r.makeLog(ctx); err != nil {
		return err
	}
	r.events, err = duckdb.Open(ctx, duckdb.Config{Path: r.EventsPath, Log: r.Logger, Now: r.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.events.Close(), syncFile(filepath.Dir(r.EventsPath))) }()
	return r.restoreEvents(ctx)
}

// openCatalog puts the catalog in its place.
func (r *restoring) openCatalog(ctx context.Context) error {
	from := join(r.dir, r.m.Catalog.Path)
	if err := sqlite.CheckFile(ctx, from); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := copyFile(from, r.CatalogPath); err != nil {
		return fmt.Errorf("restore the catalog: %w", err)
	}
	if key := r.m.SecretsKey; key != nil {
		if err := copyFile(join(r.dir, key.Path), vault.OwnIn(r.DataDir).Path); err != nil {
			return fmt.Errorf("restore the master key of the catalog's secrets: %w", err)
		}
	}
	var err error
	r.catalog, err = sqlite.Open(ctx, sqlite.Config{Path: r.CatalogPath, Log: r.Logger})
	if err != nil {
		return err
	}
	r.result.KeyNeeded, err = vault.NeedsGiven(ctx, r.catalog)
	if err != nil {
		return errors.Join(err, r.catalog.Close())
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// makeLog makes an empty log whose numbers go on behind those of the events.
func (r *restoring) makeLog(ctx context.Context) error {
	begin := make([]bus.Beginning, len(r.m.Partitions))
	for p, at := range r.m.Partitions {
		begin[p] = bus.Beginning{Incarnation: at.Incarnation, Seq: at.Seq}
	}
	log, err := bus.Open(ctx, bus.Config{Dir: r.LogDir, Partitions: len(begin), Begin: begin, Log: r.Logger})
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer log.Close()
	for p := range begin {
		incarnation, _, last, err := log.Tail(ctx, p)
		if err != nil {
			return err
		}
		if last != begin[p].Seq {
			return fmt.Errorf("make the log: partition %d begins behind %d, not %d", p, last, begin[p].Seq)
		}
		r.incarnations = append(r.incarnations, incarnation)
	}
	return nil
}

// definitions are what each partition's tenants have configured.
func (r *restoring) definitions(ctx context.Context) (map[int][]catalog.Definitions, error) {
	all, err := catalog.NewRegistry(catalog.New(r.catalog, func(tenant.ID) {}, r.Now), r.Logger).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	of := map[int][]catalog.Definitions{}
	for _, d := range all {
		p := tenant.Partition(d.Tenant, len(r.m.Partitions))
		of[p] = append(of[p], d)
	}
	return of, nil
}

// restoreEvents fills the store of events.
func (r *restoring) restoreEvents(ctx context.Context) error {
	definitions, err := r.definitions(ctx)
	if err != nil {
		return err
	}
	last, err := r.smallFiles(ctx)
	if err != nil {
		return err
	}
	parquet, err := duckdb.NewParquet(r.Threads)
	if err != nil {
		return err
	}
	defer parquet.Close()
	for p := range r.m.Partitions {
		f := &filler{restoring: r, partition: p, parquet: parquet, definitions: definitions[p], last: last[p]}
		if err := f.fill(ctx); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// smallFiles restores the transitions, and gives what the last commit of each partition has to have: rules' states and the quarantine.
func (r *restoring) smallFiles(ctx context.Context) (map[int]*store.Commit, error) {
	last := map[int]*store.Commit{}
	of := func(p int) *store.Commit {
		if last[p] == nil {
			last[p] = &store.Commit{Partition: p}
		}
		return last[p]
	}
	if err := r.transitions(ctx, of); err != nil {
		return nil, fmt.Errorf("restore incidents: %w", err)
	}
	err := readLines(r.dir, r.m.Quarantine, func(l *quarantineLine) error {
		q, err := l.quarantined()
		if err != nil {
			return err
		}
		if q.Partition < 0 || q.Partition >= len(r.m.Partitions) {
			return fmt.Errorf("%w: the quarantine names partition %d", ErrDamaged, q.Partition)
		}
		r.result.Quarantined++
		of(q.Partition).Quarantine = append(of(q.Partition).Quarantine, q)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore the quarantine: %w", err)
	}
	return last, nil
}
