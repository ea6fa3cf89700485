package saml

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How long fetched metadata is used.
const (
	metadataFresh = time.Hour
	metadataStale = 24 * time.Hour // while its address does not answer
	metadataPause = 10 * time.Second
	maxSources    = 1000
)

// Sources gets identity providers' metadata from where tenants say that it is, and keeps it for a while: keys rotate there without anybody changing
// anything here.
type Sources struct {
	fetch func(ctx context.Context, url string) ([]byte, error)
	now   func() time.Time

	mu    sync.Mutex
	known map[string]*source
}

type source struct {
	mu       sync.Mutex // held during a fetch: there is one at a time
	metadata *Metadata
	at       time.Time // of the fetch that brought it
	tried    time.Time
	err      error // of the last fetch
}

// NewSources gets metadata by fetch, which bounds time and size and goes through the dial guard.
func NewSources(fetch func(ctx context.Context, url string) ([]byte, error), now func() time.Time) *Sources {
	return &Sources{fetch: fetch, now: now, known: map[string]*source{}}
}

// Get is the metadata that is written down, or the one at an address. Anew asks for it even if it is known.
func (s *Sources) Get(ctx context.Context, text, url string, anew bool) (*Metadata, error) {
	if text != "" {
		return ParseMetadata([]byte(text))
	}
	e := s.source(url)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := s.now()
	fresh := e.metadata != nil && now.Sub(e.at) < metadataFresh
	if anew || !fresh && (e.tried.IsZero() || now.Sub(e.tried) >= metadataPause) {
		e.tried = now // what is remembered is what the address has answered, not that whoever has asked went away
		var m *Metadata
		if m, e.err = s.load(context.WithoutCancel(ctx), url); e.err == nil {
			e.metadata, e.at = m, now
		}
		if anew {
			return m, e.err
		}
	}
	if e.metadata != nil && now.Sub(e.at) < metadataStale {
		return e.metadata, nil
	}
	return nil, e.err
}

func (s *Sources) load(ctx context.Context, url string) (*Metadata, error) {
	b, err := s.fetch(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("fetch the metadata: %w", err)
	}
	return ParseMetadata(b)
}

func (s *Sources) source(url string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.known[url]; e != nil {
		return e
	}
	for other := range s.known { // any: it costs one fetch to have it back
		if len(s.known) < maxSources {
			break
		}
		delete(s.known, other)
	}
	e := &source{}
	s.known[url] = e
	return e
}
