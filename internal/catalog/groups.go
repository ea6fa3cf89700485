package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// maxGroups bounds the groups of a tenant.
const maxGroups = 5000

// Group is a group of members that a company's directory has made. Who is in it stands with the members, by its name, which roles are given by.
type Group struct {
	Name       string `json:"name"`
	ExternalID string `json:"external_id,omitempty"`
	CreatedBy  string `json:"created_by"`
}

// Groups returns a tenant's groups, by id.
func (c *Catalog) Groups(ctx context.Context, t tenant.ID) ([]Entry[Group], error) {
	return list[Group](ctx, c, t, store.KindGroup)
}

// PutGroup makes or changes a group. A conflict when another of the tenant's has its name, ErrFull when there are too many.
func (c *Catalog) PutGroup(ctx context.Context, t tenant.ID, id string, g Group, when Condition) (Entry[Group], error) {
	if when == IfMissing {
		all, err := c.Groups(ctx, t)
		if err != nil {
			return Entry[Group]{}, err
		}
		if len(all) >= maxGroups {
			return Entry[Group]{}, fmt.Errorf("%w: a tenant has at most %d groups", ErrFull, maxGroups)
		}
	}
	sum := sha256.Sum256([]byte(string(t) + "\x00" + g.Name))
	return put(ctx, c, change{tenant: t, kind: store.KindGroup, slug: id, lookup: hex.EncodeToString(sum[:]), when: when}, g)
}

// DeleteGroup removes a group.
func (c *Catalog) DeleteGroup(ctx context.Context, t tenant.ID, id string, when Condition) error {
	return c.remove(ctx, t, store.KindGroup, id, when)
}

// used is the body of what was used once.
type used struct {
	Until time.Time `json:"until"`
}

// UseOnce remembers that something of a tenant's was used, and says false if it was before. What nobody will ask for any more goes.
func (c *Catalog) UseOnce(ctx context.Context, t tenant.ID, id string, until time.Time) (bool, error) {
	sum := sha256.Sum256([]byte(id))
	_, err := put(ctx, c, change{tenant: t, kind: store.KindUsed, slug: hex.EncodeToString(sum[:20]), when: IfMissing}, used{until.UTC()})
	if isConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	all, err := list[used](ctx, c, t, store.KindUsed)
	for _, e := range all {
		if c.now().After(e.Value.Until.Add(time.Minute)) {
			_ = c.remove(ctx, t, store.KindUsed, e.Slug, Always) // another process may have
		}
	}
	return err == nil, err
}
