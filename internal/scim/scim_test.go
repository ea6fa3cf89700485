package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shelf is a Directory in memory.
type shelf struct {
	users  []User
	groups []Group
	last   int
}

func (s *shelf) stamp() (string, time.Time) {
	s.last++
	return strconv.Itoa(s.last), time.Date(2026, 11, 29, 0, 0, s.last, 0, time.UTC)
}

func (s *shelf) Users(context.Context) ([]User, error) {
	out := slices.Clone(s.users)
	for i := range out {
		for _, g := range s.groups {
			if slices.ContainsFunc(g.Members, func(r Ref) bool { return r.ID == out[i].ID }) {
				out[i].Groups = append(out[i].Groups, Ref{g.ID, g.DisplayName})
			}
		}
	}
	return out, nil
}

func (s *shelf) Groups(context.Context) ([]Group, error) { return slices.Clone(s.groups), nil }

func (s *shelf) PutUser(_ context.Context, u User, version string) (User, error) {
	if slices.ContainsFunc(s.users, func(o User) bool { return strings.EqualFold(o.UserName, u.UserName) && o.ID != u.ID }) {
		return u, ErrTaken
	}
	u.Groups = nil
	v, at := s.stamp()
	if u.ID == "" {
		u.ID, u.Version, u.Created, u.Modified = "u"+v, v, at, at
		s.users = append(s.users, u)
		return u, nil
	}
	i := slices.IndexFunc(s.users, func(o User) bool { return o.ID == u.ID })
	if i < 0 {
		return u, ErrNotFound
	}
	if version != "" && version != s.users[i].Version {
		return u, ErrVersion
	}
	u.Version, u.Created, u.Modified = v, s.users[i].Created, at
	s.users[i] = u
	return u, nil
}

func (s *shelf) PutGroup(_ context.Context, g Group, version string) (Group, error) {
	v, at := s.stamp()
	if g.ID == "" {
		g.ID, g.Created = "g"+v, at
		s.groups = append(s.groups, g)
	}
	i := slices.IndexFunc(s.groups, func(o Group) bool { return o.ID == g.ID })
	if version != "" && version != s.groups[i].Version {
		return g, ErrVersion
	}
	g.Version, g.Modified = v, at
	s.groups[i] = g
	return g, nil
}

func (s *shelf) DeleteUser(_ context.Context, id, version string) error {
	i := slices.IndexFunc(s.users, func(o User) bool { return o.ID == id })
	if version != "" && s.users[i].Version != version {
		return ErrVersion
	}
	s.users = slices.Delete(s.users, i, i+1)
	return nil
}

func (s *shelf) DeleteGroup(_ context.Context, id, _ string) error {
	s.groups = slices.DeleteFunc(s.groups, func(g Group) bool { return g.ID == id })
	return nil
}

// service is the server over a directory, and a client that shows what it is answered.
type service struct {
	*httptest.Server
	dir *shelf
	t   *testing.T
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{dir: &shelf{}, t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/scim/v2/", func(w http.ResponseWriter, r *http.Request) {
		Serve(w, r, strings.TrimPrefix(r.URL.Path, "/scim/v2"), s.dir, s.URL+"/scim/v2", slog.New(slog.DiscardHandler))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// ask sends a request and returns the status and the answer, as any client of SCIM reads it.
func (s *service) ask(method, path, body string, header ...string) (int, map[string]any, http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+"/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", MediaType)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]any{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil || answer.Header.Get("Content-Type") != MediaType {
			s.t.Fatalf("%s %s: %s, %v", method, path, b, answer.Header)
		}
	}
	return answer.StatusCode, out, answer.Header
}

func (s *service) must(status int, method, path, body string, header ...string) (map[string]any, http.Header) {
	s.t.Helper()
	got, out, h := s.ask(method, path, body, header...)
	if got != status {
		s.t.Fatalf("%s %s %s: %d %v, want %d", method, path, body, got, out, status)
	}
	return out, h
}

func (s *service) found(kind, filter string) []string {
	s.t.Helper()
	out, _ := s.must(200, "GET", "/"+kind+"?filter="+url.QueryEscape(filter), "")
	var names []string
	list, _ := out["Resources"].([]any)
	for _, r := range list {
		m, _ := r.(map[string]any)
		name, ok := m["userName"].(string)
		if !ok {
			name, _ = m["displayName"].(string)
		}
		names = append(names, name)
	}
	return names
}

// get is a member of an answer by its path, "" if there is none.
func get(v any, path ...string) string {
	for _, p := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(at) {
				return ""
			}
			v = at[i]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func user(name string, more string) string {
	return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + name + `"` + more + `}`
}

func patch(ops string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + ops + `]}`
}

// The creation and the retrieval of RFC 7644, sections 3.3 and 3.4.1.
func TestAUserIsMadeAndReadAsTheRFCHasIt(t *testing.T) {
	s := newService(t)
	made, h := s.must(201, "POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"bjensen","externalId":"bjensen",
		"name":{"formatted":"Ms. Barbara J Jensen III","familyName":"Jensen","givenName":"Barbara"},"emails":[{"value":"babs@home.example"},{"value":"b@work.example","type":"work"}],"title":"Tour Guide","password":"t1meMa$heen"}`)
	id := get(made, "id")
	location := s.URL + "/scim/v2/Users/" + id
	if id == "" || h.Get("Location") != location || get(made, "meta", "location") != location || get(made, "meta", "resourceType") != "User" || h.Get("ETag") == "" || h.Get("ETag") != get(made, "meta", "version") {
		t.Errorf("%v, %v", made, h)
	}
	if get(made, "userName") != "bjensen" || get(made, "active") != "true" || get(made, "name", "givenName") != "Barbara" || get(made, "emails", "0", "value") != "b@work.example" || made["password"] != nil || made["title"] != nil {
		t.Errorf("%v", made)
	}
	read, _ := s.must(200, "GET", "/Users/"+id, "")
	if fmt.Sprint(read) != fmt.Sprint(made) {
		t.Errorf("%v, then %v", made, read)
	}
	if status, _, _ := s.ask("GET", "/Users/"+id, "", "If-None-Match", h.Get("ETag")); status != http.StatusNotModified {
		t.Error("it has not changed", status)
	}
	if few, _ := s.must(200, "GET", "/Users/"+id+"?attributes=userName,name.familyName", ""); few["emails"] != nil || get(few, "userName") != "bjensen" || get(few, "id") != id {
		t.Errorf("%v", few)
	}
	if less, _ := s.must(200, "GET", "/Users/"+id+"?excludedAttributes=emails", ""); less["emails"] != nil || less["name"] == nil {
		t.Errorf("%v", less)
	}
	s.must(404, "GET", "/Users/nobody", "")
	if again, _ := s.must(409, "POST", "/Users", user("BJensen", "")); get(again, "scimType") != "uniqueness" || get(again, "status") != "409" || get(again, "schemas", "0") != errorSchema {
		t.Errorf("%v", again)
	}
	s.must(204, "DELETE", "/Users/"+id, "")
	s.must(404, "GET", "/Users/"+id, "")
}

func TestAUserIsReplacedAndPatchedOnlyAsItWasRead(t *testing.T) {
	s := newService(t)
	made, h := s.must(201, "POST", "/Users", user("ann", `,"displayName":"Ann","emails":[{"value":"a@example.com","primary":true}]`))
	path := "/Users/" + get(made, "id")
	put, _ := s.must(200, "PUT", path, user("ann", `,"active":false`), "If-Match", h.Get("ETag"))
	if get(put, "displayName") != "" || put["emails"] != nil || get(put, "active") != "false" {
		t.Errorf("what is not said in a replacement is gone: %v", put)
	}
	s.must(412, "PUT", path, user("ann", ""), "If-Match", h.Get("ETag"))
	s.must(412, "PATCH", path, patch(`{"op":"replace","path":"active","value":true}`), "If-Match", h.Get("ETag"))
	s.must(412, "DELETE", path, "", "If-Match", h.Get("ETag"))
	s.must(200, "PATCH", path, patch(`{"op":"replace","path":"active","value":true}`), "If-Match", "*")
}

func TestPatchesOfAllKindsOfDirectories(t *testing.T) {
	for name, c := range map[string]struct{ ops, want string }{
		"by RFC, one attribute":         {`{"op":"replace","path":"active","value":false}`, "active=false"},
		"by RFC, several":               {`{"op":"replace","value":{"displayName":"B","active":false}}`, "displayName=B active=false"},
		"by RFC, with the schema":       {`{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:displayName","value":"B"}`, "displayName=B"},
		"a part of the name":            {`{"op":"add","path":"name.familyName","value":"B"}`, "family=B"},
		"the name in parts":             {`{"op":"replace","path":"name","value":{"familyName":"B"}}`, "family=B given=Ann"},
		"an e-mail":                     {`{"op":"replace","path":"emails[type eq \"work\"].value","value":"b@x.example"}`, "email=b@x.example"},
		"an e-mail by primary":          {`{"op":"replace","path":"emails[primary eq true].value","value":"b@x.example"}`, "email=b@x.example"},
		"an e-mail of another type":     {`{"op":"add","path":"emails[type eq \"home\"].value","value":"b@x.example"}`, "email=a@x.example"},
		"all e-mails":                   {`{"op":"replace","path":"emails","value":[{"value":"b@x.example"}]}`, "email=b@x.example"},
		"an e-mail is removed":          {`{"op":"remove","path":"emails[type eq \"work\"]"}`, "email="},
		"removed":                       {`{"op":"remove","path":"displayName"}`, "displayName="},
		"capitals and texts":            {`{"op":"Replace","path":"active","value":"False"}`, "active=false"},
		"an object without a path":      {`{"op":"Add","value":{"name.givenName":"B","active":"False"}}`, "given=B active=false"},
		"what is not kept":              {`{"op":"add","path":"title","value":"x"},{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"},{"op":"replace","path":"displayName","value":"B"}`, "displayName=B"},
		"what is not kept, as a object": {`{"op":"add","value":{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"x"},"displayName":"B"}}`, "displayName=B"},
		"one after another":             {`{"op":"replace","path":"displayName","value":"B"},{"op":"replace","path":"displayName","value":"C"}`, "displayName=C"},
	} {
		s := newService(t)
		made, _ := s.must(201, "POST", "/Users", user("ann", `,"displayName":"A","name":{"givenName":"Ann","familyName":"A"},"emails":[{"value":"a@x.example","type":"work"}]`))
		status, out, _ := s.ask("PATCH", "/Users/"+get(made, "id"), patch(c.ops))
		if status != 200 {
			t.Errorf("%s: %d %v", name, status, out)
			continue
		}
		have := map[string]string{"active": get(out, "active"), "displayName": get(out, "displayName"), "family": get(out, "name", "familyName"), "given": get(out, "name", "givenName"), "email": get(out, "emails", "0", "value")}
		for _, want := range strings.Fields(c.want) {
			key, v, _ := strings.Cut(want, "=")
			if have[key] != v {
				t.Errorf("%s: %s is %q", name, want, have[key])
			}
		}
	}
}

func TestMembersOfAGroupAreAddedAndRemoved(t *testing.T) {
	s := newService(t)
	var ids []string
	for _, n := range []string{"a", "b", "c"} {
		made, _ := s.must(201, "POST", "/Users", user(n, ""))
		ids = append(ids, get(made, "id"))
	}
	made, _ := s.must(201, "POST", "/Groups", `{"schemas":["`+groupSchema+`"],"displayName":"ops","externalId":"x","members":[{"value":"`+ids[0]+`"},{"value":"`+ids[0]+`"}]}`)
	path := "/Groups/" + get(made, "id")
	if read, _ := s.must(200, "GET", "/Users/"+ids[0], ""); get(read, "groups", "0", "display") != "ops" || get(read, "groups", "0", "value") != get(made, "id") {
		t.Errorf("%v", read)
	}
	member := func(i int) string { return `{"value":"` + ids[i] + `"}` }
	for _, c := range []struct {
		ops  string
		want []string
	}{
		{`{"op":"add","path":"members","value":[` + member(1) + `]}`, []string{ids[0], ids[1]}},
		{`{"op":"add","path":"members","value":[` + member(1) + `,` + member(2) + `]}`, ids},
		{`{"op":"remove","path":"members[value eq \"` + ids[1] + `\"]"}`, []string{ids[0], ids[2]}},
		{`{"op":"Remove","path":"members","value":[` + member(0) + `]}`, []string{ids[2]}},
		{`{"op":"replace","path":"members","value":[` + member(0) + `,` + member(1) + `]}`, []string{ids[0], ids[1]}},
		{`{"op":"replace","value":{"id":"` + get(made, "id") + `","displayName":"ops"}}`, []string{ids[0], ids[1]}},
		{`{"op":"remove","path":"members"}`, nil},
		{`{"op":"add","value":{"members":[` + member(2) + `]}}`, []string{ids[2]}},
	} {
		out, _ := s.must(200, "PATCH", path, patch(c.ops))
		var have []string
		list, _ := out["members"].([]any)
		for _, m := range list {
			have = append(have, get(m, "value"))
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("%s: %v, want %v", c.ops, have, c.want)
		}
	}
	if less, _ := s.must(200, "GET", path+"?excludedAttributes=members", ""); less["members"] != nil {
		t.Errorf("%v", less)
	}
	s.must(204, "DELETE", path, "")
	s.must(404, "GET", path, "")
}

func TestFilters(t *testing.T) {
	s := newService(t)
	s.must(201, "POST", "/Users", user("Ann@Example.com", `,"externalId":"A1","displayName":"Ann","emails":[{"value":"ann@example.com","type":"work"}]`))
	s.must(201, "POST", "/Users", user("bob", `,"externalId":"b2","active":false,"name":{"familyName":"Jensen"}`))
	s.must(201, "POST", "/Groups", `{"schemas":["`+groupSchema+`"],"displayName":"ops","members":[{"value":"u1"}]}`)
	for filter, want := range map[string][]string{
		`userName eq "ann@example.com"`:                                            {"Ann@Example.com"}, // caseExact is false
		`USERNAME EQ "ANN@example.com"`:                                            {"Ann@Example.com"},
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "B"`:               {"bob"},
		`externalId eq "A1"`:                                                       {"Ann@Example.com"},
		`externalId eq "a1"`:                                                       nil, // caseExact is true
		`id eq "u2"`:                                                               {"bob"},
		`active eq false`:                                                          {"bob"},
		`active ne true and userName pr`:                                           {"bob"},
		`displayName pr`:                                                           {"Ann@Example.com"},
		`not (displayName pr)`:                                                     {"bob"},
		`name.familyName co "ense"`:                                                {"bob"},
		`userName ew "com" or name.familyName eq "jensen"`:                         {"Ann@Example.com", "bob"},
		`emails[type eq "work" and value co "@example.com"]`:                       {"Ann@Example.com"},
		`emails.value eq "ann@example.com"`:                                        {"Ann@Example.com"},
		`emails eq "ann@example.com"`:                                              {"Ann@Example.com"},
		`meta.lastModified gt "2026-11-29T00:00:01Z"`:                              {"bob"},
		`meta.created lt "2000-01-01T00:00:00Z"`:                                   nil,
		`userName eq "x" or (active eq true and not (externalId eq "b2"))`:         {"Ann@Example.com"},
		`groups.value eq "g3"`:                                                     {"Ann@Example.com"},
		`userName gt "b" and userName lt "c" and userName ge "bob" and id le "u2"`: {"bob"},
	} {
		if have := s.found("Users", filter); !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v", filter, have, want)
		}
	}
	for filter, want := range map[string][]string{`displayName eq "ops"`: {"ops"}, `members eq "u1"`: {"ops"}, `members[value eq "u2"]`: nil, `members.value eq "u1" and displayName sw "o"`: {"ops"}} {
		if have := s.found("Groups", filter); !slices.Equal(have, want) {
			t.Errorf("%s: %v, want %v", filter, have, want)
		}
	}
}

func TestListsComeInPages(t *testing.T) {
	s := newService(t)
	for i := range 7 {
		s.must(201, "POST", "/Users", user(fmt.Sprint("u", i), ""))
	}
	for query, want := range map[string]string{"": "7 1 7", "?startIndex=1&count=3": "7 1 3", "?startIndex=6&count=3": "7 6 2", "?startIndex=9": "7 9 0", "?count=0": "7 1 0", "?startIndex=-5&count=-1": "7 1 0", "?count=100000": "7 1 7"} {
		out, _ := s.must(200, "GET", "/Users"+query, "")
		list, _ := out["Resources"].([]any)
		if have := get(out, "totalResults") + " " + get(out, "startIndex") + " " + get(out, "itemsPerPage"); have != want || get(out, "itemsPerPage") != strconv.Itoa(len(list)) || get(out, "schemas", "0") != listSchema {
			t.Errorf("%q: %s, want %s", query, have, want)
		}
	}
}

func TestWhatIsWrongIsToldAsTheRFCHasIt(t *testing.T) {
	s := newService(t)
	made, _ := s.must(201, "POST", "/Users", user("ann", ""))
	path := "/Users/" + get(made, "id")
	group, _ := s.must(201, "POST", "/Groups", `{"schemas":["`+groupSchema+`"],"displayName":"ops"}`)
	groupPath := "/Groups/" + get(group, "id")
	q := url.QueryEscape
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		kind               string
	}{
		"no JSON":                       {"POST", "/Users", `{`, 400, "invalidSyntax"},
		"no schema":                     {"POST", "/Users", `{"userName":"x"}`, 400, "invalidSyntax"},
		"no userName":                   {"POST", "/Users", user("", ""), 400, "invalidValue"},
		"a long userName":               {"POST", "/Users", user(strings.Repeat("a", 300), ""), 400, "invalidValue"},
		"a userName in two lines":       {"POST", "/Users", user(`a\nb`, ""), 400, "invalidValue"},
		"active is a number":            {"POST", "/Users", user("x", `,"active":7`), 400, "invalidSyntax"},
		"no displayName":                {"POST", "/Groups", `{"schemas":["` + groupSchema + `"]}`, 400, "invalidValue"},
		"too large":                     {"POST", "/Users", user("x", `,"x":"`+strings.Repeat("a", maxBody)+`"`), 413, ""},
		"a filter that is none":         {"GET", "/Users?filter=" + q("userName"), "", 400, "invalidFilter"},
		"a filter that is too long":     {"GET", "/Users?filter=" + q(strings.Repeat("(", 5000)), "", 400, "invalidFilter"},
		"a filter that is deep":         {"GET", "/Users?filter=" + q(strings.Repeat("(", 480)+`id pr`+strings.Repeat(")", 480)), "", 200, ""},
		"an attribute nobody knows":     {"GET", "/Users?filter=" + q(`title eq "x"`), "", 400, "invalidFilter"},
		"the password":                  {"GET", "/Users?filter=" + q(`password sw "a"`), "", 400, "invalidFilter"},
		"a boolean compared as a text":  {"GET", "/Users?filter=" + q(`active eq "x"`), "", 400, "invalidFilter"},
		"a text compared as a number":   {"GET", "/Users?filter=" + q(`userName eq 7`), "", 400, "invalidFilter"},
		"a page that is no number":      {"GET", "/Users?startIndex=a", "", 400, "invalidValue"},
		"no operations":                 {"PATCH", path, patch(""), 400, "invalidSyntax"},
		"an operation that is none":     {"PATCH", path, patch(`{"op":"move","path":"active","value":true}`), 400, "invalidSyntax"},
		"remove what":                   {"PATCH", path, patch(`{"op":"remove"}`), 400, "noTarget"},
		"a path that is none":           {"PATCH", path, patch(`{"op":"replace","path":"emails[","value":"x"}`), 400, "invalidPath"},
		"an id":                         {"PATCH", path, patch(`{"op":"replace","path":"id","value":"x"}`), 400, "mutability"},
		"groups of a user":              {"PATCH", path, patch(`{"op":"add","path":"groups","value":[{"value":"g"}]}`), 400, "mutability"},
		"active removed":                {"PATCH", path, patch(`{"op":"remove","path":"active"}`), 400, "mutability"},
		"a name that is a number":       {"PATCH", path, patch(`{"op":"replace","path":"userName","value":7}`), 400, "invalidValue"},
		"no name any more":              {"PATCH", path, patch(`{"op":"remove","path":"userName"}`), 400, "invalidValue"},
		"a value without a path":        {"PATCH", path, patch(`{"op":"replace","value":"x"}`), 400, "invalidValue"},
		"another id for a group":        {"PATCH", groupPath, patch(`{"op":"replace","path":"id","value":"x"}`), 400, "mutability"},
		"a patch without its schema":    {"PATCH", path, `{"Operations":[{"op":"replace","path":"active","value":true}]}`, 400, "invalidSyntax"},
		"a method that is not for this": {"PUT", "/Users", user("x", ""), 405, ""},
		"nothing":                       {"GET", "/Devices", "", 404, ""},
		"too deep":                      {"GET", path + "/name", "", 404, ""},
		"bulk":                          {"POST", "/Bulk", "{}", 501, ""},
		"me":                            {"GET", "/Me", "", 501, ""},
	} {
		status, out, _ := s.ask(c.method, c.path, c.body)
		if status != c.status || get(out, "scimType") != c.kind || status >= 400 && (get(out, "status") != strconv.Itoa(c.status) || get(out, "detail") == "") {
			t.Errorf("%s: %d %v, want %d %s", name, status, out, c.status, c.kind)
		}
	}
	if status, _, _ := s.ask("POST", "/Users", user("x", ""), "Content-Type", "text/plain"); status != http.StatusUnsupportedMediaType {
		t.Error("another media type", status)
	}
	if status, _, _ := s.ask("POST", "/Users", user("y", ""), "Content-Type", "application/json; charset=utf-8"); status != 201 {
		t.Error("plain JSON", status)
	}
}

func TestWhatIsServedIsDescribed(t *testing.T) {
	s := newService(t)
	config, _ := s.must(200, "GET", "/ServiceProviderConfig", "")
	if get(config, "patch", "supported") != "true" || get(config, "bulk", "supported") != "false" || get(config, "filter", "maxResults") != strconv.Itoa(maxResults) || get(config, "etag", "supported") != "true" || get(config, "authenticationSchemes", "0", "type") != "oauthbearertoken" {
		t.Errorf("%v", config)
	}
	types, _ := s.must(200, "GET", "/ResourceTypes", "")
	if get(types, "totalResults") != "2" {
		t.Errorf("%v", types)
	}
	for _, name := range []string{"User", "Group"} {
		kind, _ := s.must(200, "GET", "/ResourceTypes/"+name, "")
		schema, _ := s.must(200, "GET", "/Schemas/"+get(kind, "schema"), "")
		described := map[string]bool{"schemas": true, "id": true, "externalId": true, "meta": true}
		attributes, _ := schema["attributes"].([]any)
		for _, a := range attributes {
			described[get(a, "name")] = true
		}
		body := user("a", `,"displayName":"A","externalId":"x","name":{"formatted":"A"},"emails":[{"value":"a@x.example"}]`)
		if name == "Group" {
			body = `{"schemas":["` + groupSchema + `"],"displayName":"ops","members":[{"value":"u1"}]}`
		}
		made, _ := s.must(201, "POST", get(kind, "endpoint"), body)
		for attribute := range made {
			if !described[attribute] {
				t.Errorf("%s has %s, which its schema has not", name, attribute)
			}
		}
	}
	s.must(405, "POST", "/Schemas", "{}")
	s.must(404, "GET", "/Schemas/urn:x", "")
}

func FuzzNoFilterAndNoPathBreaksAnything(f *testing.F) {
	for _, s := range []string{`userName eq "a"`, `emails[type eq "work"].value`, `not (a pr) and (b eq 1 or c ne null)`, `members[value eq "x"]`, `((`, `name.`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u := User{ID: "1", UserName: "a"}
		if _, err := filtered(s, []User{u}, (*User).attribute); err == nil && len(s) > maxFilter {
			t.Error("a long one is read")
		}
		ops, err := split(operation{value: json.RawMessage(`"x"`)}, s)
		for _, op := range ops {
			_ = u.patch(op)
			g := Group{ID: "1", Members: []Ref{{ID: "x"}}}
			_ = g.patch(op)
		}
		_ = err
	})
}
