package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/vault"
)

// Places are where an installation keeps what it has.
type Places struct {
	DataDir     string
	EventsPath  string
	CatalogPath string
	LogDir      string
}

// Settings of a backup that the operator orders.
type Settings struct {
	Places
	To      string
	Wait    time.Duration
	Version string
	Threads int
	Logger  *slog.Logger
	Now     func() time.Time
	step    func(name string) error
}

// Make makes a backup of a data directory: by its server if one runs, else by itself.
func Make(ctx context.Context, s Settings, tell func(Progress)) (result *Result, err error) {
	to, err := filepath.Abs(s.To)
	if err != nil {
		return nil, err
	}
	if err := Unfinished(s.DataDir); err != nil {
		return nil, err
	}
	lock := filepath.Join(s.DataDir, lockName)
	if _, err := os.Stat(lock); err != nil {
		return nil, fmt.Errorf("%s is not a data directory: %w", s.DataDir, err)
	}
	unlock, free, err := tryLock(lock)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !free {
		return Ask(ctx, s.DataDir, to, s.Wait, tell)
	}
	defer unlock()
	return s.offline(ctx, to, tell)
}

// offline opens the stores of a server that does not run. What its workers had still to process when it ended is not backed up.
func (s *Settings) offline(ctx context.Context, to string, tell func(Progress)) (result *Result, err error) {
	for _, path := range []string{s.CatalogPath, s.EventsPath, s.LogDir} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("the data directory is not complete: %w", err)
		}
	}
	things, err := sqlite.Open(ctx, sqlite.Config{Path: s.CatalogPath, Log: s.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, things.Close()) }()
	events, err := duckdb.Open(ctx, duckdb.Config{Path: s.EventsPath, Log: s.Logger, CompactEvery: -1, Now: s.Now})
	if errors.Is(err, store.ErrDamaged) {
		return nil, fmt.Errorf("%w: start the server, which builds it anew from the log, and back up then", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, events.Close()) }()
	log, err := bus.Open(ctx, bus.Config{Dir: s.LogDir, Partitions: 1, Log: s.Logger, Committed: func(ctx context.Context, partition int) (string, uint64, error) {
		state, err := events.Partition(ctx, partition)
		return state.Offset.Incarnation, state.Offset.Seq, err
	}})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return Run(ctx, Source{Events: events, Catalog: things, Log: log, OwnKey: vault.OwnIn(s.DataDir), Version: s.Version, Logger: s.Logger, Now: s.Now, Threads: s.Threads, step: s.step}, to, tell)
}
