package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
)

// kind is how changes of a kind of resource are recorded.
type kind struct {
	// machine: nobody's doing, but the program's bookkeeping. It is not recorded.
	machine bool
	// shown are the members of its body whose values are recorded. Of all others only the name is, and whether they changed: what is
	// forgotten here is hidden.
	shown []string
	// said are members that are left out: the resource around the body says the same, or better.
	said []string
	// bookkeeping are paths of members that the program moves on by itself. A change of nothing else is not recorded.
	bookkeeping []string
	// The last word of an action: what is made, changed, removed.
	made, changed, removed string
	// as is what it is called, where that is not its kind.
	as store.Kind
	// list: its body is a list to which is added, and what was added is what is recorded.
	list bool
}

// kinds has a row for every kind of resource; a test looks for those that lack one.
func kinds() map[store.Kind]kind {
	around := []string{"id", "tenant", "slug", "builtin", "created_at", "updated_at"}
	return map[store.Kind]kind{
		store.KindTransition: {machine: true}, store.KindCursor: {machine: true}, store.KindSigningKey: {machine: true}, store.KindDataKey: {machine: true},
		store.KindUsed: {machine: true},

		store.KindTenant: {shown: []string{"name", "retention_days", "rate_limit", "quotas"}, said: []string{"id", "created_at"}},
		store.KindKey: {shown: []string{"name", "role", "operator", "scopes", "expires_at", "replaced", "created_by", "created_at", "rate_limit"},
			made: "make", changed: "rotate", removed: "revoke"},
		store.KindSource: {shown: []string{"name", "vendor"}},
		store.KindMetric: {shown: []string{"name", "description", "unit", "event_types", "filter", "value", "dimensions", "vendor"}, said: around},
		store.KindRule: {shown: []string{"name", "metric", "agg", "group_by", "where", "window", "condition", "for", "severity", "channels", "no_data", "labels", "summary",
			"enabled"}, said: around},
		store.KindChannel: {shown: []string{"name", "type"}},
		store.KindNote:    {as: "incident", made: "note", changed: "note", list: true},
		store.KindMember: {shown: []string{"email", "name", "role", "state", "groups", "identities", "external_id", "provisioned", "created_by"}, bookkeeping: []string{"secrets.totp_last"},
			made: "make"},
		store.KindSession: {shown: []string{"member", "method", "provider", "created_at", "expires_at", "address", "user_agent"}, made: "begin", removed: "end"},
		store.KindGroup:   {shown: []string{"name", "external_id", "created_by"}},
		store.KindProvider: {shown: []string{"name", "type", "issuer", "client_id", "scopes", "groups_claim", "groups_attribute", "roles", "default_role", "require_verified_email",
			"metadata_url", "metadata_xml"}},
		store.KindTokenIssuer: {shown: []string{"name", "issuer", "jwks_url", "audience", "algorithms", "role", "scopes", "subject"}},
	}
}

func kindOf(k store.Kind) kind { return kinds()[k] }

func (k kind) target(of store.Kind) store.Kind {
	if k.as != "" {
		return k.as
	}
	return of
}

// action is e.g. "metric.put". Usual is its last word where the kind has none of its own.
func (k kind) action(of store.Kind, verb, usual string) string {
	return string(k.target(of)) + "." + cmp.Or(verb, usual)
}

const (
	hidden  = `"[hidden]"`
	changed = `"[changed]"` // it is not what it was, and hidden
)

// show is what may be known of a body before and after a change.
func (k kind) show(before, after json.RawMessage) (b, a json.RawMessage) {
	if k.list {
		return nil, added(before, after)
	}
	return k.members(before, nil), k.members(after, before)
}

// members shows the top members that are listed and hides the others.
func (k kind) members(body, was json.RawMessage) json.RawMessage {
	if body == nil {
		return nil
	}
	all, ok := object(body)
	if !ok {
		return hide(body, was)
	}
	for name, v := range all {
		switch {
		case slices.Contains(k.said, name):
			delete(all, name)
		case !slices.Contains(k.shown, name):
			all[name] = hide(v, member(was, name))
		}
	}
	return encode(all)
}

// member is a member of an object, null where it has none, and nil where there is no object.
func member(of json.RawMessage, name string) json.RawMessage {
	all, ok := object(of)
	if !ok {
		return nil
	}
	if all[name] == nil {
		return json.RawMessage("null")
	}
	return all[name]
}

// hide leaves of a value that there is one: the names of an object's members, and of what is in them whether it has changed. Was is nil where
// there is nothing to compare with.
func hide(v, was json.RawMessage) json.RawMessage {
	switch s := string(bytes.TrimSpace(v)); s {
	case "null", `""`, "[]", "{}":
		return v
	}
	all, ok := object(v)
	if !ok {
		if was != nil && !bytes.Equal(bytes.TrimSpace(v), bytes.TrimSpace(was)) {
			return json.RawMessage(changed)
		}
		return json.RawMessage(hidden)
	}
	if _, ok := object(was); was != nil && !ok {
		was = json.RawMessage("{}") // all of it is new
	}
	for name, inner := range all {
		all[name] = hide(inner, member(was, name))
	}
	return encode(all)
}

// object is the members of a JSON object.
func object(v json.RawMessage) (all map[string]json.RawMessage, ok bool) {
	if v = bytes.TrimSpace(v); len(v) == 0 || v[0] != '{' {
		return nil, false
	}
	err := json.Unmarshal(v, &all)
	return all, err == nil
}

func encode(all map[string]json.RawMessage) json.RawMessage {
	b, err := json.Marshal(all)
	if err != nil { // it was decoded just before
		return json.RawMessage(hidden)
	}
	return b
}

// added is what a list has more than before.
func added(before, after json.RawMessage) json.RawMessage {
	var old, all []json.RawMessage
	if json.Unmarshal(after, &all) != nil || before != nil && json.Unmarshal(before, &old) != nil {
		return json.RawMessage(hidden)
	}
	b, err := json.Marshal(all[min(len(old), len(all)):])
	if err != nil {
		return json.RawMessage(hidden)
	}
	return b
}

// quiet says whether a change is of nothing but bookkeeping.
func (k kind) quiet(before, after json.RawMessage) bool {
	if before == nil || len(k.bookkeeping) == 0 || bytes.Equal(before, after) {
		return false
	}
	return bytes.Equal(without(before, k.bookkeeping), without(after, k.bookkeeping))
}

// without is a body without the members at these paths.
func without(body json.RawMessage, paths []string) json.RawMessage {
	all, ok := object(body)
	if !ok {
		return body
	}
	for _, p := range paths {
		name, rest, deeper := strings.Cut(p, ".")
		v, there := all[name]
		switch {
		case there && deeper:
			all[name] = without(v, []string{rest})
		case there:
			delete(all, name)
		}
	}
	return encode(all)
}
