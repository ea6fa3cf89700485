//go:build linux

package fault

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// front is what stands before a fleet: events and webhooks go to ingest processes in turn, all else to API processes. What only reads is asked of the
// next one where one is gone.
type front struct {
	*httptest.Server
	proxy  *httputil.ReverseProxy
	inner  *http.Transport
	turn   atomic.Uint64
	mu     sync.Mutex
	ingest []*url.URL // nil ones are gone
	apis   []*url.URL
}

func newFront(ingest, apis int) *front {
	f := &front{inner: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}, ingest: make([]*url.URL, ingest), apis: make([]*url.URL, apis)}
	f.proxy = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
		Transport: f,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway) // whether it was taken is not known
		},
	}
	f.Server = httptest.NewServer(f.proxy)
	return f
}

func (f *front) end() error {
	f.Close()
	f.inner.CloseIdleConnections()
	return nil
}

// set says where a process is, "" that it is gone.
func (f *front) set(of []*url.URL, i int, base string) error {
	var u *url.URL
	if base != "" {
		var err error
		if u, err = url.Parse(base); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	of[i] = u
	return nil
}

// those are the processes that a request may go to, the one whose turn it is first.
func (f *front) those(r *http.Request) []*url.URL {
	of := f.apis
	if r.Method == http.MethodPost && (r.URL.Path == "/v1/events" || strings.HasPrefix(r.URL.Path, "/v1/hooks/")) {
		of = f.ingest
	}
	first := f.turn.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*url.URL
	for i := range of {
		if u := of[(first+uint64(i))%uint64(len(of))]; u != nil {
			out = append(out, u)
		}
	}
	return out
}

var errNobody = errors.New("no process is there for it")

// RoundTrip sends a request to a process.
func (f *front) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	err = errNobody
	for _, u := range f.those(r) {
		r.URL.Scheme, r.URL.Host = u.Scheme, u.Host
		if answer, err = f.inner.RoundTrip(r); err == nil || r.Method != http.MethodGet {
			return answer, err
		}
	}
	return nil, err
}
