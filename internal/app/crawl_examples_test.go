package app_test

import (
	"strings"

	"github.com/pulsestream/pulsestream/internal/auth"
)

// ownKinds says which of a tenant's things the parameters of a path name. A new path with parameters needs a row here, and newWorld then makes such a
// thing for both tenants; "" is for what names nothing of a tenant's.
func ownKinds() map[string]string {
	return map[string]string{
		"/v1/admin/tenants/{id}":        "tenant",
		"/v1/channels/{slug}":           "channel",
		"/v1/events/{source}/{id}":      "event",
		"/v1/hooks/{token}":             "hook",
		"/v1/incidents/{id}":            "incident",
		"/v1/identity-providers/{slug}": "identity-provider",
		"/auth/{tenant}/{provider}":     "door",
		"/scim/v2/Users/{id}":           "scim-user",
		"/scim/v2/Groups/{id}":          "scim-group",
		"/v1/keys/{id}":                 "key",
		"/v1/members/{id}":              "member",
		"/v1/sessions/{id}":             "session",
		"/v1/metrics/{slug}":            "metric",
		"/v1/quarantine/{id}/retry":     "quarantined",
		"/v1/reports/{id}":              "report",
		"/v1/rules/{slug}":              "rule",
		"/v1/token-issuers/{slug}":      "token-issuer",
		"/v1/sources/{slug}":            "source",
	}
}

// examples are bodies by operation: what a party sends that names things of another (or of itself) wherever a body can name something. A new operation that
// takes a body needs one.
func examples() map[string]func(by, of *party) any {
	type object = map[string]any
	text := func(o object) func(by, of *party) any { return func(_, _ *party) any { return o } }
	metric := func(by, _ *party) any {
		return object{"name": by.mark + "metric-name", "description": by.mark + "metric-description", "unit": by.mark + "unit", "event_types": []string{by.mark + "type"},
			"filter": "subject != '" + by.mark + "filter'", "dimensions": object{"place": "data.where"}}
	}
	scimUser := func(name string) func(by, of *party) any {
		return func(by, of *party) any {
			return object{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": of.mark + name, "externalId": of.mark + "external", "displayName": by.mark + "scim-name", "active": true}
		}
	}
	scimGroup := func(by, of *party) any {
		g := object{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": by.mark + "group"}
		if of.things["scim-user"] != nil {
			g["members"] = []object{{"value": of.things["scim-user"][0]}}
		}
		return g
	}
	patch := object{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []object{{"op": "replace", "path": "displayName", "value": "mine now"}}}
	return map[string]func(by, of *party) any{
		"put-source": func(by, _ *party) any {
			return object{"vendor": "github", "name": by.mark + "source-name", "secret": by.mark + "source-secret-0123456789"}
		},
		"put-channel": func(by, _ *party) any {
			return object{"type": "webhook", "name": by.mark + "channel-name", "config": object{"url": "http://127.0.0.1:9/" + by.mark + "channel-url"}}
		},
		"put-identity-provider": func(by, _ *party) any {
			return object{"type": "oidc", "name": by.mark + "provider-name", "issuer": by.loose["issuer"], "client_id": by.mark + "client", "client_secret": by.mark + "client-secret", "roles": object{by.mark + "group": "viewer"}}
		},
		"finish-saml-sign-in": text(object{"SAMLResponse": "none"}),
		"scim-make-user":      scimUser("scim@example.com"),
		"scim-replace-user":   scimUser("scim@example.com"),
		"scim-make-group":     scimGroup,
		"scim-replace-group":  scimGroup,
		"scim-patch-user":     text(patch),
		"scim-patch-group":    text(patch),
		"put-token-issuer": func(by, of *party) any {
			return object{"name": by.mark + "token-issuer-name", "issuer": by.loose["issuer"], "audience": "urn:" + by.mark + "audience:" + of.tenant, "role": "viewer"}
		},
		"put-metric": metric,
		"create-metric": func(by, of *party) any {
			m := metric(by, of).(object)
			m["slug"] = by.mark + "another-metric"
			return m
		},
		"put-rule": func(by, of *party) any {
			return object{"name": by.mark + "rule-name", "metric": of.mark + "metric", "group_by": []string{"place"}, "window": "1h", "condition": object{"type": "threshold", "op": ">", "value": 0},
				"channels": []string{of.mark + "channel"}, "labels": object{"team": by.mark + "label"}, "summary": by.mark + "summary"}
		},
		"make-key":             text(object{"name": "k", "role": "viewer"}),
		"rotate-key":           text(object{"overlap": "1h"}),
		"make-tenant":          func(_, of *party) any { return object{"id": of.tenant} },
		"put-tenant":           text(object{"name": "changed"}),
		"make-tenant-key":      text(object{"name": "k", "role": "owner"}),
		"acknowledge-incident": text(object{"comment": "mine now"}),
		"comment-incident":     text(object{"text": "mine now"}), "comment-incident-alias": text(object{"text": "mine now"}),
		"retry-quarantine": func(_, of *party) any { return object{"ids": of.things["quarantined"], "dry_run": true} },
		"order-report": func(_, of *party) any {
			return object{"kind": "metric", "format": "csv", "query": object{"metric": of.mark + "metric"}}
		},
		"send-events": func(by, of *party) any {
			return object{"id": of.mark + "event-1", "source": of.mark + "event-source", "type": by.mark + "other", "tenant": of.tenant, "tenantid": of.tenant}
		},
		"invite-member": func(by, of *party) any {
			return object{"email": of.mark + "member@example.com", "name": by.mark + "twin", "role": "viewer"}
		},
		"put-member":      text(object{"name": "mine now", "role": "viewer"}),
		"reinvite-member": text(object{"reset_totp": true}),
		"sign-in": func(_, of *party) any {
			return object{"tenant": of.tenant, "email": of.mark + "member@example.com", "password": "a wrong one, of course"}
		},
		"accept-invitation": text(object{"token": "none", "password": "a good long password, thank you"}),
		"set-password":      text(object{"current": "a wrong one, of course", "new": "a good long password, thank you"}),
		"make-totp":         text(object{"password": "a wrong one, of course"}),
		"confirm-totp":      text(object{"code": "000000"}),
		"end-totp":          text(object{"code": "000000"}),
		"receive-webhook":   text(object{"zen": "nothing"}),
		"give-token":        nil, // a form: it has tests of its own, and takes nothing but a key
	}
}

// public are the paths that need no permission, each with what protects it. A new one is a decision.
func public() map[string]string {
	return map[string]string{
		"GET /healthz":      "says that the process lives",
		"GET /readyz":       "says whether it takes events",
		"GET /metrics":      "counts of the installation, none of a tenant",
		"GET /docs":         "the published description",
		"GET /openapi.json": "the published description", "GET /openapi.yaml": "the published description",
		"GET /openapi-3.0.json": "the published description", "GET /openapi-3.0.yaml": "the published description",
		"POST /oauth/token":                           "the client shows its key",
		"GET /.well-known/jwks.json":                  "public keys",
		"GET /.well-known/oauth-authorization-server": "what the token endpoint can do",
		"GET /v1/sign-in":                             "says the same of every tenant but for its identity providers, which who signs in has to see",
		"GET /auth/{tenant}/{provider}":               "leads to the identity provider",
		"GET /auth/{tenant}/{provider}/callback":      "what the identity provider has signed, and the attempt's cookie",
		"GET /auth/{tenant}/{provider}/metadata":      "what an identity provider has to know",
		"POST /auth/{tenant}/{provider}/acs":          "what the identity provider has signed, and the attempt's cookie",
		"/scim/v2/":                                   "a subtree, each of whose routes is described",
		"POST /v1/session":                            "a password, and failures are limited",
		"POST /v1/invitations/accept":                 "the invitation's token",
		"POST /v1/hooks/{token}":                      "the vendor's signature over the body",
		"GET /v1/reports/{id}/file":                   "the signature in the address, which expires",
		"/":                                           "the page",
		"POST /backup":                                "no route of the API: a socket in the data directory, for its owner only",
	}
}

// anybody is the permission of routes that take any credentials, and show and change nothing but the caller's own.
const anybody auth.Permission = "*"

// suffices lists permissions any of which opens a route that has parts for each.
func suffices() map[string][]auth.Permission {
	return map[string][]auth.Permission{"GET /v1/live": {auth.MetricsRead, auth.EventsRead, auth.IncidentsRead}}
}

// kindOf is the row of a path with parameters.
func kindOf(path string) (string, bool) {
	best, kind, found := -1, "", false
	for prefix, k := range ownKinds() {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && len(prefix) > best {
			best, kind, found = len(prefix), k, true
		}
	}
	return kind, found
}
