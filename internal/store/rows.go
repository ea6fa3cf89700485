package store

import (
	"context"
	"errors"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Rows is what a provider of Events may offer besides: reading very many whole events, for a reader to whom their exact order means nothing.
type Rows interface {
	// Rows gives all events of a tenant that match, a batch at a time, none of them empty. Batches come in about the order of the log: what was
	// stored within some minutes comes together, in no certain order. Done is the share, up to 1, of what there is to look at that
	// has been looked at.
	// The events, their texts included, are each's until it calls release, once, and from any goroutine, whether or not it succeeds: it may have
	// a few batches at a time. Rows returns when all have been released.
	// ErrOneByOne, before any batch, says that they have to be scanned.
	Rows(ctx context.Context, t tenant.ID, f EventFilter, each EachRows) error
}

// EachRows is what Rows calls for each batch.
type EachRows func(events []event.Stored, done float64, release func()) error

// ErrOneByOne is for a provider that has no batches.
var ErrOneByOne = errors.New("events are only given one by one")
