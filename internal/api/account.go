package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/signin"
	"github.com/pulsestream/pulsestream/internal/web"
)

func notSignedIn() *web.Problem {
	return web.NewProblem(http.StatusNotFound, "This is for members who have signed in: a key or token has no account.")
}

type passwordInput struct {
	Current string `json:"current" minLength:"1" maxLength:"1024"`
	New     string `json:"new" minLength:"1" maxLength:"1024" doc:"At least 12 characters, at most 128, and none of those that are tried first."`
}

type provenInput struct {
	Password string `json:"password" minLength:"1" maxLength:"1024" doc:"The account's, once more."`
}

type codeInput struct {
	Code string `json:"code" minLength:"1" maxLength:"64"`
}

type totpView struct {
	Secret string `json:"secret" doc:"For an authenticator app, in base32."`
	URL    string `json:"url" doc:"The same as otpauth://, for a QR code."`
}

type recoveryView struct {
	Codes []string `json:"recovery_codes" doc:"Each is good once in the place of a code. Shown this once."`
}

// accountRoutes are for members themselves.
func (a *api) accountRoutes() {
	const tag = "Account"
	own(a, operation{method: http.MethodGet, path: "/v1/members/me", id: "get-account", tag: tag, summary: "One's own account"},
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*versioned[memberView], error) {
			id, _ := p.MemberID()
			e, err := a.Catalog.Member(ctx, p.Tenant, id)
			if err != nil {
				return nil, err
			}
			v, err := viewMember(&e)
			return withETag(e.Revision, false, v), err
		})
	own(a, operation{method: http.MethodPut, path: "/v1/members/me/password", id: "set-password", tag: tag, status: http.StatusNoContent,
		summary: "Change one's password", description: "All other sessions of the account end.", errors: []int{http.StatusConflict, http.StatusTooManyRequests}},
		func(ctx context.Context, p auth.Principal, in *struct {
			Origin
			Body passwordInput
		}) (*struct{}, error) {
			err := a.People.SetPassword(ctx, p, in.Body.Current, in.Body.New, a.from(in.request))
			var bad *signin.PasswordError
			if errors.As(err, &bad) {
				err = unprocessable("The password is not good enough.", web.FieldError{Location: "body.new", Message: bad.Message})
			}
			return nil, err
		})
	own(a, operation{method: http.MethodPost, path: "/v1/members/me/totp", id: "make-totp", tag: tag, status: http.StatusCreated,
		summary: "A secret for an authenticator app", description: "Codes are asked for once the first one was confirmed.", errors: []int{http.StatusConflict, http.StatusTooManyRequests}},
		func(ctx context.Context, p auth.Principal, in *struct {
			Origin
			Body provenInput
		}) (*secretly[totpView], error) {
			secret, url, err := a.People.NewTOTP(ctx, p, in.Body.Password, a.from(in.request))
			if errors.Is(err, signin.ErrWrongCurrent) {
				err = unprocessable("The password is not right.", web.FieldError{Location: "body.password", Message: "it is not the account's"})
			}
			return &secretly[totpView]{Status: http.StatusCreated, NoStore: noStore, Body: totpView{secret, url}}, err
		})
	own(a, operation{method: http.MethodPut, path: "/v1/members/me/totp", id: "confirm-totp", tag: tag,
		summary: "Have codes asked for from now on", description: "The answer has recovery codes, shown this once.", errors: []int{http.StatusConflict, http.StatusTooManyRequests}},
		func(ctx context.Context, p auth.Principal, in *struct {
			Origin
			Body codeInput
		}) (*secretly[recoveryView], error) {
			codes, err := a.People.ConfirmTOTP(ctx, p, in.Body.Code)
			return &secretly[recoveryView]{Status: http.StatusOK, NoStore: noStore, Body: recoveryView{codes}}, err
		})
	own(a, operation{method: http.MethodDelete, path: "/v1/members/me/totp", id: "end-totp", tag: tag, status: http.StatusNoContent,
		summary: "Have no codes asked for any more", errors: []int{http.StatusConflict, http.StatusTooManyRequests}},
		func(ctx context.Context, p auth.Principal, in *struct {
			Origin
			Body codeInput
		}) (*struct{}, error) {
			return nil, a.People.EndTOTP(ctx, p, in.Body.Code)
		})
}

// own adds a route for what is a member's own.
func own[I, O any](a *api, op operation, handle func(ctx context.Context, p auth.Principal, in *I) (*O, error)) {
	op.permission, op.errors = anyone, append(op.errors, http.StatusNotFound)
	register(a, op, func(ctx context.Context, p auth.Principal, in *I) (*O, error) {
		if p.Session == "" {
			return nil, notSignedIn()
		}
		return handle(ctx, p, in)
	})
}
