package rollup

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Info is what is known of a file without opening it.
type Info struct {
	Rows        int // minutes
	Bytes       int64
	First, Last int64 // starts of minutes, Unix nanoseconds
}

// Builder makes files. It keeps its memory for the next one, and is not for use by several goroutines at once.
type Builder struct {
	out     *pieces.Writer
	encoder *encoder
	sweep   *sweep
	buf     []byte

	info    Info
	tenants []tenantEntries
	entry   entry // of the block in hand: its metric and step
}

// NewBuilder makes a Builder.
func NewBuilder() *Builder {
	return &Builder{out: pieces.NewWriter(), encoder: newEncoder(), sweep: newSweep()}
}

// Fits says whether a rollup can be stored at all.
func Fits(u *series.Rollup) bool { return len(u.Labels) <= maxLabels }

// Sort puts rollups into the order in which they are stored.
func Sort(rows []*series.Rollup) {
	slices.SortFunc(rows, func(a, b *series.Rollup) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Metric, b.Metric), a.Start.Compare(b.Start), slices.Compare(a.Labels, b.Labels))
	})
}

// Build writes minutes, which Sort has sorted, to a new file. It is there as a whole, on disk, when Build returns nil; else it isn't.
func (b *Builder) Build(rows []*series.Rollup, path string) (Info, error) {
	return b.make(path, false, func() error {
		for _, u := range rows {
			if err := b.turn(u.Tenant, u.Metric, 0); err != nil {
				return err
			}
			if err := b.add(u.Start.UnixNano(), u.Labels, &u.Agg); err != nil {
				return err
			}
		}
		return nil
	})
}

// Merge makes one file of several. Long says that it gets the hours and days of its minutes.
func (b *Builder) Merge(ctx context.Context, files []*File, long bool, path string) (Info, error) {
	for _, f := range files {
		long = long || f.long
	}
	return b.make(path, long, func() error {
		for _, k := range metricsOf(files) {
			for step := range series.Resolutions() {
				if step > 0 && !long {
					break
				}
				if err := b.merge(ctx, files, k, uint8(step)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// make makes a file of what fill adds.
func (b *Builder) make(path string, long bool, fill func() error) (Info, error) {
	b.info, b.tenants = Info{}, nil
	b.encoder.reset()
	size, err := b.out.Make(path, magic, func() ([]byte, error) {
		if err := fill(); err != nil {
			return nil, err
		}
		if err := b.block(); err != nil {
			return nil, err
		}
		b.buf = appendDirectory(b.buf[:0], long, b.tenants)
		return b.buf, nil
	})
	b.info.Bytes, b.tenants = size, nil
	return b.info, err
}

// turn begins another metric or step, unless it is the one in hand.
func (b *Builder) turn(t tenant.ID, metric int64, step uint8) error {
	n := len(b.tenants)
	if n > 0 && b.tenants[n-1].id == t && b.entry.metric == metric && b.entry.step == step {
		return nil
	}
	if err := b.block(); err != nil {
		return err
	}
	if n == 0 || b.tenants[n-1].id != t {
		b.tenants = append(b.tenants, tenantEntries{id: t})
	}
	b.entry.metric, b.entry.step = metric, step
	return nil
}

func (b *Builder) add(start int64, labels series.Labels, a *series.Agg) error {
	if b.encoder.full() {
		if err := b.block(); err != nil {
			return err
		}
	}
	b.encoder.add(start, labels, a)
	return nil
}

// block writes what was added as a block, if there is anything.
func (b *Builder) block() error {
	e := b.encoder
	if len(e.rows) == 0 {
		return nil
	}
	x := b.entry
	x.rows = uint32(len(e.rows)) //nolint:gosec // at most blockRows
	x.first, x.last = e.bounds()
	e.sort()
	for p := range piecesOfBlock {
		switch p {
		case pieceRows:
			b.buf = e.appendRows(b.buf[:0])
		case pieceQuant:
			b.buf = e.appendQuantiles(b.buf[:0])
		case pieceUnique:
			b.buf = e.appendDistinct(b.buf[:0])
		}
		at, err := b.out.Put(b.buf)
		if err != nil {
			return err
		}
		if p == 0 {
			x.off = at.Off
		}
		x.len[p], x.crc[p] = at.Len, at.CRC
	}
	e.reset()
	b.enter(x)
	return nil
}

// enter takes a block that was written into the directory.
func (b *Builder) enter(x entry) {
	if x.step == 0 {
		if b.info.Rows == 0 {
			b.info.First, b.info.Last = x.first, x.last
		}
		b.info.First, b.info.Last = min(b.info.First, x.first), max(b.info.Last, x.last)
		b.info.Rows += int(x.rows)
	}
	t := &b.tenants[len(b.tenants)-1]
	t.blocks = append(t.blocks, x)
}

type metricKey struct {
	tenant tenant.ID
	metric int64
}

// metricsOf lists what is in any of the files, in order.
func metricsOf(files []*File) []metricKey {
	var all []metricKey
	for _, f := range files {
		for i := range f.tenants {
			t := &f.tenants[i]
			for j := range t.blocks {
				if k := (metricKey{t.id, t.blocks[j].metric}); j == 0 || k.metric != t.blocks[j-1].metric {
					all = append(all, k)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b metricKey) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.metric, b.metric))
	})
	return slices.Compact(all)
}

// breath is after how many rows a merge lets others have the processor, who answer somebody: by itself Go takes it away after 10 ms.
const breath = 64

// merge merges the rows of one metric and step.
func (b *Builder) merge(ctx context.Context, files []*File, k metricKey, step uint8) error {
	s := b.sweep
	s.begin(everything(k.metric, step))
	defer s.cells.reset()
	for _, f := range files {
		s.find(f, k.tenant)
	}
	if err := b.turn(k.tenant, k.metric, step); err != nil {
		return err
	}
	width := stepOf(step)
	return s.run(ctx, nil, func(bucket int64, labels series.Labels, a *series.Agg) error {
		if len(b.encoder.rows)%breath == 0 {
			runtime.Gosched()
		}
		return b.add(bucket*width, labels, a)
	})
}
