package rollup

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// question is what rows are wanted, and by what they are merged.
type question struct {
	metric   int64
	step     uint8 // index of series.Resolutions
	from, to int64 // starts, aligned to the step; to is excluded
	bucket   int64 // a multiple of the step
	where    map[int][]string
	keep     []int // indexes of labels
	all      bool  // all labels are kept
	scalars  bool
}

// everything is the question for all rows of a step, merged by series.
func everything(metric int64, step uint8) question {
	return question{metric: metric, step: step, from: math.MinInt64, to: math.MaxInt64, bucket: stepOf(step), all: true}
}

func stepOf(step uint8) int64 { return int64(series.Resolutions()[step]) }

// unit is a block that has some of the rows.
type unit struct {
	file *File
	*entry
}

// sweep goes over blocks in the order of their first starts. Rows are merged into cells; a bucket that no later block reaches is given
// away when there are many. It keeps its memory.
type sweep struct {
	question
	decoder *decoder
	cells   cells
	units   []unit
	groups  []int32 // of the series of a block; -1 for those not wanted
	one     series.Agg
	memory  [piecesOfBlock][]byte
	most    int // cells before some are given away
}

// How many cells are held before those that are complete are given away.
const (
	mostScalars  = 1 << 15
	mostSketches = 1 << 12
)

func newSweep() *sweep { return &sweep{decoder: newDecoder()} }

// begin asks another question.
func (s *sweep) begin(q question) {
	s.question = q
	s.cells.reset()
	clear(s.units)
	s.units = s.units[:0]
	s.most = mostSketches
	if q.scalars {
		s.most = mostScalars
	}
}

// find adds the blocks of a file that have rows that are wanted. A file without hours and days has them in its minutes.
func (s *sweep) find(f *File, t tenant.ID) {
	of := f.tenant(t)
	if of == nil {
		return
	}
	step := s.step
	if !f.long {
		step = 0
	}
	// The minutes of an hour begin when it begins, and before the next does.
	blocks := of.of(s.metric, step)
	for i := range blocks {
		if e := &blocks[i]; e.last >= s.from && e.first < s.to {
			s.units = append(s.units, unit{f, e})
		}
	}
}

// sort puts the blocks that were found into order.
func (s *sweep) sort() {
	slices.SortFunc(s.units, func(a, b unit) int { return cmp.Compare(a.first, b.first) })
}

// bucketOf is the number of the bucket of a start.
func (s *sweep) bucketOf(start int64) int64 { return floorDiv(start, s.bucket) }

// floorDiv divides, rounding down also below zero.
func floorDiv(n, by int64) int64 {
	d := n / by
	if n%by < 0 {
		d--
	}
	return d
}

// load decodes a block.
func (s *sweep) load(u unit) error {
	last := pieceRows
	if !s.scalars {
		last = pieceUnique
	}
	var raw [piecesOfBlock][]byte
	for p := range last + 1 {
		if u.len[p] == 0 {
			continue
		}
		var err error
		if s.memory[p], err = u.file.ReadInto(s.memory[p], u.place(p), true); err != nil {
			return err
		}
		raw[p] = s.memory[p]
	}
	err := s.decoder.rows(raw[pieceRows], int(u.rows), u.first, u.last)
	if err == nil && !s.scalars {
		err = s.decoder.sketches(raw[pieceQuant], raw[pieceUnique])
	}
	if err != nil {
		return u.file.corrupt(u.entry, err)
	}
	return nil
}

// add merges the rows of a block into the cells.
func (s *sweep) add(u unit) error {
	if err := s.load(u); err != nil {
		return err
	}
	d := s.decoder
	s.group()
	begin, end, bucket := int64(0), int64(0), int64(0) // of the row before
	for i, start := range d.starts {
		group := s.groups[d.codes[i]]
		if group < 0 || start < s.from || start >= s.to {
			continue
		}
		if start < begin || start >= end {
			if start >= end && start < end+s.bucket && end > begin {
				bucket++
			} else {
				bucket = s.bucketOf(start)
			}
			begin = bucket * s.bucket
			end = begin + s.bucket
		}
		to := s.cells.at(bucket, group)
		if s.scalars {
			a := d.scalars(i)
			to.MergeScalars(&a)
			continue
		}
		if err := d.mergeInto(to, &s.one, i); err != nil {
			return u.file.corrupt(u.entry, err)
		}
	}
	return nil
}

// group finds the group of each series of the block.
func (s *sweep) group() {
	d, c := s.decoder, &s.cells
	s.groups = grown(s.groups, d.series)
	for code := range d.series {
		if s.groups[code] = -1; !s.wanted(code) {
			continue
		}
		c.key = c.key[:0]
		if s.all {
			labels := d.labelsOf(code)
			c.key = appendKey(c.key, labels)
			s.groups[code] = c.group(func() series.Labels { return labels })
			continue
		}
		for _, i := range s.keep {
			c.key = appendLabel(c.key, s.label(code, i))
		}
		s.groups[code] = c.group(func() series.Labels {
			labels := make(series.Labels, len(s.keep))
			for at, i := range s.keep {
				labels[at] = string(s.label(code, i))
			}
			return labels
		})
	}
}

// label is a label of a series by its index; nil when there are fewer.
func (s *sweep) label(code, i int) []byte {
	if i >= len(s.decoder.labels) {
		return nil
	}
	return s.decoder.labels[i].At(code)
}

func (s *sweep) wanted(code int) bool {
	for i, values := range s.where {
		text := s.label(code, i)
		if text == nil || !slices.ContainsFunc(values, func(v string) bool { return v == string(text) }) {
			return false
		}
	}
	return true
}

// addRollup merges one that is in no file.
func (s *sweep) addRollup(u *series.Rollup) {
	s.cells.key = s.cells.key[:0]
	var labels series.Labels
	for _, i := range s.keep {
		l := ""
		if i < len(u.Labels) {
			l = u.Labels[i]
		}
		s.cells.key = appendLabel(s.cells.key, []byte(l))
	}
	group := s.cells.group(func() series.Labels {
		labels = make(series.Labels, len(s.keep))
		for at, i := range s.keep {
			if i < len(u.Labels) {
				labels[at] = u.Labels[i]
			}
		}
		return labels
	})
	to := s.cells.at(s.bucketOf(u.Start.UnixNano()), group)
	if s.scalars {
		to.MergeScalars(&u.Agg)
	} else {
		to.Merge(&u.Agg)
	}
}

// before says whether a rollup in memory lies before a bucket.
func (s *sweep) before(u *series.Rollup, bucket int64) bool {
	return s.bucketOf(u.Start.UnixNano()) < bucket
}

// run goes over everything. Young are rollups that are in no file, in order of their starts.
func (s *sweep) run(ctx context.Context, young []series.Rollup, each func(bucket int64, labels series.Labels, a *series.Agg) error) error {
	s.sort()
	most := s.most
	emit := func(end int64) error {
		for len(young) > 0 && (end == math.MaxInt64 || s.before(&young[0], end)) {
			s.addRollup(&young[0])
			young = young[1:]
		}
		if err := s.cells.emit(end, each); err != nil {
			return err
		}
		most = max(s.most, 2*len(s.cells.all))
		return nil
	}
	for _, u := range s.units {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(s.cells.all) >= most {
			if err := emit(s.bucketOf(max(u.first, s.from))); err != nil {
				return err
			}
		}
		if err := s.add(u); err != nil {
			return err
		}
	}
	return emit(math.MaxInt64)
}

// sweeps are kept for the next question.
type sweeps struct{ pool sync.Pool }

func (p *sweeps) get() *sweep {
	if s, ok := p.pool.Get().(*sweep); ok {
		return s
	}
	return newSweep()
}

func (p *sweeps) put(s *sweep) {
	s.cells.reset()
	clear(s.units)
	p.pool.Put(s)
}

// startOf is the time at which a bucket begins.
func startOf(bucket, width int64) time.Time { return time.Unix(0, bucket*width).UTC() }
