package scim

import "net/http"

type object = map[string]any

// discover answers what this server can do and keeps: RFC 7644, section 4.
func (c *call) discover(what, id string) error {
	if c.r.Method != http.MethodGet {
		return c.notAllowed(http.MethodGet)
	}
	if c.r.URL.Query().Get("filter") != "" {
		return &Error{http.StatusForbidden, "", "That is not filtered."}
	}
	if what == "ServiceProviderConfig" {
		if id != "" {
			return ErrNotFound
		}
		send(c.w, http.StatusOK, c.config())
		return nil
	}
	all := c.schemas()
	if what == "ResourceTypes" {
		all = c.resourceTypes()
	}
	if id == "" {
		return listing(c, all, func(o *object) any { return *o })
	}
	for _, o := range all {
		if o["id"] == id {
			send(c.w, http.StatusOK, o)
			return nil
		}
	}
	return ErrNotFound
}

func (c *call) config() object {
	supported := func(yes bool) object { return object{"supported": yes} }
	return object{
		"schemas":               []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":                 supported(true),
		"bulk":                  object{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter":                object{"supported": true, "maxResults": maxResults},
		"changePassword":        supported(false),
		"sort":                  supported(false),
		"etag":                  supported(true),
		"authenticationSchemes": []object{{"type": "oauthbearertoken", "name": "API key", "description": "Authorization: Bearer with an API key that has the permission members:write", "primary": true}},
		"meta":                  object{"resourceType": "ServiceProviderConfig", "location": c.base + "/ServiceProviderConfig"},
	}
}

func (c *call) resourceTypes() []object {
	one := func(name, path, schema string) object {
		return object{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": name, "name": name, "endpoint": path, "schema": schema, "schemaExtensions": []object{},
			"meta": object{"resourceType": "ResourceType", "location": c.base + "/ResourceTypes/" + name}}
	}
	return []object{one("User", "/Users", userSchema), one("Group", "/Groups", groupSchema)}
}

// attributeOf describes an attribute; more overrides what is usual.
func attributeOf(name, kind, description string, more object) object {
	a := object{"name": name, "type": kind, "multiValued": false, "description": description, "required": false, "caseExact": false, "mutability": "readWrite", "returned": "default", "uniqueness": "none"}
	for k, v := range more {
		a[k] = v
	}
	return a
}

func (c *call) schemas() []object {
	one := func(id, name, description string, attributes ...object) object {
		return object{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": id, "name": name, "description": description, "attributes": attributes,
			"meta": object{"resourceType": "Schema", "location": c.base + "/Schemas/" + id}}
	}
	readOnly := object{"mutability": "readOnly"}
	return []object{
		one(userSchema, "User", "A member of the tenant that the directory looks after.",
			attributeOf("userName", "string", "What the directory calls the person; no two have the same.", object{"required": true, "uniqueness": "server"}),
			attributeOf("displayName", "string", "The name that is shown.", nil),
			attributeOf("name", "complex", "The name in parts.", object{"subAttributes": []object{attributeOf("formatted", "string", "The whole name.", nil),
				attributeOf("givenName", "string", "The given name.", nil), attributeOf("familyName", "string", "The family name.", nil)}}),
			attributeOf("emails", "complex", "One is kept: the primary one, the one for work, or the first. It identifies nobody.", object{"multiValued": true, "subAttributes": []object{
				attributeOf("value", "string", "The address.", nil), attributeOf("type", "string", "work", nil), attributeOf("primary", "boolean", "Always true.", nil)}}),
			attributeOf("active", "boolean", "Whether the person may sign in. Who is made inactive is signed out at once.", nil),
			attributeOf("groups", "complex", "The groups that the person is in.", object{"multiValued": true, "mutability": "readOnly", "subAttributes": []object{
				attributeOf("value", "string", "The group's id.", readOnly), attributeOf("$ref", "reference", "The group's address.", object{"mutability": "readOnly", "referenceTypes": []string{"Group"}}), attributeOf("display", "string", "The group's name.", readOnly)}}),
		),
		one(groupSchema, "Group", "A group; the tenant's identity provider says which role it gives.",
			attributeOf("displayName", "string", "The group's name, which roles are given by; no two have the same.", object{"required": true, "caseExact": true, "uniqueness": "server"}),
			attributeOf("members", "complex", "Who is in it.", object{"multiValued": true, "subAttributes": []object{
				attributeOf("value", "string", "The user's id.", object{"mutability": "immutable", "caseExact": true}), attributeOf("$ref", "reference", "The user's address.", object{"mutability": "immutable", "referenceTypes": []string{"User"}}),
				attributeOf("display", "string", "The user's name.", readOnly), attributeOf("type", "string", "User", object{"mutability": "immutable"})}}),
		),
	}
}
