package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/scim"
	"github.com/pulsestream/pulsestream/internal/web"
)

const scimPath = "/scim/v2"

// scimRoutes let a company's directory provision members.
func (a *api) scimRoutes() {
	a.mux.HandleFunc("/scim/v2/", a.scim)
	a.describeSCIM()
}

// scim answers as SCIM does, whose errors are not problems. It takes no cookie: a directory is a program.
func (a *api) scim(w http.ResponseWriter, r *http.Request) {
	p, err := a.Keys.Authenticate(r.Context(), bearer(r), a.Now())
	switch {
	case errors.Is(err, auth.ErrNoCredentials), errors.Is(err, auth.ErrBadCredentials):
		w.Header().Set("WWW-Authenticate", `Bearer realm="pulsestream"`)
		scim.Fail(w, &scim.Error{Status: http.StatusUnauthorized, Detail: a.problem(err).Detail})
	case err != nil:
		p := a.problem(err)
		scim.Fail(w, &scim.Error{Status: p.Status, Detail: p.Detail})
	case !p.Can(auth.MembersWrite):
		scim.Fail(w, &scim.Error{Status: http.StatusForbidden, Detail: forbidden(p, auth.MembersWrite).Detail})
	default:
		r = r.WithContext(audit.With(r.Context(), actor(p, r, w.Header().Get(web.RequestIDHeader))))
		scim.Serve(w, r, strings.TrimPrefix(r.URL.Path, scimPath), a.People.Directory(p, a.issuerOf), a.base(r)+scimPath, a.Log)
	}
}

func (a *api) describeSCIM() {
	const tag = "SCIM"
	body := map[string]*huma.MediaType{scim.MediaType: {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}}
	id := []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}}
	query := func(names ...string) (out []*huma.Param) {
		for _, n := range names {
			out = append(out, &huma.Param{Name: n, In: "query", Schema: &huma.Schema{Type: huma.TypeString}})
		}
		return out
	}
	add := func(name, method, path, summary, status string, params []*huma.Param) {
		op := &huma.Operation{OperationID: name, Method: method, Path: scimPath + path, Tags: []string{tag}, Summary: summary, Parameters: params, Security: []map[string][]string{{"bearer": {}}},
			Extensions:  takes(auth.MembersWrite),
			Description: "SCIM 2.0 (RFC 7644).\n\nNeeds the permission `" + string(auth.MembersWrite) + "`.",
			Responses:   map[string]*huma.Response{status: {Description: "As SCIM has it.", Content: body}, "401": {Description: "No or bad credentials.", Content: body}, "403": {Description: "Not allowed.", Content: body}}}
		if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
			op.RequestBody = &huma.RequestBody{Required: true, Content: body}
		}
		if status == "204" {
			op.Responses[status].Content = nil
		}
		a.huma.OpenAPI().AddOperation(op)
	}
	for _, of := range []struct{ path, one, many string }{{"/Users", "user", "users"}, {"/Groups", "group", "groups"}} {
		add("scim-list-"+of.many, http.MethodGet, of.path, "The "+of.many+" that the directory has made", "200", query("filter", "startIndex", "count", "attributes", "excludedAttributes"))
		add("scim-make-"+of.one, http.MethodPost, of.path, "Make a "+of.one, "201", nil)
		add("scim-get-"+of.one, http.MethodGet, of.path+"/{id}", "One "+of.one, "200", id)
		add("scim-replace-"+of.one, http.MethodPut, of.path+"/{id}", "Replace a "+of.one, "200", id)
		add("scim-patch-"+of.one, http.MethodPatch, of.path+"/{id}", "Change a "+of.one, "200", id)
		add("scim-remove-"+of.one, http.MethodDelete, of.path+"/{id}", "Remove a "+of.one, "204", id)
	}
	add("scim-config", http.MethodGet, "/ServiceProviderConfig", "What is supported", "200", nil)
	add("scim-resource-types", http.MethodGet, "/ResourceTypes", "Users and groups", "200", nil)
	add("scim-schemas", http.MethodGet, "/Schemas", "What is kept of them", "200", nil)
}
