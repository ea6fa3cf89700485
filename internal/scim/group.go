package scim

import (
	"net/http"
	"slices"
	"strings"
)

type wireGroup struct {
	Schemas     []string  `json:"schemas"`
	ID          string    `json:"id,omitempty"`
	ExternalID  string    `json:"externalId,omitempty"`
	DisplayName string    `json:"displayName"`
	Members     []wireRef `json:"members,omitempty"`
	Meta        *meta     `json:"meta,omitempty"`
}

func (c *call) viewGroup(g *Group) *wireGroup {
	v := &wireGroup{Schemas: []string{groupSchema}, ID: g.ID, ExternalID: g.ExternalID, DisplayName: g.DisplayName,
		Meta: &meta{"Group", g.Created, g.Modified, c.base + "/Groups/" + g.ID, etag(g.Version)}}
	for _, m := range g.Members {
		v.Members = append(v.Members, wireRef{Value: m.ID, Ref: c.base + "/Users/" + m.ID, Display: m.Display, Type: "User"})
	}
	return v
}

func (v *wireGroup) group(id string) (Group, error) {
	if err := hasSchema(v.Schemas, groupSchema); err != nil {
		return Group{}, err
	}
	g := Group{ID: id, ExternalID: v.ExternalID, DisplayName: v.DisplayName, Members: refsOf(v.Members)}
	return g, g.check()
}

func (g *Group) check() error {
	if strings.TrimSpace(g.DisplayName) == "" {
		return bad("invalidValue", "A group has a displayName.")
	}
	if len(g.Members) > maxMembers {
		return bad("invalidValue", "A group has at most %d members.", maxMembers)
	}
	if err := checkText("displayName", g.DisplayName); err != nil {
		return err
	}
	return checkText("externalId", g.ExternalID)
}

// refsOf is members without those that are there twice.
func refsOf(in []wireRef) []Ref {
	out := make([]Ref, 0, len(in))
	for _, m := range in {
		out = append(out, Ref{ID: m.Value})
	}
	return unique(out)
}

func unique(in []Ref) []Ref {
	seen := map[string]bool{}
	return slices.DeleteFunc(in, func(r Ref) bool {
		twice := seen[r.ID]
		seen[r.ID] = true
		return twice
	})
}

// groups answers /Groups.
func (c *call) groups() error {
	switch c.r.Method {
	case http.MethodGet:
		all, err := c.dir.Groups(c.r.Context())
		if err != nil {
			return err
		}
		if all, err = filtered(c.r.URL.Query().Get("filter"), all, (*Group).attribute); err != nil {
			return err
		}
		return listing(c, all, func(g *Group) any { return c.viewGroup(g) })
	case http.MethodPost:
		var in wireGroup
		if err := c.decode(&in); err != nil {
			return err
		}
		g, err := in.group("")
		if err != nil {
			return err
		}
		if g, err = c.dir.PutGroup(c.r.Context(), g, ""); err != nil {
			return err
		}
		v := c.viewGroup(&g)
		return c.answer(http.StatusCreated, v, v.Meta)
	}
	return c.notAllowed(http.MethodGet, http.MethodPost)
}

// group answers /Groups/{id}.
func (c *call) group(id string) error {
	all, err := c.dir.Groups(c.r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(g Group) bool { return g.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	g, version := all[i], c.version()
	switch c.r.Method {
	case http.MethodGet:
		v := c.viewGroup(&g)
		return c.answer(http.StatusOK, v, v.Meta)
	case http.MethodPut:
		var in wireGroup
		if err := c.decode(&in); err != nil {
			return err
		}
		if g, err = in.group(id); err != nil {
			return err
		}
	case http.MethodPatch:
		if err := c.patch(func(op operation) error { return g.patch(op) }); err != nil {
			return err
		}
		if err := g.check(); err != nil {
			return err
		}
		if version == "" {
			version = g.Version
		}
	case http.MethodDelete:
		if err := c.dir.DeleteGroup(c.r.Context(), id, version); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return c.notAllowed(http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete)
	}
	if g, err = c.dir.PutGroup(c.r.Context(), g, version); err != nil {
		return err
	}
	v := c.viewGroup(&g)
	return c.answer(http.StatusOK, v, v.Meta)
}

// attribute is what a filter sees of a group.
func (g *Group) attribute(name string) (values []value, ok bool) {
	switch name {
	case "id":
		return exact(g.ID), true
	case "externalid":
		return exact(g.ExternalID), true
	case "displayname":
		return folded(g.DisplayName), true
	case "members", "members.value":
		return refs(g.Members), true
	case "meta.created":
		return moment(g.Created), true
	case "meta.lastmodified":
		return moment(g.Modified), true
	}
	return nil, false
}
