package api

import (
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/web"
)

// tokenView is the answer of RFC 6749, section 5.1.
type tokenView struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type" example:"Bearer"`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds." example:"3600"`
	Scope       string `json:"scope" example:"events:write tenant:read"`
}

// oauthError is the answer of RFC 6749, section 5.2, which is not that of the rest of the API.
type oauthError struct {
	Error       string `json:"error" enum:"invalid_request,invalid_client,unsupported_grant_type,invalid_scope,temporarily_unavailable"`
	Description string `json:"error_description,omitempty"`
	RequestID   string `json:"request_id,omitempty"`
}

// serverView is the metadata of RFC 8414.
type serverView struct {
	Issuer        string   `json:"issuer"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Scopes        []string `json:"scopes_supported"`
	Responses     []string `json:"response_types_supported"`
	Grants        []string `json:"grant_types_supported"`
	Methods       []string `json:"token_endpoint_auth_methods_supported"`
	Documentation string   `json:"service_documentation"`
}

// oauthRoutes give and describe access tokens. They need no permission: the client shows its key.
func (a *api) oauthRoutes() {
	a.mux.HandleFunc("POST /oauth/token", a.giveToken)
	a.mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, r *http.Request) {
		keys, err := a.Signing.Published(r.Context())
		if err != nil {
			a.problem(err).Write(w)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		web.JSONText(w, http.StatusOK, keys)
	})
	a.mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, r *http.Request) {
		base := a.base(r)
		w.Header().Set("Cache-Control", "public, max-age=300")
		web.JSON(w, http.StatusOK, serverView{Issuer: base, Token: base + "/oauth/token", Keys: base + "/.well-known/jwks.json", Scopes: auth.ScopeNames(), Responses: []string{},
			Grants: []string{"client_credentials"}, Methods: []string{"client_secret_basic", "client_secret_post"}, Documentation: base + "/docs"})
	})
	a.describeOAuth()
}

// maxTokenRequest bounds the body of a request for a token.
const maxTokenRequest = 16 << 10

func (a *api) giveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	refuse := func(status int, code, detail string) {
		web.JSON(w, status, oauthError{Error: code, Description: detail, RequestID: w.Header().Get(web.RequestIDHeader)})
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		refuse(http.StatusBadRequest, "invalid_request", "send the request as application/x-www-form-urlencoded")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenRequest)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "the body is no form, or too large")
		return
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			refuse(http.StatusBadRequest, "invalid_request", name+" is there more than once")
			return
		}
	}
	switch grant := r.PostForm.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		refuse(http.StatusBadRequest, "invalid_request", "grant_type is missing: it is client_credentials")
		return
	default:
		refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type may be client_credentials")
		return
	}
	id, secret, problem := client(r)
	if problem != "" {
		refuse(http.StatusBadRequest, "invalid_request", problem)
		return
	}
	token, err := a.Tokens.Give(r.Context(), id, secret, r.PostForm.Get("scope"), a.base(r), a.Now())
	switch {
	case errors.Is(err, auth.ErrBadCredentials):
		w.Header().Set("WWW-Authenticate", `Basic realm="pulsestream"`)
		refuse(http.StatusUnauthorized, "invalid_client", "the client is an API key: client_id is its id, client_secret its secret")
	case errors.Is(err, auth.ErrBadScope):
		refuse(http.StatusBadRequest, "invalid_scope", err.Error())
	case err != nil:
		a.Log.Error("an access token could not be given", "error.message", err.Error())
		refuse(http.StatusServiceUnavailable, "temporarily_unavailable", "ask again in a moment")
	default:
		web.JSON(w, http.StatusOK, tokenView{AccessToken: token.Token, TokenType: "Bearer", ExpiresIn: int(token.Expires.Seconds()), Scope: token.Scope})
	}
}

// client is who asks for a token: by HTTP Basic, where both halves are encoded as in a form (RFC 6749, section 2.3.1), or in the form.
func client(r *http.Request) (id, secret, problem string) {
	form := r.PostForm
	user, password, basic := r.BasicAuth()
	switch {
	case basic && (form.Has("client_secret") || form.Has("client_id") && form.Get("client_id") != user):
		return "", "", "authenticate the client in one way, by HTTP Basic or in the form"
	case !basic && r.Header.Get("Authorization") != "":
		return "", "", "the client authenticates by HTTP Basic or in the form"
	case !basic:
		return form.Get("client_id"), form.Get("client_secret"), ""
	}
	id, err := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(password)
	if err != nil || err2 != nil {
		return "", "", "the credentials of HTTP Basic are not encoded as in a form"
	}
	return id, secret, ""
}

func (a *api) describeOAuth() {
	const tag = "Access tokens"
	schemas := a.huma.OpenAPI().Components.Schemas
	media := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: s}}
	}
	failed := media(schemas.Schema(typeOf[oauthError](), true, "OAuthError"))
	text := func(description string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Description: description}
	}
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "give-token", Method: http.MethodPost, Path: "/oauth/token", Tags: []string{tag}, Summary: "An access token for an API key",
		Description: "The client credentials grant of OAuth 2 (RFC 6749): the client is an API key, `ps_<id>_<secret>`, with its id and its secret, by HTTP Basic or in the form. " +
			"The token is a JWT by RFC 9068, good for an hour, and ends with its key.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/x-www-form-urlencoded": {Schema: &huma.Schema{Type: huma.TypeObject,
			Properties: map[string]*huma.Schema{"grant_type": {Type: huma.TypeString, Enum: []any{"client_credentials"}}, "client_id": text("The key's id; not with HTTP Basic."),
				"client_secret": text("The key's secret; not with HTTP Basic."), "scope": text("Permissions with spaces between them; all that the key may do when missing.")},
			Required: []string{"grant_type"}}}}},
		Responses: map[string]*huma.Response{"200": {Description: "The token.", Content: media(schemas.Schema(typeOf[tokenView](), true, "Token"))},
			"400": {Description: "The request is not right.", Content: failed}, "401": {Description: "The client is not known here.", Content: failed},
			"503": {Description: "Ask again in a moment.", Content: failed}},
	})
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-jwks", Method: http.MethodGet, Path: "/.well-known/jwks.json", Tags: []string{tag},
		Summary:   "The keys that access tokens are signed with",
		Responses: map[string]*huma.Response{"200": {Description: "A JWK set (RFC 7517).", Content: media(&huma.Schema{Type: huma.TypeObject})}}})
	a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-authorization-server", Method: http.MethodGet, Path: "/.well-known/oauth-authorization-server", Tags: []string{tag},
		Summary:   "What the token endpoint can do",
		Responses: map[string]*huma.Response{"200": {Description: "Metadata by RFC 8414.", Content: media(schemas.Schema(typeOf[serverView](), true, "AuthorizationServer"))}}})
}
