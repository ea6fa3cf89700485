package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is a set of permissions that a key or token is held to, whatever its role could do. The zero value holds to nothing: all that the role
// may do.
type Scope struct{ bits uint64 }

// NewScope is the scope of some permissions, and an error that names one that does not exist. Of none it holds to nothing.
func NewScope(of []Permission) (s Scope, err error) {
	for _, p := range of {
		i := index(p)
		if i < 0 {
			return Scope{}, fmt.Errorf("there is no permission %q", string(p))
		}
		s.bits |= 1 << i
	}
	return s, nil
}

// ParseScope reads a scope as OAuth writes it: permissions with spaces between them.
func ParseScope(text string) (Scope, error) {
	var of []Permission
	for word := range strings.FieldsSeq(text) {
		of = append(of, Permission(word))
	}
	return NewScope(of)
}

func index(p Permission) int {
	return slices.IndexFunc(permissions, func(g Grant) bool { return g.Permission == p })
}

// Allows says whether a permission is in the scope.
func (s Scope) Allows(p Permission) bool {
	if s.bits == 0 {
		return true
	}
	i := index(p)
	return i >= 0 && s.bits&(1<<i) != 0
}

// Permissions lists what a principal may do, in the order of the table.
func (p Principal) Permissions() []Permission {
	var out []Permission
	for i := range permissions {
		if what := permissions[i].Permission; p.Can(what) {
			out = append(out, what)
		}
	}
	return out
}

// Within is p held to a scope besides, and false if the scope has anything that p may not do.
func (p Principal) Within(s Scope) (Principal, bool) {
	if s.bits == 0 {
		return p, true
	}
	for i := range permissions {
		if s.bits&(1<<i) != 0 && !p.Can(permissions[i].Permission) {
			return Principal{}, false
		}
	}
	p.Scope = s
	return p, true
}

// Covers says whether p may do all that other may. Who hands out a key must cover it, or could give themselves more than they have. Nobody covers
// a role that does not exist.
func (p Principal) Covers(other Principal) bool {
	for i := range permissions {
		if what := permissions[i].Permission; other.Can(what) && !p.Can(what) {
			return false
		}
	}
	return other.Role.Valid()
}

// Covers says whether a role may do all that another may. It is asked besides Principal.Covers where somebody hands out credentials: a scope that holds a
// mightier role to little would still be that role to whoever looks at roles alone.
func (r Role) Covers(other Role) bool { return Principal{Role: r}.Covers(Principal{Role: other}) }

// ScopeText writes permissions as OAuth does.
func ScopeText(of []Permission) string {
	words := make([]string, 0, len(of))
	for _, p := range of {
		words = append(words, string(p))
	}
	return strings.Join(words, " ")
}
