package report

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// badQuery is a question that was good when it was ordered, and is not any more.
type badQuery struct{ detail string }

func (b *badQuery) Error() string { return b.detail }

// Check says what is wrong with an order for a metric; ErrNotFound when there is none of that name.
func (s *Service) Check(ctx context.Context, t tenant.ID, o *Order) ([]query.FieldError, error) {
	_, _, errs, err := s.question(ctx, t, o)
	return errs, err
}

func (s *Service) question(ctx context.Context, t tenant.ID, o *Order) (*metric.Program, query.Query, []query.FieldError, error) {
	set, err := s.cfg.Metrics(ctx, t)
	if err != nil {
		return nil, query.Query{}, nil, err
	}
	program, ok := set.BySlug(o.Metric)
	if !ok {
		return nil, query.Query{}, nil, fmt.Errorf("metric %q: %w", o.Metric, ErrNotFound)
	}
	v := maps.Clone(o.Parameters)
	if v == nil {
		v = url.Values{}
	}
	for name, at := range map[string]time.Time{"from": o.From, "to": o.To} {
		if !at.IsZero() {
			v.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	q, errs := query.Parse(v, program.Definition(), s.cfg.Now())
	return program, q, errs, nil
}

// metric writes a report of a metric's points: a row for each step of each series.
func (s *Service) metric(ctx context.Context, j *job, r *Report, w io.Writer) error {
	program, q, errs, err := s.question(ctx, r.Tenant, &r.Order)
	switch {
	case err != nil:
		return &badQuery{"the metric is not there any more: " + err.Error()}
	case len(errs) > 0:
		return &badQuery{errs[0].Location + ": " + errs[0].Message}
	}
	result, err := s.cfg.Query.Run(ctx, r.Tenant, program, q)
	if err != nil {
		return err
	}
	rows := 0
	for i := range result.Series {
		rows += len(result.Series[i].Points)
	}
	if r.Format == Parquet {
		err = parquetPoints(w, &result, q.GroupBy)
	} else {
		err = csvPoints(w, &result, q.GroupBy)
	}
	j.rows.Store(int64(rows))
	return err
}

// pointHeader names the columns of a file of points. Dimensions bear a prefix, so that one called time is no second time.
func pointHeader(dimensions []string) []string {
	names := []string{"time"}
	for _, d := range dimensions {
		names = append(names, "label_"+d)
	}
	return append(names, "value")
}

// labels are the values of the dimensions. The series of all that is beyond the limit has none of them, and is called by its own name in each.
func labels(s *query.Series, dimensions []string) []string {
	out := make([]string, len(dimensions))
	_, folded := s.Labels[series.OtherValue]
	for i, d := range dimensions {
		if out[i] = s.Labels[d]; folded {
			out[i] = series.OtherValue
		}
	}
	return out
}

func csvPoints(w io.Writer, result *query.Result, dimensions []string) error {
	b := appendHeader(nil, pointHeader(dimensions))
	for i := range result.Series {
		one := &result.Series[i]
		values := labels(one, dimensions)
		for _, p := range one.Points {
			b = appendTime(b, time.UnixMilli(p.UnixMS))
			for _, v := range values {
				b = appendText(append(b, ','), v)
			}
			b = append(b, ',')
			if p.Valid {
				b = strconv.AppendFloat(b, p.Value, 'g', -1, 64)
			}
			b = append(b, '\r', '\n')
			if len(b) >= csvBuffer {
				if _, err := w.Write(b); err != nil {
					return err
				}
				b = b[:0]
			}
		}
	}
	_, err := w.Write(b)
	return err
}

func parquetPoints(w io.Writer, result *query.Result, dimensions []string) error {
	names := pointHeader(dimensions)
	nodes := []parquet.Node{timestamp()}
	for range dimensions {
		nodes = append(nodes, parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
	}
	pw := newParquetWriter(w, names, append(nodes, parquet.Optional(parquet.Leaf(parquet.DoubleType))))
	columns := pw.ColumnWriters()
	last := len(names) - 1
	for i := range result.Series {
		one := &result.Series[i]
		texts := labels(one, dimensions)
		for points := range slices.Chunk(one.Points, batchRows) {
			values := make([][]parquet.Value, len(names))
			for _, p := range points {
				values[0] = append(values[0], parquet.Int64Value(time.UnixMilli(p.UnixMS).UnixNano()))
				for k, text := range texts {
					values[k+1] = append(values[k+1], textValue(text))
				}
				v := parquet.NullValue()
				if p.Valid {
					v = parquet.DoubleValue(p.Value)
					v.SetDefinitionLevel(1)
				}
				values[last] = append(values[last], v)
			}
			for c := range columns {
				if _, err := columns[c].WriteRowValues(values[c]); err != nil {
					return fmt.Errorf("encode: %w", err)
				}
			}
		}
	}
	return pw.Close()
}
