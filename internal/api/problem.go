package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/notify"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/web"
)

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
func isConflict(err error) bool { return errors.Is(err, store.ErrConflict) }

// problem is the table that turns errors into answers. What it does not know is a fault of ours: logged, and answered
// without a word of it.
func (a *api) problem(err error) *web.Problem {
	if p := web.ProblemOf(err); p != nil {
		return p
	}
	if p := peopleProblem(err); p != nil {
		return p
	}
	var invalid *metric.Invalid
	var config notify.ConfigError
	var used *catalog.InUseError
	var limit *query.LimitError
	var fields auth.Invalid
	switch {
	case errors.Is(err, auth.ErrNoCredentials):
		return web.NewProblem(http.StatusUnauthorized, "Send an API key or an access token: Authorization: Bearer ….")
	case errors.Is(err, auth.ErrBadCredentials):
		return web.NewProblem(http.StatusUnauthorized, "The API key or token is not known here, or no longer.")
	case errors.Is(err, auth.ErrIssuerAway):
		p := web.NewProblem(http.StatusServiceUnavailable, capitalised(err.Error())+": ask again in a moment.")
		p.RetryAfter = 10 * time.Second
		return p
	case errors.Is(err, store.ErrNotFound):
		return web.NewProblem(http.StatusNotFound, "There is no such thing.")
	case errors.Is(err, errPrecondition):
		return web.NewProblem(http.StatusPreconditionFailed, "It was changed by somebody else: read it again, and send its ETag as If-Match.")
	case errors.Is(err, store.ErrConflict):
		return web.NewProblem(http.StatusConflict, "It was changed at the same time, or there is one of that name already.")
	case errors.Is(err, auth.ErrNotCovered):
		return web.NewProblem(http.StatusForbidden, capitalised(err.Error())+".")
	case errors.Is(err, catalog.ErrBuiltin), errors.Is(err, catalog.ErrFull), errors.Is(err, auth.ErrOwnKey), errors.Is(err, auth.ErrKeyExpired),
		errors.Is(err, vault.ErrPlain), errors.Is(err, vault.ErrRotating):
		return web.NewProblem(http.StatusConflict, capitalised(err.Error())+".")
	case errors.Is(err, vault.ErrNoKey):
		a.Log.Error("a secret cannot be read: others have encrypted it under a master key that this process was not given", "error.message", err.Error())
		return web.NewProblem(http.StatusServiceUnavailable, "This process lacks the key that secrets are encrypted under. It has been logged.")
	case errors.As(err, &used):
		return web.NewProblem(http.StatusConflict, capitalised(used.Error())+".")
	case errors.As(err, &limit):
		return unprocessable(capitalised(limit.Detail) + ".")
	case errors.As(err, &invalid):
		p := unprocessable("The metric cannot be computed.")
		for _, f := range invalid.Fields {
			p.Errors = append(p.Errors, web.FieldError{Location: "body." + f.Field, Message: f.Message})
		}
		return p
	case errors.As(err, &config):
		p := unprocessable("The channel's configuration is not right.")
		for _, f := range config {
			p.Errors = append(p.Errors, web.FieldError{Location: "body.config." + f.Field, Message: f.Message})
		}
		return p
	case errors.As(err, &fields):
		p := unprocessable("It is not right as it is.")
		for _, f := range fields {
			p.Errors = append(p.Errors, web.FieldError{Location: "body." + f.Field, Message: f.Message})
		}
		return p
	case errors.Is(err, query.ErrBusy):
		p := web.NewProblem(http.StatusServiceUnavailable, capitalised(err.Error())+".")
		p.RetryAfter = 5 * time.Second
		return p
	case errors.Is(err, store.ErrUnavailable):
		p := web.NewProblem(http.StatusServiceUnavailable, "The store of events is being opened again or rebuilt; events are taken as before. Ask again in a moment.")
		p.RetryAfter = time.Second
		return p
	case errors.Is(err, context.Canceled):
		return web.NewProblem(499, "") // the client has gone; nobody reads this
	case errors.Is(err, context.DeadlineExceeded):
		return web.NewProblem(http.StatusServiceUnavailable, "It took too long: ask for less, or a coarser step.")
	}
	a.Log.Error("a request failed", "error.message", err.Error())
	return web.NewProblem(http.StatusInternalServerError, "Something went wrong here. It has been logged.")
}

func unprocessable(detail string, errs ...web.FieldError) *web.Problem {
	return web.NewProblem(http.StatusUnprocessableEntity, detail, errs...)
}

func capitalised(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

// transform gives huma's own errors, and ours, the form and the request id of a problem.
func (a *api) transform(ctx huma.Context, _ string, v any) (any, error) {
	_, w := humago.Unwrap(ctx)
	id := w.Header().Get(web.RequestIDHeader)
	switch e := v.(type) {
	case *web.Problem:
		q := *e
		q.RequestID = id
		return &q, nil
	case *huma.ErrorModel:
		p := web.NewProblem(e.Status, capitalised(e.Detail))
		p.RequestID = id
		for _, d := range e.Errors {
			p.Errors = append(p.Errors, web.FieldError{Location: d.Location, Message: d.Message})
		}
		return p, nil
	}
	return v, nil
}

// describeProblems makes the published description say what problems really look like.
func (a *api) describeProblems() {
	schemas := a.huma.OpenAPI().Components.Schemas
	if s := schemas.Map()["ErrorModel"]; s != nil {
		p := huma.SchemaFromType(schemas, typeOf[web.Problem]())
		if p.Ref != "" {
			p = schemas.SchemaFromRef(p.Ref)
		}
		*s = *p
	}
}
