// Package resilient is a store.Events over one that may break: it opens it again after a fault of the disk, and sets a damaged one
// aside and begins an empty one, which the partitions' owners then fill from the log. Ingest goes on all the while.
package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// Config says how the store below is opened and replaced.
type Config struct {
	Log *slog.Logger
	Now func() time.Time
	// Open opens the store, making it when there is none; store.ErrDamaged when it is damaged.
	Open func(ctx context.Context) (store.Events, error)
	// SetAside moves a damaged store's files away and says where to. The store is closed then.
	SetAside func(now time.Time) (path string, err error)
	// Seed gives an empty store what the log cannot. It may be called again for one that has some or all of it.
	Seed func(ctx context.Context, events store.Events) error
	// Reopened is called when there is another store than before, which may lack what was answered from that; nil if nobody cares.
	Reopened func()
	// Marker is a file that is there as long as the store is one that replaced another and is not complete yet: so that a start knows.
	Marker string
	// Retry is the pause between attempts to open; 0 is a second.
	Retry time.Duration
	// Wait is how long a call waits for a store that is being opened again before it gives up with ErrUnavailable; 0 is five seconds.
	Wait time.Duration
}

// Rebuild says that the store was replaced.
type Rebuild struct {
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason"`
	SetAside string    `json:"set_aside"`
}

// Store implements store.Events.
type Store struct {
	cfg Config

	mu      sync.RWMutex
	current store.Events  // nil while there is none
	opened  chan struct{} // closed when there is one again
	gen     int           // counts the stores
	healing int           // the generation that is healed or being healed, plus one
	closed  bool
	rebuild *Rebuild

	ctx    context.Context // ends healing at Close
	cancel context.CancelFunc
	heals  sync.WaitGroup
}

var (
	_ store.Events  = (*Store)(nil)
	_ store.Columns = (*Store)(nil)
	_ store.Rows    = (*Store)(nil)
)

// Open opens the store below, replacing it at once if it is damaged.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Retry <= 0 {
		cfg.Retry = time.Second
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 5 * time.Second
	}
	s := &Store{cfg: cfg, opened: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if s.rebuild, err = readMarker(cfg.Marker); err != nil {
		s.cancel()
		return nil, err
	}
	s.current, err = s.open(ctx)
	if errors.Is(err, store.ErrDamaged) {
		if err = s.setAside(err); err == nil {
			s.current, err = s.open(ctx)
		}
	}
	if err != nil {
		s.cancel()
		return nil, err
	}
	return s, nil
}

// open opens the store below. One that replaced another has got what the log does not have before anybody sees it.
func (s *Store) open(ctx context.Context) (store.Events, error) {
	below, err := s.cfg.Open(ctx)
	if err != nil {
		return nil, err
	}
	if s.Rebuilding() == nil {
		return below, nil
	}
	if err := s.cfg.Seed(ctx, below); err != nil {
		return nil, errors.Join(err, below.Close())
	}
	return below, nil
}

// setAside moves the damaged store's files away.
func (s *Store) setAside(why error) error {
	r := &Rebuild{Since: s.cfg.Now().UTC(), Reason: why.Error()}
	// First, so that whatever becomes of this process the next one knows that the store lacks something.
	if err := writeMarker(s.cfg.Marker, r); err != nil {
		return errors.Join(why, err)
	}
	path, err := s.cfg.SetAside(r.Since)
	if err != nil {
		return errors.Join(why, err)
	}
	r.SetAside = path
	s.cfg.Log.Error("the store of events is damaged; it was set aside and is rebuilt from the log, while events are taken as before",
		"error.message", why.Error(), "file.path", path)
	s.mu.Lock()
	s.rebuild = r
	s.mu.Unlock()
	return writeMarker(s.cfg.Marker, r)
}

// Rebuilding says that the store was replaced and is not known to be complete yet.
func (s *Store) Rebuilding() *Rebuild {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rebuild
}

// Rebuilt says that what the log has is in the store again.
func (s *Store) Rebuilt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := removeMarker(s.cfg.Marker); err != nil {
		s.cfg.Log.Warn("the next start will say that the store of events is being rebuilt, although it is complete", "error.message", err.Error())
	}
	s.rebuild = nil
}

// Broken says that there is no store at this moment.
func (s *Store) Broken() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current == nil
}

// read runs a call that changes nothing. When the store breaks under it, it is made again on the one that is opened then, unless given says that a
// callback has had something of it: who asks notices only that it took longer. But not on one that has replaced it: who asked before that
// expects all that there is, and is told to ask again.
func (s *Store) read(ctx context.Context, given *bool, f func(store.Events) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Wait, store.ErrUnavailable)
	defer cancel()
	before := s.Rebuilding()
	for {
		err := s.use(ctx, func(below store.Events) error {
			if r := s.Rebuilding(); r != nil && r != before {
				return errReplaced
			}
			return f(below)
		})
		if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, errReplaced) || given != nil && *given || ctx.Err() != nil {
			return err
		}
	}
}

var errReplaced = fmt.Errorf("%w: the store has just been found damaged, and is rebuilt", store.ErrUnavailable)

// use runs a call on the store below as soon as there is one, at most until wait ends. The mutex is not held meanwhile: a callback may call
// the store again.
func (s *Store) use(wait context.Context, f func(store.Events) error) error {
	below, gen, err := s.await(wait)
	if err != nil {
		return err
	}
	err = f(below)
	switch {
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrBroken):
		s.heal(gen, err)
		return errors.Join(store.ErrUnavailable, err)
	case errors.Is(err, store.ErrClosed) && s.ctx.Err() == nil: // it is being replaced
		return errors.Join(store.ErrUnavailable, err)
	}
	return err
}

// await waits until there is a store below, or ctx ends.
func (s *Store) await(ctx context.Context) (below store.Events, gen int, err error) {
	for {
		s.mu.RLock()
		below, gen, closed, opened := s.current, s.gen, s.closed, s.opened
		s.mu.RUnlock()
		switch {
		case closed:
			return nil, 0, store.ErrClosed
		case below != nil:
			return below, gen, nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-s.ctx.Done():
			return nil, 0, store.ErrClosed
		}
	}
}

// heal replaces or opens again the store of a generation, once, in the background.
func (s *Store) heal(gen int, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.healing > gen || s.closed || s.ctx.Err() != nil {
		return
	}
	s.healing = gen + 1
	below := s.current
	s.current = nil
	s.heals.Go(func() {
		if err := below.Close(); err != nil {
			s.cfg.Log.Warn("the broken store of events did not close cleanly", "error.message", err.Error())
		}
		s.reopen(why)
	})
}

// reopen tries until there is a store again.
func (s *Store) reopen(why error) {
	damaged := errors.Is(why, store.ErrDamaged)
	if !damaged {
		s.cfg.Log.Error("the store of events cannot go on and is opened again: look for a full or failing disk", "error.message", why.Error())
	}
	said := false
	for {
		var below store.Events
		var err error
		if damaged {
			if err = s.setAside(why); err == nil {
				damaged = false // a new one that cannot be opened or filled yet is not set aside as well
			}
		}
		if err == nil {
			below, err = s.open(s.ctx)
			if errors.Is(err, store.ErrDamaged) {
				damaged, why = true, err
			}
		}
		if err == nil {
			s.mu.Lock()
			s.current = below
			s.gen++
			if s.cfg.Reopened != nil {
				s.cfg.Reopened()
			}
			close(s.opened)
			s.opened = make(chan struct{})
			s.mu.Unlock()
			s.cfg.Log.Info("the store of events is open again")
			return
		}
		if !said {
			said = true
			s.cfg.Log.Error("the store of events cannot be opened; this is tried again until it can", "error.message", err.Error())
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(s.cfg.Retry):
		}
	}
}

// Close implements store.Events.
func (s *Store) Close() error {
	s.cancel()
	s.heals.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.current == nil {
		return nil
	}
	return s.current.Close()
}
