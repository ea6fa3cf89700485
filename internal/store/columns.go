package store

import (
	"context"
	"errors"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Columns is what a provider of Events may offer besides: reading many events by a few of their fields.
type Columns interface {
	// ScanColumns gives all events of a tenant that match, in any order, block by block. A block is only valid during the call.
	// ErrNoColumns, before any block, says that they have to be read one by one.
	ScanColumns(ctx context.Context, t tenant.ID, q ColumnScan, each func(*ColumnBlock) error) error
}

// ErrNoColumns is for a question that a provider has no columns for.
var ErrNoColumns = errors.New("there are no columns for this")

// ColumnScan asks for fields of events.
type ColumnScan struct {
	Types    []string  // exact, or a prefix followed by *; none: all
	From, To time.Time // event time, inclusive and exclusive
	Fields   []ColumnField
}

// ColumnField is a field that is asked for.
type ColumnField struct {
	metric.Field
	// Numbers says that what is not a number need not be told from what is not there.
	Numbers bool
}

// ColumnBlock is some events. They are rows of columns, or events as they are: those that are in no columns yet.
type ColumnBlock struct {
	Times   []int64  // Unix nanoseconds of the rows; quickest in order
	Columns []Column // one for each field that was asked for
	Events  []event.Stored
}

// Column is what the rows of a block have in a field. It has one of three forms.
type Column struct {
	// Codes has an index into Dict for each row; nil: all rows have Dict[0]. Values in Dict are JSON as it is in the event, the text
	// itself for an attribute, nil for what is not there. The same value may be there twice. An empty text is not nil.
	Codes []uint32
	Dict  [][]byte
	// Numbers, when not nil, are the values instead, NaN where there is none. If a row has anything else, null included, this form
	// is only for a field of which ColumnField.Numbers holds.
	Numbers []float64
}
