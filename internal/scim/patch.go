package scim

import (
	"encoding/json"
	"slices"
	"strings"

	filter "github.com/scim2/filter-parser/v2"
)

// maxOperations bounds a patch.
const maxOperations = 1000

type wirePatch struct {
	Schemas    []string `json:"schemas"`
	Operations []struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value"`
	} `json:"Operations"`
}

// operation is one change of one attribute: what a patch without a path says of several is several of them.
type operation struct {
	remove bool
	add    bool              // to several values; of one value, replace
	name   string            // of the attribute, in lower case, such as name.givenname
	only   filter.Expression // of several values, those that it fits; nil: all
	value  json.RawMessage
}

// patch has each operation of the request's body applied. What is applied before one that is wrong has no effect: nothing was saved.
func (c *call) patch(apply func(operation) error) error {
	var in wirePatch
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := hasSchema(in.Schemas, patchSchema); err != nil {
		return err
	}
	if len(in.Operations) == 0 || len(in.Operations) > maxOperations {
		return bad("invalidSyntax", "A patch has 1 to %d operations.", maxOperations)
	}
	for _, o := range in.Operations {
		op := operation{value: o.Value}
		switch strings.ToLower(o.Op) {
		case "add":
			op.add = true
		case "replace":
		case "remove":
			op.remove = true
		default:
			return bad("invalidSyntax", "The operation %q is none of add, replace and remove.", o.Op)
		}
		ops, err := split(op, o.Path)
		if err != nil {
			return err
		}
		for _, op := range ops {
			if err := apply(op); err != nil {
				return err
			}
		}
	}
	return nil
}

// split makes one operation for each attribute that is meant.
func split(op operation, path string) ([]operation, error) {
	if path == "" {
		if op.remove {
			return nil, bad("noTarget", "What is to be removed needs a path.")
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(op.value, &all) != nil {
			return nil, bad("invalidValue", "Without a path the value is an object with attributes.")
		}
		var out []operation
		for name, v := range all {
			one := op
			one.value = v
			more, err := split(one, name)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	}
	if len(path) > maxFilter {
		return nil, bad("invalidPath", "A path has at most %d bytes.", maxFilter)
	}
	if strings.EqualFold(path, "schemas") || strings.HasPrefix(strings.ToLower(path), "urn:") && !strings.Contains(path, ".") && strings.Count(path, ":") < 7 {
		return nil, nil // what is kept does not depend on it
	}
	p, err := filter.ParsePath([]byte(path))
	if err != nil {
		return nil, bad("invalidPath", "The path %q cannot be read.", path)
	}
	op.name, op.only = pathName(p.AttributePath, ""), p.ValueExpression
	if p.SubAttribute != nil {
		op.name += "." + strings.ToLower(p.SubAttributeName())
	}
	return []operation{op}, nil
}

// text reads the operation's value into a text, which is empty when the attribute is removed.
func (op *operation) text(into *string) error {
	if op.remove || len(op.value) == 0 || string(op.value) == "null" {
		*into = ""
		return nil
	}
	if json.Unmarshal(op.value, into) != nil {
		return bad("invalidValue", "The value of %s is a text.", op.name)
	}
	return nil
}

// decode reads the operation's value.
func (op *operation) decode(into any) error {
	if json.Unmarshal(op.value, into) != nil {
		return bad("invalidValue", "The value of %s cannot be read.", op.name)
	}
	return nil
}

// patch changes one attribute of a user. What is not kept changes nothing.
func (u *User) patch(op operation) error {
	switch op.name {
	case "username":
		return op.text(&u.UserName)
	case "externalid":
		return op.text(&u.ExternalID)
	case "displayname":
		return op.text(&u.DisplayName)
	case "name.formatted":
		return op.text(&u.Formatted)
	case "name.givenname":
		return op.text(&u.Given)
	case "name.familyname":
		return op.text(&u.Family)
	case "name":
		return u.patchName(op)
	case "active":
		if op.remove {
			return bad("mutability", "active can be true or false, not removed.")
		}
		var t truth
		if err := op.decode(&t); err != nil {
			return err
		}
		u.Active = bool(t)
	case "emails", "emails.value":
		return u.patchEmail(op)
	case "id", "meta", "groups":
		return bad("mutability", "%s is the server's.", op.name)
	}
	return nil
}

func (u *User) patchName(op operation) error {
	if op.remove {
		u.Formatted, u.Given, u.Family = "", "", ""
		return nil
	}
	n := wireName{u.Formatted, u.Given, u.Family} // what the value has not stays
	if err := op.decode(&n); err != nil {
		return err
	}
	u.Formatted, u.Given, u.Family = n.Formatted, n.Given, n.Family
	return nil
}

// patchEmail changes the one e-mail that is kept.
func (u *User) patchEmail(op operation) error {
	if op.only != nil { // one that is not kept, of another type than work, is not this one
		ok, err := matches(op.only, u.mail, "emails")
		if err != nil || !ok {
			return err
		}
	}
	if op.remove || op.name == "emails.value" {
		return op.text(&u.Email)
	}
	var all []wireEmail
	if json.Unmarshal(op.value, &all) != nil {
		var one wireEmail
		if err := op.decode(&one); err != nil {
			return err
		}
		all = []wireEmail{one}
	}
	u.Email = primary(all)
	return nil
}

// mail is what a path's filter sees of the e-mail that is kept, or would be.
func (u *User) mail(name string) ([]value, bool) {
	yes := true
	switch name {
	case "emails.primary":
		return []value{{flag: &yes}}, true
	case "emails.type":
		return folded("work"), true
	case "emails.value":
		return folded(u.Email), true
	}
	return nil, false
}

// patch changes one attribute of a group.
func (g *Group) patch(op operation) error {
	switch op.name {
	case "displayname":
		return op.text(&g.DisplayName)
	case "externalid":
		return op.text(&g.ExternalID)
	case "members":
		return g.patchMembers(op)
	case "id": // some send the one it has
		var id string
		if err := op.text(&id); err != nil || id != g.ID {
			return bad("mutability", "id is the server's.")
		}
	case "meta":
		return bad("mutability", "meta is the server's.")
	}
	return nil
}

func (g *Group) patchMembers(op operation) error {
	var named []Ref
	if len(op.value) > 0 && string(op.value) != "null" {
		var many []wireRef
		if json.Unmarshal(op.value, &many) != nil {
			var one wireRef
			if err := op.decode(&one); err != nil {
				return err
			}
			many = []wireRef{one}
		}
		named = refsOf(many)
	}
	switch {
	case op.remove && op.only != nil:
		var wrong error
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m Ref) bool {
			ok, err := matches(op.only, func(name string) ([]value, bool) { return exact(m.ID), name == "members.value" }, "members")
			if err != nil {
				wrong = err
			}
			return ok
		})
		return wrong
	case op.remove && named != nil:
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m Ref) bool {
			return slices.ContainsFunc(named, func(n Ref) bool { return n.ID == m.ID })
		})
	case op.remove:
		g.Members = nil
	case op.only != nil:
		return bad("invalidPath", "Members are added and removed, not changed.")
	case op.add:
		g.Members = unique(append(slices.Clone(g.Members), named...))
	default:
		g.Members = named
	}
	return nil
}
