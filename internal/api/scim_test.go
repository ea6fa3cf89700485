package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// json sends a JSON body with a key, and decodes the answer.
func (i *instance) json(method, path, key string, body, out any) int {
	i.t.Helper()
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			i.t.Fatal(err)
		}
		text = string(b)
	}
	resp, b := i.do(method, path, key, text)
	if out != nil && len(b) > 0 {
		if err := json.Unmarshal(b, out); err != nil {
			i.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
		}
	}
	return resp.StatusCode
}

const scimUser, scimGroup = "urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"

// key makes one.
func (i *instance) key(role string, scopes ...string) string {
	i.t.Helper()
	var made object
	if status := i.json("POST", "/v1/keys", givenKey, object{"name": "directory", "role": role, "scopes": scopes}, &made); status != http.StatusCreated {
		i.t.Fatalf("%d %v", status, made)
	}
	return made.text("secret")
}

func (i *instance) scimMake(key, name, external string) string {
	i.t.Helper()
	var made object
	if status := i.json("POST", "/scim/v2/Users", key, object{"schemas": []string{scimUser}, "userName": name, "externalId": external, "displayName": strings.ToUpper(name)}, &made); status != http.StatusCreated {
		i.t.Fatalf("%d %v", status, made)
	}
	return made.text("id")
}

func (i *instance) scimGroup(key, name string, members ...string) string {
	i.t.Helper()
	list := make([]object, 0, len(members))
	for _, m := range members {
		list = append(list, object{"value": m})
	}
	var made object
	if status := i.json("POST", "/scim/v2/Groups", key, object{"schemas": []string{scimGroup}, "displayName": name, "members": list}, &made); status != http.StatusCreated {
		i.t.Fatalf("%d %v", status, made)
	}
	return made.text("id")
}

func (i *instance) scimPatch(key, path string, ops ...object) (int, object) {
	i.t.Helper()
	var out object
	return i.json("PATCH", "/scim/v2"+path, key, object{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": ops}, &out), out
}

func (i *instance) member(id string) object {
	i.t.Helper()
	var m object
	i.json("GET", "/v1/members/"+id, givenKey, nil, &m)
	return m
}

func TestADirectoryProvisionsWhoSignsInBySAMLAndTheirGroupsAreTheirRole(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	p.meet(i, way)
	p.groups("ops") // what the assertion says of groups does not count where a directory says
	key := i.key("admin", "members:write")
	ada := i.scimMake(key, "ada", "u-1")
	enter := func() (string, *browser) {
		b := i.browser()
		return b.post(way, p.assert(b.toProvider(way))), b
	}
	if to, _ := enter(); to != "/?sign_in_error=no_role" {
		t.Fatalf("without a group: %s", to)
	}
	staff := i.scimGroup(key, "staff", ada)
	to, b := enter()
	if me := b.session(); to != "/" || me.text("subject") != "member:"+ada || me.text("role") != "viewer" || me.text("name") != "ADA" {
		t.Fatalf("%s %v", to, me)
	}
	ops := i.scimGroup(key, "ops")
	if status, out := i.scimPatch(key, "/Groups/"+ops, object{"op": "add", "path": "members", "value": []object{{"value": ada}}}); status != 200 {
		t.Fatal(status, out)
	}
	if me := b.session(); me.text("role") != "admin" {
		t.Errorf("the session has the role of the new group at once: %v", me)
	}
	if status, _ := i.scimPatch(key, "/Groups/"+ops, object{"op": "replace", "path": "displayName", "value": "guests"}); status != 200 {
		t.Error(status)
	}
	if me := b.session(); me.text("role") != "viewer" {
		t.Errorf("a group that has another name gives another role: %v", me)
	}
	if status, out := i.scimPatch(key, "/Users/"+ada, object{"op": "Replace", "path": "active", "value": "False"}); status != 200 {
		t.Fatal(status, out)
	}
	if b.session() != nil {
		t.Error("who is inactive is signed in still")
	}
	if to, _ := enter(); to != "/?sign_in_error=disabled" {
		t.Error(to)
	}
	if status, _ := i.scimPatch(key, "/Users/"+ada, object{"op": "replace", "value": object{"active": true}}); status != 200 {
		t.Error(status)
	}
	if to, b = enter(); to != "/" {
		t.Fatal(to)
	}
	if status := i.json("DELETE", "/scim/v2/Groups/"+staff, key, nil, nil); status != http.StatusNoContent || b.session() != nil {
		t.Errorf("%d: who has no role any more is signed in still", status)
	}
	if status := i.json("DELETE", "/scim/v2/Users/"+ada, key, nil, nil); status != http.StatusNoContent || i.member(ada).text("state") != "" {
		t.Error(status, i.member(ada))
	}
}

func TestADirectorySeesAndTouchesOnlyWhomItHasMade(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	p.meet(i, way)
	_, local := i.person(givenKey, "ada@corp.example", "owner")
	key := i.key("admin", "members:write")
	var out struct {
		Total     int `json:"totalResults"`
		Resources []object
	}
	if i.json("GET", "/scim/v2/Users?filter="+url.QueryEscape(`userName eq "ada@corp.example"`), key, nil, &out); out.Total != 0 {
		t.Errorf("a member with a password is seen: %v", out)
	}
	made := i.scimMake(key, "ada@corp.example", "u-1")
	if made == local.text("id") || i.member(local.text("id")).text("role") != "owner" {
		t.Errorf("an e-mail made one of two")
	}
	for _, path := range []string{"/Users/" + local.text("id"), "/Users/nobody"} {
		if status := i.json("GET", "/scim/v2"+path, key, nil, nil); status != http.StatusNotFound {
			t.Error(path, status)
		}
		if status, _ := i.scimPatch(key, path, object{"op": "replace", "path": "active", "value": false}); status != http.StatusNotFound {
			t.Error(path, status)
		}
	}
	var refused object
	if status := i.json("POST", "/scim/v2/Groups", key, object{"schemas": []string{scimGroup}, "displayName": "ops", "members": []object{{"value": local.text("id")}}}, &refused); status != 400 {
		t.Errorf("a member with a password is put into a group: %d %v", status, refused)
	}
	i.scimGroup(key, "staff", made)
	b := i.browser()
	if to := b.post(way, p.assert(b.toProvider(way))); to != "/" || b.session().text("subject") != "member:"+made {
		t.Error(to, b.session())
	}
	// Who has signed in before the directory knew of them is the same person, by the identity.
	p.session.NameID, p.session.UserEmail = "u-2", "ada@corp.example"
	p.groups("staff")
	b = i.browser()
	if to := b.post(way, p.assert(b.toProvider(way))); to != "/" {
		t.Fatal(to)
	}
	if second := i.scimMake(key, "second", "u-2"); "member:"+second != b.session().text("subject") && b.session() != nil {
		t.Errorf("%s is not %v", second, b.session())
	}
	if status := i.json("POST", "/scim/v2/Users", key, object{"schemas": []string{scimUser}, "userName": "third", "externalId": "u-2"}, &refused); status != http.StatusConflict || refused.text("scimType") != "uniqueness" {
		t.Errorf("two users of one identity: %d %v", status, refused)
	}
}

func TestAKeyProvisionsNobodyMightierThanItsRole(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata", "roles": object{"staff": "viewer", "bosses": "owner"}})
	admin, owner := i.key("admin", "members:write"), i.key("owner", "members:write")
	ada := i.scimMake(admin, "ada", "u-1")
	var out object
	if status := i.json("POST", "/scim/v2/Groups", admin, object{"schemas": []string{scimGroup}, "displayName": "bosses", "members": []object{{"value": ada}}}, &out); status != http.StatusForbidden {
		t.Errorf("an admin's key makes owners: %d %v", status, out)
	}
	bosses := i.scimGroup(owner, "bosses", ada)
	if i.member(ada).text("role") != "owner" {
		t.Error(i.member(ada))
	}
	for name, status := range map[string]int{
		"an owner is made inactive": func() int {
			s, _ := i.scimPatch(admin, "/Users/"+ada, object{"op": "replace", "path": "active", "value": false})
			return s
		}(),
		"an owner is removed":   i.json("DELETE", "/scim/v2/Users/"+ada, admin, nil, nil),
		"an owner's group goes": i.json("DELETE", "/scim/v2/Groups/"+bosses, admin, nil, nil),
	} {
		if status != http.StatusForbidden {
			t.Errorf("%s by an admin's key: %d", name, status)
		}
	}
	for name, status := range map[string]int{
		"is made inactive": func() int {
			s, _ := i.scimPatch(owner, "/Users/"+ada, object{"op": "replace", "path": "active", "value": false})
			return s
		}(),
		"is removed":      i.json("DELETE", "/scim/v2/Users/"+ada, owner, nil, nil),
		"loses the group": i.json("DELETE", "/scim/v2/Groups/"+bosses, owner, nil, nil),
	} {
		if status != http.StatusConflict {
			t.Errorf("the last owner %s: %d", name, status)
		}
	}
	i.person(givenKey, "second@example.com", "owner")
	if status := i.json("DELETE", "/scim/v2/Groups/"+bosses, owner, nil, nil); status != http.StatusNoContent || i.member(ada).text("role") != "viewer" {
		t.Error(status, i.member(ada))
	}
}

func TestSCIMTakesOnlyKeysThatMayChangeMembers(t *testing.T) {
	i := start(t, withProviders())
	b, _ := i.person(givenKey, "ada@example.com", "owner")
	if a := b.do("GET", "/scim/v2/Users", nil, nil); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a cookie: %d", a.StatusCode)
	}
	for name, c := range map[string]struct {
		key    string
		status int
	}{"a key of nobody": {"ps_x_y", 401}, "an editor's": {i.key("editor"), 403}, "an admin's without the permission": {i.key("admin", "members:read"), 403}, "an admin's": {i.key("admin"), 200}} {
		for _, path := range []string{"/Users", "/Groups", "/Schemas", "/ServiceProviderConfig"} {
			resp, body := i.do("GET", "/scim/v2"+path, c.key, "")
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/scim+json" || c.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s, %s: %d %s", name, path, resp.StatusCode, body)
			}
		}
	}
}

func TestADirectoryMayComeBeforeTheIdentityProviderAndNotWithTwo(t *testing.T) {
	i, p := start(t, withProviders()), newSAMLIDP(t)
	key := i.key("owner", "members:write")
	ada := i.scimMake(key, "ada", "u-1")
	i.scimGroup(key, "staff", ada)
	i.provideSAML("corp", object{"metadata_url": p.URL + "/metadata"})
	p.meet(i, way)
	b := i.browser()
	if to := b.post(way, p.assert(b.toProvider(way))); to != "/" || b.session().text("subject") != "member:"+ada {
		t.Fatal(to, b.session())
	}
	i.provideSAML("other", object{"metadata_url": p.URL + "/metadata"})
	var out object
	if status := i.json("POST", "/scim/v2/Users", key, object{"schemas": []string{scimUser}, "userName": "bob", "externalId": "u-9"}, &out); status != http.StatusConflict || !strings.Contains(out.text("detail"), "2 identity providers") {
		t.Error(status, out)
	}
	p.meet(i, "/auth/default/other")
	other := i.browser() // the same subject at another provider is somebody else
	p.groups("staff")
	if to := other.post("/auth/default/other", p.assert(other.toProvider("/auth/default/other"))); to != "/" || other.session().text("subject") == "member:"+ada {
		t.Error(to, other.session())
	}
	if status, _ := i.scimPatch(key, "/Users/"+ada, object{"op": "replace", "path": "active", "value": false}); status != 200 || b.session() != nil {
		t.Error("who is linked to one of them is locked out", status)
	}
}
