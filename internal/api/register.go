package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// principalKey and headerKey are where a request's principal and its answer's header travel through huma, between authenticate and register only.
type (
	principalKey struct{}
	headerKey    struct{}
)

// operation describes a route.
type operation struct {
	method, path string
	id           string
	summary      string
	description  string
	tag          string
	permission   auth.Permission
	status       int // 0: 200
	errors       []int
	// query: an answer is a query of the tenant's usage.
	query bool
	// maxBody bounds the body, 0 for 1 MiB.
	maxBody int64
}

// register adds a route whose handler is given the principal that may use it.
func register[I, O any](a *api, op operation, handle func(ctx context.Context, p auth.Principal, in *I) (*O, error)) {
	huma.Register(a.huma, huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Tags: []string{op.tag},
		Description:   strings.TrimSpace(op.description + "\n\n" + needs(op.permission)),
		DefaultStatus: op.status, MaxBodyBytes: op.maxBody,
		Errors:      append([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity}, op.errors...),
		Security:    []map[string][]string{{"bearer": {}}, {"session": {}}},
		Extensions:  takes(op.permission),
		Middlewares: huma.Middlewares{a.authenticate(op.permission)},
	}, func(ctx context.Context, in *I) (*O, error) {
		p, _ := ctx.Value(principalKey{}).(auth.Principal)
		out, err := handle(ctx, p, in)
		if op.method == http.MethodGet && errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil {
			// The store broke under it when it had read half. Reading changes nothing, and waits until the store is there again.
			out, err = handle(ctx, p, in)
		}
		if err != nil {
			return nil, a.problem(err)
		}
		if op.query {
			a.asked(p.Tenant)
		}
		if h, ok := ctx.Value(headerKey{}).(http.Header); ok {
			a.markIncomplete(h) // the store may have been replaced meanwhile
		}
		return out, nil
	})
}

// takes is how the published description names the permission that a route takes, for programs.
func takes(p auth.Permission) map[string]any { return map[string]any{"x-permission": string(p)} }

// authenticate lets only principals with a permission through.
func (a *api) authenticate(permission auth.Permission) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		p, err := a.principal(r, permission)
		if err != nil {
			a.problem(err).Write(w)
			return
		}
		a.markIncomplete(w.Header())
		ctx = huma.WithContext(ctx, audit.With(ctx.Context(), actor(p, r, w.Header().Get(web.RequestIDHeader))))
		next(huma.WithValue(huma.WithValue(ctx, principalKey{}, p), headerKey{}, w.Header()))
	}
}

// principal is who sends a request, if they may do what it asks for.
func (a *api) principal(r *http.Request, permission auth.Permission) (auth.Principal, error) {
	p, err := a.caller(r)
	if err == nil && permission != anyone && !p.Can(permission) {
		err = forbidden(p, permission)
	}
	if err != nil {
		a.refused(r, p, permission, err)
	}
	return p, err
}

// anyone, in the place of a permission, lets in whoever has credentials. Such a route shows and changes nothing but what is the caller's own.
const anyone auth.Permission = "*"

func needs(permission auth.Permission) string {
	if permission == anyone {
		return "Any credentials are enough."
	}
	return "Needs the permission `" + string(permission) + "`."
}

// forbidden is the answer to somebody who lacks a permission.
func forbidden(p auth.Principal, permission auth.Permission) *web.Problem {
	if p.Role.Can(permission) {
		return web.NewProblem(http.StatusForbidden, "The scope of this key or token does not have the permission "+string(permission)+".")
	}
	return web.NewProblem(http.StatusForbidden, "The role "+string(p.Role)+" does not have the permission "+string(permission)+".")
}

func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// list is the form of every list.
type list[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page; absent behind the last."`
}

type body[T any] struct{ Body T }

// versioned is an answer with an ETag.
type versioned[T any] struct {
	Status int
	ETag   string `header:"ETag"`
	Body   T
}

func withETag[T any](revision int64, created bool, v T) *versioned[T] {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &versioned[T]{Status: status, ETag: etag(revision), Body: v}
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// SlugPath is the path of a named thing.
type SlugPath struct {
	Slug string `path:"slug" maxLength:"63"`
}

// Conditional is the part of a request that says under which circumstances it may change anything.
type Conditional struct {
	IfMatch     string `header:"If-Match" doc:"Change it only if this is its ETag; * only if it exists."`
	IfNoneMatch string `header:"If-None-Match" doc:"* creates it only if there is none yet."`
}

var errPrecondition = errors.New("precondition failed")

// condition reads it.
func (c Conditional) condition() (catalog.Condition, error) {
	switch {
	case c.IfNoneMatch == "*":
		return catalog.IfMissing, nil
	case c.IfMatch == "":
		return catalog.Always, nil
	case c.IfMatch == "*":
		return catalog.IfPresent, nil
	}
	n, err := strconv.ParseInt(strings.Trim(strings.TrimPrefix(c.IfMatch, "W/"), `"`), 10, 64)
	if err != nil || n <= 0 {
		return 0, errPrecondition
	}
	return catalog.Condition(n), nil
}

// begin is what every change of a named thing begins with: the condition under which it may happen, and a name that can be one.
func (c Conditional) begin(slug, repeated string) (catalog.Condition, error) {
	if repeated != "" && repeated != slug {
		return 0, unprocessable("The slug in the body is not the one in the path.", web.FieldError{Location: "body.slug", Message: "leave it out, or repeat the path's"})
	}
	if err := tenant.CheckSlug(slug); err != nil {
		return 0, unprocessable("The name is not right.", web.FieldError{Location: "path.slug", Message: err.Error()})
	}
	return c.condition()
}

// registerDelete adds the route that removes a named thing.
func registerDelete(a *api, op operation, remove func(ctx context.Context, t tenant.ID, slug string, when catalog.Condition) error) {
	op.method, op.status = http.MethodDelete, http.StatusNoContent
	op.errors = append(op.errors, http.StatusNotFound, http.StatusPreconditionFailed)
	register(a, op, func(ctx context.Context, p auth.Principal, in *struct {
		SlugPath
		Conditional
	}) (*struct{}, error) {
		when, err := in.condition()
		if err != nil {
			return nil, err
		}
		return nil, in.stale(remove(ctx, p.Tenant, in.Slug, when))
	})
}

// listOf is the answer of a list of what the catalog has, each shown by view.
func listOf[T, V any](entries []catalog.Entry[T], view func(*catalog.Entry[T]) (V, error)) (*body[list[V]], error) {
	out := list[V]{Data: make([]V, 0, len(entries))}
	for i := range entries {
		v, err := view(&entries[i])
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, v)
	}
	return &body[list[V]]{out}, nil
}

// stale makes a conflict a failed precondition when the request had one.
func (c Conditional) stale(err error) error {
	if isConflict(err) && (c.IfMatch != "" || c.IfNoneMatch != "") {
		return errPrecondition
	}
	return err
}
