package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/scim"
	"github.com/pulsestream/pulsestream/internal/store"
)

// Groups implements scim.Directory.
func (d *Directory) Groups(ctx context.Context) ([]scim.Group, error) {
	members, _, err := d.known(ctx)
	if err != nil {
		return nil, err
	}
	in := map[string][]scim.Ref{}
	for i := range members {
		for _, g := range members[i].Value.Groups {
			in[g] = append(in[g], scim.Ref{ID: members[i].Slug, Display: members[i].Value.Name})
		}
	}
	all, err := d.s.Catalog.Groups(ctx, d.by.Tenant)
	out := make([]scim.Group, 0, len(all))
	for i := range all {
		out = append(out, groupOf(&all[i], in[all[i].Value.Name]))
	}
	return out, err
}

func groupOf(e *catalog.Entry[catalog.Group], members []scim.Ref) scim.Group {
	return scim.Group{ID: e.Slug, ExternalID: e.Value.ExternalID, DisplayName: e.Value.Name, Members: members, Version: strconv.FormatInt(e.Revision, 10), Created: e.CreatedAt, Modified: e.UpdatedAt}
}

// PutGroup implements scim.Directory. The roles of all whom it takes in or lets out change with it, at once.
func (d *Directory) PutGroup(ctx context.Context, g scim.Group, version string) (scim.Group, error) {
	d.s.owners.Lock(d.by.Tenant)
	defer d.s.owners.Unlock(d.by.Tenant)
	if len(g.DisplayName) > maxText {
		return g, &scim.Error{Status: http.StatusBadRequest, Type: "invalidValue", Detail: fmt.Sprintf("A group's name has at most %d bytes.", maxText)}
	}
	next := catalog.Group{Name: g.DisplayName, ExternalID: g.ExternalID, CreatedBy: d.by.Subject}
	id, when, old := newGroupID(), catalog.IfMissing, ""
	if g.ID != "" {
		e, err := d.groupEntry(ctx, g.ID, version)
		if err != nil {
			return g, err
		}
		id, when, old, next.CreatedBy = g.ID, catalog.Condition(e.Revision), e.Value.Name, e.Value.CreatedBy
	}
	moves, shown, err := d.moves(ctx, old, g.DisplayName, g.Members)
	if err != nil {
		return g, err
	}
	e, err := d.s.Catalog.PutGroup(ctx, d.by.Tenant, id, next, when)
	if err != nil {
		if errors.Is(err, store.ErrConflict) && (g.ID == "" || old != g.DisplayName) {
			return g, scim.ErrTaken
		}
		return g, refusal(err)
	}
	return groupOf(&e, shown), d.move(ctx, moves)
}

// DeleteGroup implements scim.Directory.
func (d *Directory) DeleteGroup(ctx context.Context, id, version string) error {
	d.s.owners.Lock(d.by.Tenant)
	defer d.s.owners.Unlock(d.by.Tenant)
	e, err := d.groupEntry(ctx, id, version)
	if err != nil {
		return err
	}
	moves, _, err := d.moves(ctx, e.Value.Name, "", nil)
	if err != nil {
		return err
	}
	if err := d.s.Catalog.DeleteGroup(ctx, d.by.Tenant, id, catalog.Condition(e.Revision)); err != nil {
		return refusal(err)
	}
	return d.move(ctx, moves)
}

func (d *Directory) groupEntry(ctx context.Context, id, version string) (e catalog.Entry[catalog.Group], err error) {
	all, err := d.s.Catalog.Groups(ctx, d.by.Tenant)
	if err != nil {
		return e, err
	}
	i := slices.IndexFunc(all, func(g catalog.Entry[catalog.Group]) bool { return g.Slug == id })
	if i < 0 {
		return e, scim.ErrNotFound
	}
	if version != "" && version != strconv.FormatInt(all[i].Revision, 10) {
		return e, scim.ErrVersion
	}
	return all[i], nil
}

// move is one member whose groups change.
type move struct {
	from member
	to   auth.Member
	lost bool
}

// moves are the members whose groups change when a group that was called old is called name, and has exactly these members. All of it is
// allowed, or none.
func (d *Directory) moves(ctx context.Context, old, name string, members []scim.Ref) (out []move, shown []scim.Ref, err error) {
	all, _, err := d.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	providers, err := d.s.Catalog.Providers(ctx, d.by.Tenant)
	if err != nil {
		return nil, nil, err
	}
	wanted := make(map[string]bool, len(members))
	for _, m := range members {
		wanted[m.ID] = true
	}
	for i := range all {
		e := all[i]
		groups := slices.DeleteFunc(slices.Clone(e.Value.Groups), func(g string) bool { return g == old || g == name })
		if wanted[e.Slug] {
			groups = append(groups, name)
			shown = append(shown, scim.Ref{ID: e.Slug, Display: e.Value.Name})
			delete(wanted, e.Slug)
		}
		slices.Sort(groups)
		if slices.Equal(groups, e.Value.Groups) {
			continue
		}
		if len(groups) > maxGroups {
			return nil, nil, &scim.Error{Status: http.StatusBadRequest, Type: "invalidValue", Detail: fmt.Sprintf("A user is in at most %d groups.", maxGroups)}
		}
		m := move{from: e, to: e.Value}
		m.to.Groups = groups
		m.lost = roleOf(pick(providers, &m.to), &m.to)
		if err := d.allowed(ctx, &e, &m.to); err != nil {
			return nil, nil, err
		}
		out = append(out, m)
	}
	for id := range wanted {
		return nil, nil, &scim.Error{Status: http.StatusBadRequest, Type: "invalidValue", Detail: "There is no user " + strconv.Quote(id) + " to be a member."}
	}
	return out, shown, d.owned(ctx, out)
}

// owned refuses moves that together would leave the tenant without an owner.
func (d *Directory) owned(ctx context.Context, moves []move) error {
	all, err := d.s.Catalog.Members(ctx, d.by.Tenant)
	if err != nil {
		return err
	}
	next := make(map[string]*auth.Member, len(moves))
	for i := range moves {
		next[moves[i].from.Slug] = &moves[i].to
	}
	before, after := 0, 0
	for i := range all {
		m := &all[i].Value
		if isOwner(m) {
			before++
		}
		if to := next[all[i].Slug]; to != nil {
			m = to
		}
		if isOwner(m) {
			after++
		}
	}
	if before > 0 && after == 0 {
		return &scim.Error{Status: http.StatusConflict, Type: "mutability", Detail: ErrLastOwner.Error()}
	}
	return nil
}

func (d *Directory) move(ctx context.Context, moves []move) error {
	for i := range moves {
		m := &moves[i]
		if _, err := d.save(ctx, &m.from, m.to, catalog.Condition(m.from.Revision), m.lost); err != nil {
			return fmt.Errorf("member %s: %w", m.from.Slug, err)
		}
	}
	return nil
}
