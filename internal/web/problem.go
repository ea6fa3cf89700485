// Package web has what HTTP handlers share: problem answers, request ids, credentials, reading of bodies.
package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// FieldError is what is wrong in one place of a request.
type FieldError struct {
	Location string `json:"location" doc:"Where: a path such as body.filter, query.step or header.If-Match." example:"body.filter"`
	Message  string `json:"message" doc:"What is wrong and what to do." example:"expected a condition"`
}

// Error makes a FieldError an error.
func (e *FieldError) Error() string { return e.Location + ": " + e.Message }

// Problem is an answer by RFC 9457, and the error that becomes one.
type Problem struct {
	Type      string       `json:"type,omitempty" doc:"A URI of the kind of problem." example:"about:blank"`
	Title     string       `json:"title" example:"Unprocessable Entity"`
	Status    int          `json:"status" example:"422"`
	Detail    string       `json:"detail,omitempty" doc:"What is wrong with this request."`
	Code      string       `json:"code,omitempty" doc:"What is wrong, for programs."`
	Errors    []FieldError `json:"errors,omitempty"`
	RequestID string       `json:"request_id,omitempty" doc:"Name it when you ask the operator: it is in the log."`
	// RetryAfter becomes the header; 0 for none.
	RetryAfter time.Duration `json:"-"`
	// Extra are further members.
	Extra map[string]any `json:"-"`
}

// NewProblem makes a problem; errs with a location become its errors[].
func NewProblem(status int, detail string, errs ...FieldError) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs}
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders is for huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	p.headers(h)
	return h
}

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// headers sets what belongs to the status.
func (p *Problem) headers(h http.Header) {
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="pulsestream"`)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
}

// MarshalJSON writes the members and the extra ones.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type plain Problem
	b, err := json.Marshal((*plain)(p))
	if err != nil || len(p.Extra) == 0 {
		return b, err
	}
	extra, err := json.Marshal(p.Extra)
	if err != nil {
		return nil, err
	}
	b[len(b)-1] = ','
	return append(b, extra[1:]...), nil
}

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	q := *p
	q.RequestID = w.Header().Get(RequestIDHeader)
	q.headers(w.Header())
	body, err := q.MarshalJSON()
	if err != nil {
		body = fmt.Appendf(nil, `{"title":%q,"status":%d}`, http.StatusText(p.Status), p.Status)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// ProblemOf is the problem that err is or wraps, or nil.
func ProblemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		NewProblem(http.StatusInternalServerError, "").Write(w)
		return
	}
	JSONText(w, status, body)
}

// JSONText answers with what is JSON already.
func JSONText(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
