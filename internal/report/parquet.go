package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/pulsestream/pulsestream/internal/event"
)

const (
	// A row group is held in memory, compressed, until it is written. It ends with the batch that fills it.
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
// Data, which is most of it, is encoded and compressed beside the other columns, and neither waits for the other before the end of a row group.
type parquetEvents struct {
	w          *parquet.GenericWriter[any]
	head, data encoder
	rows       int // of the row group
	bytes      int64
}

func newParquetEvents(w io.Writer) *parquetEvents {
	text := parquet.String()
	repeats := parquet.Encoded(text, &parquet.RLEDictionary)
	document := parquet.Optional(parquet.JSON())
	return &parquetEvents{
		w:    newParquetWriter(w, eventHeader(), []parquet.Node{text, repeats, repeats, text, timestamp(), timestamp(), document, document}),
		head: encoder{from: colID, to: colData}, data: encoder{from: colData, to: eventColumns},
	}
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

func (p *parquetEvents) add(events []event.Stored, release func()) error {
	err := errors.Join(p.head.failed(), p.data.failed())
	if err == nil && (p.rows >= groupRows || p.bytes >= groupBytes) {
		err = p.group()
	}
	if err != nil {
		release()
		return err
	}
	p.rows += len(events)
	for i := range events {
		p.bytes += events[i].Size()
	}
	var gone atomic.Int32
	w := work{columns: p.w.ColumnWriters(), events: events, release: func() {
		if gone.Add(1) == 2 {
			release()
		}
	}}
	p.data.put(w)
	p.head.put(w)
	return nil
}

// group ends a row group, and writes it.
func (p *parquetEvents) group() error {
	w := work{columns: p.w.ColumnWriters(), end: true, release: func() {}}
	p.data.put(w)
	p.head.put(w)
	if err := errors.Join(p.head.wait(), p.data.wait()); err != nil {
		return err
	}
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
