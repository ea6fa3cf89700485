package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Lister is what Keep needs of the catalog.
type Lister interface {
	List(ctx context.Context, t tenant.ID, k store.Kind) ([]store.Resource, error)
}

// Keep runs a copy of the catalog, and gives the master keys that open the copy, for a file to be kept with it: only those that the server of own has made for
// itself, never one that was given. It gives nothing when there are none of those.
func Keep(ctx context.Context, catalog Lister, own Own, run func() error) ([]byte, error) {
	needed := map[string]bool{}
	var found []string
	look := func() error {
		rs, err := catalog.List(ctx, installation, KindDataKey)
		if err != nil {
			return err
		}
		for i := range rs {
			var w wrapped
			if err := json.Unmarshal(rs[i].Body, &w); err != nil {
				return fmt.Errorf("the stored data key %s cannot be read: %w", rs[i].Slug, err)
			}
			if w.Own {
				needed[w.Master] = true
			}
		}
		lines, err := own.lines()
		found = append(found, lines...)
		return err
	}
	// A rotation in between has the keys of both moments in one of the looks: a new one is in the file before anything is wrapped by it, an old one until nothing is.
	if err := errors.Join(look(), run(), look()); err != nil {
		return nil, err
	}
	var kept []string
	for _, line := range found {
		masters, err := ParseKeys(line)
		if err != nil {
			return nil, fmt.Errorf("the master key in %s cannot be read: %w", own.Path, err)
		}
		if id := masters[0].ID(); needed[id] {
			kept = append(kept, line)
			delete(needed, id)
		}
	}
	if len(needed) > 0 {
		return nil, fmt.Errorf("the master key of the catalog's secrets is not in %s: put it back, or the backup could not be restored with its secrets", own.Path)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return ownText(kept), nil
}

// NeedsGiven says whether a catalog has secrets under a master key that was given to its server, and is in no backup.
func NeedsGiven(ctx context.Context, catalog Lister) (bool, error) {
	rs, err := catalog.List(ctx, installation, KindDataKey)
	for i := range rs {
		var w wrapped
		if err := json.Unmarshal(rs[i].Body, &w); err != nil {
			return false, fmt.Errorf("the stored data key %s cannot be read: %w", rs[i].Slug, err)
		}
		if !w.Own {
			return true, nil
		}
	}
	return false, err
}
