package duckdb

import (
	"context"
	"path/filepath"
	"slices"
)

// ForeignFiles are those in the folder of sealed files that the store does not know.
func (s *Store) ForeignFiles() []string {
	files, err := filepath.Glob(filepath.Join(s.segmentsDir(), "*"))
	if err != nil {
		return []string{err.Error()}
	}
	return slices.DeleteFunc(files, func(name string) bool {
		s.mem.mu.Lock()
		defer s.mem.mu.Unlock()
		for _, seg := range s.mem.segments.all {
			if seg.Path() == name {
				return true
			}
		}
		for _, f := range s.mem.rollups.all {
			if f.Path() == name {
				return true
			}
		}
		return false
	})
}

// Flush has all that was committed so far written to disk.
func (s *Store) Flush(ctx context.Context) error { return s.flushNow(ctx) }

// MergeSegments makes one of segments that are many and small.
func (s *Store) MergeSegments(ctx context.Context) (bool, error) { return s.mergeSegments(ctx) }

// flushNow has all that was committed so far written.
func (s *Store) flushNow(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.flushAll(ctx)
}

// MergeRollups makes one file of rollups of files that are many and small.
func (s *Store) MergeRollups(ctx context.Context) (bool, error) { return s.mergeRollups(ctx) }
