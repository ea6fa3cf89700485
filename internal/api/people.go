package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/web"
)

// The cookie of a session. Browsers take the first name only over TLS, from the host itself and for all of it.
const (
	secureCookie = "__Host-pulsestream"
	plainCookie  = "pulsestream"
)

var errCrossOrigin = errors.New("a page of another site has sent this")

// ownOrigin tells requests of the server's own pages from those of others.
func ownOrigin(publicURL string) *http.CrossOriginProtection {
	c := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicURL); err == nil && u.Host != "" { // as browsers know the server, whatever a proxy makes of it
		_ = c.AddTrustedOrigin(u.Scheme + "://" + u.Host) // an origin by the way it is made
	}
	return c
}

// caller is who sends a request: by the Authorization header, else by the cookie of a session, which other sites' pages send along too.
func (a *api) caller(r *http.Request) (auth.Principal, error) {
	cookie := a.cookie(r)
	if cookie == "" || r.Header.Get("Authorization") != "" {
		return a.Keys.Authenticate(r.Context(), bearer(r), a.Now())
	}
	if err := a.sameOrigin(r); err != nil {
		return auth.Principal{}, err
	}
	return a.Sessions.Authenticate(r.Context(), cookie, a.Now())
}

// sameOrigin lets through what reads, and what a page of the server itself has sent. A WebSocket is more than reading.
func (a *api) sameOrigin(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" {
		other := *r
		other.Method = http.MethodPost
		r = &other
	}
	if a.origins.Check(r) != nil {
		return errCrossOrigin
	}
	return nil
}

// holds says whether a principal that was authenticated a while ago still is what it was.
func (a *api) holds(ctx context.Context, p auth.Principal) bool {
	if p.Session != "" {
		return a.Sessions.Holds(ctx, p, a.Now())
	}
	return a.Keyring.Holds(ctx, p)
}

func (a *api) secure(r *http.Request) bool { return strings.HasPrefix(a.base(r), "https://") }

// cookie is the value of the session's cookie. Over TLS only the name counts that nothing but TLS can have set.
func (a *api) cookie(r *http.Request) string {
	name := plainCookie
	if a.secure(r) {
		name = secureCookie
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie is the header that sets the session's cookie, or takes it away if the value is empty.
func (a *api) setCookie(r *http.Request, value string) string {
	c := http.Cookie{Name: plainCookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(auth.SessionLifetime / time.Second)} //nolint:gosec // Secure below, where there is TLS
	if value == "" {
		c.MaxAge = -1
	}
	if a.secure(r) {
		c.Name, c.Secure = secureCookie, true
	}
	return c.String()
}

// from is where somebody signs in from, with the session that their browser has.
func (a *api) from(r *http.Request) signin.Origin {
	o := signin.Origin{Address: address(r), UserAgent: r.UserAgent()}
	if cookie := a.cookie(r); cookie != "" {
		if p, err := a.Sessions.Authenticate(r.Context(), cookie, a.Now()); err == nil {
			o.Tenant, o.Session = p.Tenant, p.Session
		}
	}
	return o
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// public adds a route for those who have no credentials yet. What changes anything has to come from the server's own pages, or from no page.
func public[I, O any](a *api, op operation, handle func(ctx context.Context, in *I) (*O, error)) {
	huma.Register(a.huma, huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Tags: []string{op.tag}, DefaultStatus: op.status, MaxBodyBytes: 64 << 10,
		Description: strings.TrimSpace(op.description + "\n\nNeeds no credentials."),
		Errors:      append([]int{http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity}, op.errors...),
		Security:    []map[string][]string{},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			r, w := humago.Unwrap(ctx)
			w.Header().Set("Cache-Control", "no-store")
			if err := a.sameOrigin(r); err != nil {
				a.problem(err).Write(w)
				return
			}
			next(huma.WithContext(ctx, audit.With(ctx.Context(), audit.Actor{Address: address(r), UserAgent: r.UserAgent(), RequestID: w.Header().Get(web.RequestIDHeader)})))
		}},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problem(err)
		}
		return out, nil
	})
}

// peopleProblem is the part of the table of problems that is about people, or nil.
func peopleProblem(err error) *web.Problem {
	var limited *signin.LimitedError
	var password *signin.PasswordError
	is := func(errs ...error) bool {
		for _, e := range errs {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	says := func(status int, errs ...web.FieldError) *web.Problem {
		return web.NewProblem(status, capitalised(err.Error())+".", errs...)
	}
	switch {
	case is(errCrossOrigin):
		return says(http.StatusForbidden)
	case is(signin.ErrRefused):
		return says(http.StatusUnauthorized)
	case is(signin.ErrCode):
		p := says(http.StatusUnauthorized, web.FieldError{Location: "body.code", Message: "totp_required"})
		p.Code = "totp_required"
		return p
	case is(signin.ErrInvitation):
		return says(http.StatusNotFound)
	case is(signin.ErrMightier):
		return says(http.StatusForbidden)
	case is(signin.ErrLastOwner, signin.ErrNoPassword, signin.ErrNoTOTP, signin.ErrHasTOTP, signin.ErrDisabled, catalog.ErrEmailTaken, catalog.ErrIdentityTaken):
		return says(http.StatusConflict)
	case is(signin.ErrWrongCurrent):
		return unprocessable("The current password is not right.", web.FieldError{Location: "body.current", Message: "it is not the account's password"})
	case is(signin.ErrWrongCode):
		return unprocessable("The code is not right.", web.FieldError{Location: "body.code", Message: err.Error()})
	case errors.As(err, &password):
		return unprocessable("The password is not good enough.", web.FieldError{Location: "body.password", Message: password.Message})
	case errors.As(err, &limited):
		p := says(http.StatusTooManyRequests)
		p.RetryAfter = limited.Wait
		return p
	case is(signin.ErrBusy):
		p := says(http.StatusServiceUnavailable)
		p.RetryAfter = time.Second
		return p
	}
	return nil
}
