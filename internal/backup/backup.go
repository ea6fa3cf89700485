package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
)

// Catalog is the part of the catalog that a backup reads.
type Catalog interface {
	List(ctx context.Context, t tenantID, k store.Kind) ([]store.Resource, error)
	// Backup writes the catalog as it is at one moment to a new file.
	Backup(ctx context.Context, path string) error
}

// Log is the part of the log that a backup reads.
type Log interface {
	Tail(ctx context.Context, partition int) (incarnation string, first, last uint64, err error)
	// Resume says where a reader that has read up to a message of an incarnation goes on; an error when that is none of this log's.
	Resume(ctx context.Context, partition int, incarnation string, seq uint64) (uint64, error)
}

// Source is what is backed up.
type Source struct {
	Events     store.Events
	Catalog    Catalog
	Log        Log
	Partitions int
	// Wait bounds how long the backup waits for the workers to commit what the log held when it began; 0 when there are none.
	Wait    time.Duration
	Version string
	Log_    *slog.Logger
	Now     func() time.Time
}
