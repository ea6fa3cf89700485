package app

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/vault"
)

// MaxSeries is how many series of one metric of one tenant are kept apart; a restore keeps as many apart as the server does.
const MaxSeries = maxSeries

// backupWait bounds how long a backup waits for the workers, unless whoever orders it says otherwise.
const backupWait = 30 * time.Second

// control takes the operator's orders at a socket in the data directory. A server goes on without one.
func (a *App) control(ctx context.Context, things *sqlite.Store, events store.Events, log *bus.Bus) {
	c, err := backup.Listen(ctx, a.cfg.DataDir, backup.Source{Events: events, Catalog: things, Log: log, OwnKey: vault.OwnIn(a.cfg.DataDir), Version: a.opts.Version, Logger: a.opts.Log,
		Now: a.opts.Now, Wait: backupWait, Threads: 1})
	if err != nil {
		a.opts.Log.Warn("there is no control socket: pulsestream backup works only while the server is stopped", "error.message", err.Error())
		return
	}
	a.onStop("control", func(context.Context) error { return c.Close() })
}
