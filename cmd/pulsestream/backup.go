package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/config"
)

type backupCmd struct {
	DataDir string        `help:"Data directory to back up." default:"./pulsestream-data" type:"path" placeholder:"DIR"`
	Store   string        `help:"The store of events, if it is not in its place." placeholder:"FILE"`
	To      string        `help:"Directory of the backup: a new one, or one with an earlier backup of the same data directory." required:"" type:"path" placeholder:"BACKUPDIR"`
	Wait    time.Duration `help:"How long to wait until the running server has processed what was acknowledged; what it has not by then is not in the backup." default:"30s"`
	JSON    bool          `help:"Print the result as JSON." name:"json"`
}

// Run makes the backup and says what it holds.
func (c *backupCmd) Run(ctx context.Context) error {
	if err := forFiles("backup", c.Store); err != nil {
		return err
	}
	places := config.Serve{DataDir: c.DataDir, Store: c.Store}
	show := newMeter(!c.JSON)
	r, err := backup.Make(ctx, backup.Settings{
		Places: backup.Places{DataDir: c.DataDir, EventsPath: places.EventsPath(), CatalogPath: places.CatalogPath(), LogDir: places.LogDir()},
		To:     c.To, Wait: c.Wait, Version: version, Threads: runtime.GOMAXPROCS(0), Logger: app.NewLogger(os.Stderr, "text", "warn"), Now: time.Now,
	}, show.tell)
	show.end()
	if err != nil {
		return err
	}
	m := &r.Manifest
	if c.JSON {
		return printJSON(r)
	}
	fmt.Printf("Backup %d in %s: %d events added (%s in %d files) in %s.\nIt holds %d events and takes %s.\n", m.Number, c.To, r.Events, bytesText(r.Bytes), r.Files,
		r.Took.Round(time.Millisecond), m.Count(), bytesText(m.Bytes()))
	if n := m.Waiting(); n > 0 {
		fmt.Printf("Not in it: the events of %d messages of the log, which were acknowledged and not processed yet. They are in the next backup.\n", n)
	}
	if len(r.Behind) > 0 {
		fmt.Printf("The store of events has less of partitions %v than the backup has: it is being built anew from the log. The backup keeps what it has.\n", r.Behind)
	}
	return nil
}

type restoreCmd struct {
	From       string `help:"Directory of the backup." required:"" type:"path" placeholder:"BACKUPDIR"`
	DataDir    string `help:"Data directory to make: an empty one, or one that is not there." default:"./pulsestream-data" type:"path" placeholder:"DIR"`
	Store      string `help:"Where the store of events is to be, if not in its place." placeholder:"FILE"`
	VerifyOnly bool   `help:"Compare every file of the backup with its checksum, and restore nothing."`
	JSON       bool   `help:"Print the result as JSON." name:"json"`
}

// Run restores and says what.
func (c *restoreCmd) Run(ctx context.Context) error {
	show := newMeter(!c.JSON)
	if c.VerifyOnly {
		m, err := backup.Verify(ctx, c.From, show.tell)
		show.end()
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(m)
		}
		fmt.Printf("Backup %d in %s, of %s, is what was written: %d events, %s.\n", m.Number, c.From, m.CreatedAt.Format(time.RFC3339), m.Count(), bytesText(m.Bytes()))
		return nil
	}
	if err := forFiles("restore", c.Store); err != nil {
		return err
	}
	places := config.Serve{DataDir: c.DataDir, Store: c.Store}
	r, err := backup.Restore(ctx, c.From, backup.Target{
		Places:    backup.Places{DataDir: c.DataDir, EventsPath: places.EventsPath(), CatalogPath: places.CatalogPath(), LogDir: places.LogDir()},
		MaxSeries: app.MaxSeries, Threads: runtime.GOMAXPROCS(0), Logger: app.NewLogger(os.Stderr, "text", "warn"), Now: time.Now,
	}, show.tell)
	show.end()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(r)
	}
	fmt.Printf("%s holds backup %d of %s: %d events, restored in %s. Start the server with --data-dir %s\n", c.DataDir, r.Manifest.Number,
		r.Manifest.CreatedAt.Format(time.RFC3339), r.Events, r.Took.Round(time.Millisecond), c.DataDir)
	if r.KeyNeeded {
		fmt.Println("Its secrets are encrypted under the master key that was given to the server. The backup does not have it: give it to this one too (--secrets-key, PULSESTREAM_SECRETS_KEY or --secrets-kms).")
	}
	return nil
}

// forFiles refuses a command that is about a data directory for a store that is not in one.
func forFiles(command, path string) error {
	if strings.Contains(path, "://") {
		return fmt.Errorf("%s is for a server that keeps everything in its data directory: for a fleet see docs/operations.md, which says what PostgreSQL's own tools and the log do", command)
	}
	return nil
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// meter shows progress on standard error: in place on a terminal, else one line for each phase.
type meter struct {
	show, rich bool
	phase      string
	shown      time.Time
}

func newMeter(show bool) *meter { return &meter{show: show, rich: terminal(os.Stderr)} }

func (m *meter) tell(p backup.Progress) {
	fresh := p.Phase != m.phase
	if !m.show || !fresh && (!m.rich || time.Since(m.shown) < time.Second/4) {
		return
	}
	if fresh {
		m.end()
	}
	m.phase, m.shown = p.Phase, time.Now()
	switch {
	case !m.rich:
		fmt.Fprintln(os.Stderr, p.Phase)
	case p.Total > 0:
		fmt.Fprintf(os.Stderr, "\r\033[K%s: %d %%", p.Phase, min(100, p.Done*100/p.Total))
		if p.Events > 0 {
			fmt.Fprintf(os.Stderr, ", %d events", p.Events)
		}
	}
}

// end leaves what was shown.
func (m *meter) end() {
	if m.rich && m.phase != "" {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

// bytesText is a size for people.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
