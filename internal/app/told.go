package app

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Subjects that processes of a fleet hear each other on.
const (
	beatsSubject    = "lease.beat"
	revisionSubject = "catalog.revision"
)

// workerName tells a worker from all others of its fleet, and people on which machine it is.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return host + "-" + hex.EncodeToString(b[:])
}

// toldCatalog is a catalog whose changes all processes hear of: a key that was revoked by one is refused by the others as soon as the word has come, rather than when they
// look the next time.
type toldCatalog struct {
	store.Catalog
	wire  *bus.Cluster
	log   *slog.Logger
	heard atomic.Int64 // the highest revision
}

// listen has changed called after each change by any process, until stop is called.
func (c *toldCatalog) listen(changed func()) (stop func(), err error) {
	return c.wire.Hear(revisionSubject, 1024, func(n bus.Note) {
		if len(n.Data) != 8 {
			return
		}
		c.reached(int64(binary.BigEndian.Uint64(n.Data))) //nolint:gosec // as it was written
		changed()
	})
}

func (c *toldCatalog) reached(revision int64) {
	for {
		heard := c.heard.Load()
		if revision <= heard || c.heard.CompareAndSwap(heard, revision) {
			return
		}
	}
}

// tell says that the catalog is at a revision. When it is lost, the others see so within seconds.
func (c *toldCatalog) tell(revision int64) {
	c.reached(revision)
	if err := c.wire.Tell(revisionSubject, binary.BigEndian.AppendUint64(nil, uint64(revision))); err != nil { //nolint:gosec // read back as it was
		c.log.Warn("catalog change not announced; processes will notice it by themselves within seconds", "error.message", err.Error())
	}
}

// announced does nothing: the change was told when it was made.
func (c *toldCatalog) announced(tenant.ID) {}

// Put implements store.Catalog.
func (c *toldCatalog) Put(ctx context.Context, p store.Put) (store.Resource, error) {
	r, err := c.Catalog.Put(ctx, p)
	if err == nil {
		c.tell(r.Revision)
	}
	return r, err
}

// Delete implements store.Catalog.
func (c *toldCatalog) Delete(ctx context.Context, d store.Delete) error {
	err := c.Catalog.Delete(ctx, d)
	if err != nil {
		return err
	}
	if revision, err := c.Catalog.Revision(ctx); err == nil { // what this process has changed is in it
		c.tell(revision)
	}
	return nil
}

// Revision implements store.Catalog.
func (c *toldCatalog) Revision(ctx context.Context) (int64, error) {
	revision, err := c.Catalog.Revision(ctx)
	return max(revision, c.heard.Load()), err
}

// toldEvents is a store of events whose commits are told.
type toldEvents struct {
	store.Events
	changed func(partition int, rollups []series.Rollup)
}

// Commit implements store.Events.
func (e *toldEvents) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	offset, err := e.Events.Commit(ctx, c)
	if !c.DryRun && !errors.Is(err, store.ErrFenced) { // after other errors it may have taken effect
		e.changed(c.Partition, c.Rollups)
	}
	return offset, err
}
