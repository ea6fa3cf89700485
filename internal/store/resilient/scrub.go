package resilient

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

const (
	scrubFirst = time.Minute // after the start, when nobody waits for the disk
	scrubEvery = 24 * time.Hour
	scrubAgain = time.Minute // after one that could not be made
)

// Scrub has the store below look for damage as long as ctx lasts: soon after the start, and then once a day. What it finds is healed like all other
// damage, so there is nothing to return.
func (s *Store) Scrub(ctx context.Context) {
	for wait := scrubFirst; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = scrubEvery
		err := s.use(ctx, func(below store.Events) error {
			if x, ok := below.(interface{ Scrub(context.Context) error }); ok {
				return x.Scrub(ctx)
			}
			return nil
		})
		if err != nil {
			wait = scrubAgain
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("the store of events could not be read through in search of damage; this is tried again", "error.message", err.Error())
		}
	}
}
