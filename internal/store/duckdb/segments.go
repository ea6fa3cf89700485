package duckdb

import (
	"context"
	"runtime"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/segment"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func openSegment(path string) (*segment.Segment, error) { return segment.Open(path) }

// seal makes a segment of a tail. It is not part of the store yet. One is made at a time: flushing holds the right to.
func (s *Store) seal(b *segment.Builder, t *segment.Tail) (*segment.Segment, fileEntry, error) {
	e := fileEntry{number: s.numbers.Add(1)}
	path := s.filePath(eventFiles(), e.number)
	info, err := b.Build(t, path)
	if err != nil {
		return nil, e, fileError(err)
	}
	e.place = e.number
	e.rows, e.bytes, e.minTime, e.maxTime = int64(info.Rows), info.Bytes, info.MinTime, info.MaxTime
	seg, err := reopened(path, openSegment)
	return seg, e, err
}

// events gives a reader the events of this moment: all segments, and what commits have brought since, of one tenant or, without one, of a partition.
func (s *Store) events(ctx context.Context, t tenant.ID, partition int, read func(*segment.Set) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mem.mu.Lock()
	held := s.mem.segments.hold()
	set := segment.Set{Segments: held.all}
	recents := s.mem.recents(s.flushed.Load())
	s.mem.read(recents)
	for _, r := range recents {
		if t == "" {
			set.Views = append(set.Views, r.tail.Views(partition)...)
		} else if v, ok := r.tail.View(t); ok {
			set.Views = append(set.Views, v)
		}
	}
	s.mem.mu.Unlock()
	defer held.release()
	defer s.mem.unread(recents)
	err := read(&set)
	if damagedFile(err) {
		return fileError(err)
	}
	return err
}

// mergedRows is how many events a merge makes one segment of at most.
const mergedRows = 1 << 18

// segmentTiers: all of what is merged is held in memory meanwhile, where it takes some ten times as many bytes as in the files.
func segmentTiers() tiers {
	return tiers{below: []int64{4 << 10, 64 << 10, 96 << 10}, mostRows: mergedRows, mostBytes: 32 << 20}
}

// breath is after how many events a merge lets others have the processor, who answer somebody: by itself Go takes it away after 10 ms.
const breath = 256

// mergeSegments makes one of the first segments that are many and small, and says whether there were any.
func (s *Store) mergeSegments(ctx context.Context) (bool, error) {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.mem.mu.Lock()
	list := s.mem.segments.hold()
	s.mem.mu.Unlock()
	defer list.release()
	from, to := segmentTiers().pick(list.entries)
	if from == to {
		return false, nil
	}
	var bytes int64
	for _, e := range list.entries[from:to] {
		bytes += e.bytes
	}
	if err := s.room(uint64(bytes)); err != nil {
		return false, err
	}
	t := &segment.Tail{Memory: &s.mem.slabs}
	defer t.Free()
	add := func(ev *event.Stored) {
		if t.Len()%breath == 0 {
			runtime.Gosched()
		}
		t.Add(ev)
	}
	for _, seg := range list.all[from:to] {
		if err := s.reading.All(ctx, seg, add); err != nil {
			return false, fileError(err)
		}
	}
	seg, entry, err := s.seal(s.merger, t)
	if err != nil {
		return false, err
	}
	entry.place = list.entries[from].place
	return true, replaceFiles(ctx, s, eventFiles(), &s.mem.segments, list, from, to, seg, entry)
}
