package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/pulsestream/pulsestream/internal/event"
)

const (
	// A row group is held in memory, compressed, until it is written.
	groupRows  = 256 << 10
	groupBytes = 96 << 20
	pageBytes  = 1 << 20
	// A column with more different values than fit into this is written without a dictionary from there on.
	dictionaryBytes = 1 << 20
)

// Columns of a file of events, in this order.
const (
	colID = iota
	colSource
	colType
	colSubject
	colTime
	colReceived
	colData
	colExtensions
	eventColumns
)

func eventHeader() []string {
	return []string{"id", "source", "type", "subject", "time", "received", "data", "extensions"}
}

// errTime is for an event whose time Parquet cannot hold.
var errTime = errors.New("an event has a time before 1677 or after 2262, which Parquet cannot hold: leave it out with from and to, or order CSV")

// parquetEvents writes events column by column: text as it is, time in nanoseconds, what repeats as numbers of a dictionary, all of it zstd.
type parquetEvents struct {
	w      *parquet.GenericWriter[any]
	values [eventColumns][]parquet.Value
	rows   int
	bytes  int
}

func newParquetEvents(w io.Writer) *parquetEvents {
	text := parquet.String()
	repeats := parquet.Encoded(text, &parquet.RLEDictionary)
	document := parquet.Optional(parquet.JSON())
	return &parquetEvents{w: newParquetWriter(w, eventHeader(), []parquet.Node{text, repeats, repeats, text, timestamp(), timestamp(), document, document})}
}

// timestamp is a time in UTC. It is written as one without a zone, because DuckDB reads those that have one in microseconds.
func timestamp() parquet.Node {
	return parquet.Encoded(parquet.TimestampAdjusted(parquet.Nanosecond, false), &parquet.DeltaBinaryPacked)
}

// The index of pages has their least and greatest times: in the pages themselves, where readers no longer look for them, they would be computed once more.
func newParquetWriter(w io.Writer, names []string, nodes []parquet.Node) *parquet.GenericWriter[any] {
	row := ordered{Group: parquet.Group{}, names: names}
	for i, n := range nodes {
		row.Group[names[i]] = n
	}
	options := []parquet.WriterOption{parquet.NewSchema("row", row), parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(0), parquet.DataPageStatistics(false), parquet.DictionaryMaxBytes(dictionaryBytes), parquet.CreatedBy("PulseStream", "1", "")}
	for i, n := range nodes {
		if n.Type().Kind() == parquet.ByteArray { // the least and the greatest text of a page help hardly any reader to skip it
			options = append(options, parquet.SkipPageBounds(names[i]))
		}
	}
	return parquet.NewGenericWriter[any](w, options...)
}

// ordered is a group whose columns come in the order of names, instead of the alphabet's.
type ordered struct {
	parquet.Group
	names []string
}

// Fields are the columns.
func (o ordered) Fields() []parquet.Field {
	fields := o.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return slices.Index(o.names, a.Name()) - slices.Index(o.names, b.Name()) })
	return fields
}

// add encodes events. Data, which is most of it, is compressed beside the other columns.
func (p *parquetEvents) add(events []event.Stored) error {
	for len(events) > 0 {
		n, bytes := p.fitting(events)
		for i := range p.values {
			p.values[i] = slices.Grow(p.values[i][:0], n)[:n]
		}
		if err := p.fill(events[:n]); err != nil {
			return err
		}
		var beside sync.WaitGroup
		var err error
		beside.Go(func() { err = p.columns(colData, eventColumns) })
		head := p.columns(colID, colData)
		beside.Wait()
		if err = errors.Join(err, head); err != nil {
			return err
		}
		p.rows, p.bytes, events = p.rows+n, p.bytes+bytes, events[n:]
		if p.rows >= groupRows || p.bytes >= groupBytes {
			if err := p.group(); err != nil {
				return err
			}
		}
	}
	return nil
}

// fitting is how many of the events go into the row group, and their size.
func (p *parquetEvents) fitting(events []event.Stored) (n, bytes int) {
	for n < len(events) && p.rows+n < groupRows && p.bytes+bytes < groupBytes {
		ev := &events[n]
		bytes += len(ev.ID) + len(ev.Source) + len(ev.Type) + len(ev.Subject) + len(ev.Data) + len(ev.Extensions) + 16
		n++
	}
	return n, bytes
}

func (p *parquetEvents) fill(events []event.Stored) error {
	for i := range events {
		ev := &events[i]
		p.values[colID][i] = textValue(ev.ID)
		p.values[colSource][i] = textValue(ev.Source)
		p.values[colType][i] = textValue(ev.Type)
		p.values[colSubject][i] = textValue(ev.Subject)
		happened, received := ev.Time.UnixNano(), ev.Received.UnixNano()
		if !nanoseconds(ev.Time, happened) || !nanoseconds(ev.Received, received) {
			return errTime
		}
		p.values[colTime][i] = parquet.Int64Value(happened)
		p.values[colReceived][i] = parquet.Int64Value(received)
		p.values[colData][i] = optional(ev.Data)
		p.values[colExtensions][i] = optional(ev.Extensions)
	}
	return nil
}

// nanoseconds says whether ns is the time, and none of the two that some readers take for infinity.
func nanoseconds(t time.Time, ns int64) bool {
	const most = math.MaxInt64 / int64(time.Second)
	s := t.Unix()
	return s > -most && s < most || ns > -math.MaxInt64 && ns < math.MaxInt64 && time.Unix(0, ns).Equal(t)
}

// textValue is s without a copy. The writer only reads it.
func textValue(s string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s))) //nolint:gosec // see above
}

// optional is a value that may be missing.
func optional(b []byte) parquet.Value {
	if b == nil {
		return parquet.NullValue()
	}
	v := parquet.ByteArrayValue(b)
	v.SetDefinitionLevel(1)
	return v
}

func (p *parquetEvents) columns(from, to int) error {
	all := p.w.ColumnWriters()
	for c := from; c < to; c++ {
		if _, err := all[c].WriteRowValues(p.values[c]); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	return nil
}

func (p *parquetEvents) group() error {
	p.rows, p.bytes = 0, 0
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

func (p *parquetEvents) close() error {
	if err := p.group(); err != nil {
		return err
	}
	return p.w.Close()
}
