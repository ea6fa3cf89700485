package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// RequestIDHeader names a request, in the answer and in the log. A client may choose it.
const RequestIDHeader = "X-Request-Id"

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Outermost gives every request its id and every answer what keeps browsers strict, logs what went wrong, and turns a panic into a 500 that says
// nothing of it. What may be kept by others, or is a page, says so itself.
func Outermost(next http.Handler, log *slog.Logger, now func() time.Time) http.Handler {
	strict, secure := strictHeaders(), []string{"max-age=31536000; includeSubDomains"}
	next = skipping(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestIDHeader)
		if id == "" || !requestID.MatchString(id) {
			id = uuid.Must(uuid.NewV7()).String()
		}
		h := w.Header()
		h[RequestIDHeader] = []string{id}
		for i := range strict { // shared by all answers: what changes one sets it anew
			h[strict[i].name] = strict[i].value
		}
		if IsHTTPS(r) {
			h["Strict-Transport-Security"] = secure
		}
		rec := &recorder{ResponseWriter: w}
		started := now()
		defer func() {
			p := recover()
			if p == http.ErrAbortHandler { //nolint:errorlint,err113 // the documented way to recognise it
				panic(p)
			}
			if p != nil && rec.status == 0 {
				NewProblem(http.StatusInternalServerError, "Something went wrong here. It has been logged.").Write(rec)
			}
			failed := rec.status >= 500 && rec.status != http.StatusServiceUnavailable
			if p == nil && !failed && !log.Enabled(r.Context(), slog.LevelDebug) {
				return
			}
			attrs := []any{
				"http.request.id", id, "http.request.method", r.Method, "url.path", redactPath(r.URL.Path),
				"http.response.status_code", rec.status, "event.duration", now().Sub(started).Nanoseconds(),
			}
			switch {
			case p != nil:
				log.Error("a request failed with a panic", append(attrs, "error.message", fmt.Sprint(p), "error.stack_trace", string(debug.Stack()))...)
			case failed:
				log.Error("a request failed", attrs...)
			default:
				log.Debug("request", attrs...)
			}
		}()
		if !isText(r) {
			NewProblem(http.StatusBadRequest, "The address is not UTF-8 text: percent-encode its parts as UTF-8.").Write(rec)
			return
		}
		next.ServeHTTP(rec, r)
	})
}

type strictHeader struct {
	name  string
	value []string
}

func strictHeaders() []strictHeader {
	var out []strictHeader
	for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin"} {
		out = append(out, strictHeader{name, []string{value}})
	}
	return out
}

// IsHTTPS says whether a request came over TLS, to this server or to a proxy in front that says so. Nothing but the form of addresses hangs on it.
func IsHTTPS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// isText says whether path and query are UTF-8. No name that is kept here is anything else, and no store takes other text.
func isText(r *http.Request) bool {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	return utf8.ValidString(r.URL.Path) && (err != nil || utf8.ValidString(query)) // a query with broken escapes is for its reader
}

// redactPath keeps the secret of a hook's URL out of the log.
func redactPath(path string) string {
	if i := strings.Index(path, "/hooks/"); i >= 0 {
		return path[:i] + "/hooks/…"
	}
	return path
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController, and so the WebSocket, reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
