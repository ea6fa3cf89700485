package scim

import (
	"encoding/json"
	"testing"

	"github.com/elimity-com/scim/schema"
)

// Another library of SCIM reads what is published here, and finds the answers right by it and by the RFC's own schemas as it has them.
func TestAnotherLibraryReadsTheSchemasAndTheAnswers(t *testing.T) {
	s := newService(t)
	for path, it := range map[string]struct {
		id, body string
		core     schema.Schema
	}{
		"/Users": {userSchema, user("ann@example.com", `,"displayName":"Ann","externalId":"x-1","active":true,"name":{"formatted":"Ann A","givenName":"Ann","familyName":"A"},
			"emails":[{"value":"ann@example.com","type":"work","primary":true}]`), schema.CoreUserSchema()},
		"/Groups": {groupSchema, `{"schemas":["` + groupSchema + `"],"displayName":"ops","externalId":"x-2"}`, schema.CoreGroupSchema()},
	} {
		published, _ := s.must(200, "GET", "/Schemas/"+it.id, "")
		text, err := json.Marshal(published)
		if err != nil {
			t.Fatal(err)
		}
		var read schema.Schema
		if err := json.Unmarshal(text, &read); err != nil || read.ID != it.id || len(read.Attributes) == 0 {
			t.Fatalf("%s: %v: %+v", path, err, read)
		}
		for _, a := range read.Attributes {
			if core, ok := it.core.Attributes.ContainsAttribute(a.Name()); !ok || core.AttributeType() != a.AttributeType() || core.MultiValued() != a.MultiValued() {
				t.Errorf("%s: %s is %s, many %v; in the RFC %v", path, a.Name(), a.AttributeType(), a.MultiValued(), core)
			}
		}
		made, _ := s.must(201, "POST", path, it.body)
		for by, against := range map[string]schema.Schema{"the published schema": read, "the RFC's": it.core} {
			if _, wrong := against.Validate(made); wrong != nil {
				t.Errorf("%s by %s: %v: %v", path, by, wrong, made)
			}
		}
	}
	if _, wrong := schema.CoreUserSchema().Validate(map[string]any{"schemas": []any{userSchema}, "userName": 7}); wrong == nil {
		t.Error("the library takes anything")
	}
}
