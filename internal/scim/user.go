package scim

import (
	"net/http"
	"slices"
	"strings"
)

type wireName struct {
	Formatted string `json:"formatted,omitempty"`
	Given     string `json:"givenName,omitempty"`
	Family    string `json:"familyName,omitempty"`
}

type wireEmail struct {
	Value   string `json:"value"`
	Type    string `json:"type,omitempty"`
	Primary truth  `json:"primary,omitempty"`
}

type wireRef struct {
	Value   string `json:"value"`
	Ref     string `json:"$ref,omitempty"`
	Display string `json:"display,omitempty"`
	Type    string `json:"type,omitempty"`
}

type wireUser struct {
	Schemas     []string    `json:"schemas"`
	ID          string      `json:"id,omitempty"`
	ExternalID  string      `json:"externalId,omitempty"`
	UserName    string      `json:"userName"`
	DisplayName string      `json:"displayName,omitempty"`
	Name        *wireName   `json:"name,omitempty"`
	Emails      []wireEmail `json:"emails,omitempty"`
	Active      *truth      `json:"active,omitempty"`
	Groups      []wireRef   `json:"groups,omitempty"`
	Meta        *meta       `json:"meta,omitempty"`
}

func (c *call) viewUser(u *User) *wireUser {
	active := truth(u.Active)
	v := &wireUser{Schemas: []string{userSchema}, ID: u.ID, ExternalID: u.ExternalID, UserName: u.UserName, DisplayName: u.DisplayName, Active: &active,
		Meta: &meta{"User", u.Created, u.Modified, c.base + "/Users/" + u.ID, etag(u.Version)}}
	if n := (wireName{u.Formatted, u.Given, u.Family}); n != (wireName{}) {
		v.Name = &n
	}
	if u.Email != "" {
		v.Emails = []wireEmail{{Value: u.Email, Type: "work", Primary: true}}
	}
	for _, g := range u.Groups {
		v.Groups = append(v.Groups, wireRef{Value: g.ID, Ref: c.base + "/Groups/" + g.ID, Display: g.Display, Type: "direct"})
	}
	return v
}

// user is what a whole representation says.
func (v *wireUser) user(id string) (User, error) {
	if err := hasSchema(v.Schemas, userSchema); err != nil {
		return User{}, err
	}
	u := User{ID: id, ExternalID: v.ExternalID, UserName: v.UserName, DisplayName: v.DisplayName, Email: primary(v.Emails), Active: v.Active == nil || bool(*v.Active)}
	if n := v.Name; n != nil {
		u.Formatted, u.Given, u.Family = n.Formatted, n.Given, n.Family
	}
	return u, u.check()
}

func (u *User) check() error {
	if strings.TrimSpace(u.UserName) == "" {
		return bad("invalidValue", "A user has a userName.")
	}
	for name, text := range map[string]string{"userName": u.UserName, "externalId": u.ExternalID, "displayName": u.DisplayName, "name.formatted": u.Formatted,
		"name.givenName": u.Given, "name.familyName": u.Family, "emails": u.Email} {
		if err := checkText(name, text); err != nil {
			return err
		}
	}
	return nil
}

// primary is the e-mail that counts of several: the primary one, the one for work, or the first.
func primary(all []wireEmail) string {
	for _, fits := range []func(wireEmail) bool{func(e wireEmail) bool { return bool(e.Primary) }, func(e wireEmail) bool { return strings.EqualFold(e.Type, "work") }, func(wireEmail) bool { return true }} {
		if i := slices.IndexFunc(all, fits); i >= 0 {
			return all[i].Value
		}
	}
	return ""
}

// users answers /Users.
func (c *call) users() error {
	switch c.r.Method {
	case http.MethodGet:
		all, err := c.dir.Users(c.r.Context())
		if err != nil {
			return err
		}
		if all, err = filtered(c.r.URL.Query().Get("filter"), all, (*User).attribute); err != nil {
			return err
		}
		return listing(c, all, func(u *User) any { return c.viewUser(u) })
	case http.MethodPost:
		var in wireUser
		if err := c.decode(&in); err != nil {
			return err
		}
		u, err := in.user("")
		if err != nil {
			return err
		}
		if u, err = c.dir.PutUser(c.r.Context(), u, ""); err != nil {
			return err
		}
		v := c.viewUser(&u)
		return c.answer(http.StatusCreated, v, v.Meta)
	}
	return c.notAllowed(http.MethodGet, http.MethodPost)
}

// user answers /Users/{id}.
func (c *call) user(id string) error {
	all, err := c.dir.Users(c.r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(u User) bool { return u.ID == id })
	if i < 0 {
		return ErrNotFound
	}
	u, version := all[i], c.version()
	switch c.r.Method {
	case http.MethodGet:
		v := c.viewUser(&u)
		return c.answer(http.StatusOK, v, v.Meta)
	case http.MethodPut:
		var in wireUser
		if err := c.decode(&in); err != nil {
			return err
		}
		if u, err = in.user(id); err != nil {
			return err
		}
	case http.MethodPatch:
		if err := c.patch(func(op operation) error { return u.patch(op) }); err != nil {
			return err
		}
		if err := u.check(); err != nil {
			return err
		}
		if version == "" {
			version = u.Version // what was read is what is patched
		}
	case http.MethodDelete:
		if err := c.dir.DeleteUser(c.r.Context(), id, version); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return c.notAllowed(http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete)
	}
	if u, err = c.dir.PutUser(c.r.Context(), u, version); err != nil {
		return err
	}
	v := c.viewUser(&u)
	return c.answer(http.StatusOK, v, v.Meta)
}

// attribute is what a filter sees of a user by a name in lower case; ok is false where there is no such attribute.
func (u *User) attribute(name string) (values []value, ok bool) {
	switch name {
	case "id":
		return exact(u.ID), true
	case "externalid":
		return exact(u.ExternalID), true
	case "username":
		return folded(u.UserName), true
	case "displayname":
		return folded(u.DisplayName), true
	case "name.formatted":
		return folded(u.Formatted), true
	case "name.givenname":
		return folded(u.Given), true
	case "name.familyname":
		return folded(u.Family), true
	case "emails", "emails.value":
		return folded(u.Email), true
	case "emails.type":
		if u.Email == "" {
			return nil, true
		}
		return folded("work"), true
	case "active":
		return []value{{flag: &u.Active}}, true
	case "meta.created":
		return moment(u.Created), true
	case "meta.lastmodified":
		return moment(u.Modified), true
	case "groups", "groups.value":
		return refs(u.Groups), true
	}
	return nil, false
}
