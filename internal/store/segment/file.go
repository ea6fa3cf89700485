package segment

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Segment is an open file of events.
type Segment struct {
	*pieces.File
	all     []*tenantEntry // by id
	filters bool           // in the place of indexes of ids
}

// Open opens a segment; pieces.ErrDamaged when the file is missing or is not what was written. Only its directory is read. The caller is its first user.
func Open(path string) (*Segment, error) {
	f, dir, err := pieces.Open(path, magic, magicFilters)
	if err != nil {
		return nil, err
	}
	s := &Segment{File: f, filters: f.Magic() == magicFilters}
	if s.all, err = readDirectory(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Release())
	}
	return s, nil
}

// Tenants lists whose events there are.
func (s *Segment) Tenants() []tenant.ID {
	ids := make([]tenant.ID, len(s.all))
	for i, t := range s.all {
		ids[i] = t.id
	}
	return ids
}

func (s *Segment) tenant(id tenant.ID) *tenantEntry {
	i, ok := slices.BinarySearchFunc(s.all, id, func(t *tenantEntry, id tenant.ID) int { return strings.Compare(string(t.id), string(id)) })
	if !ok {
		return nil
	}
	return s.all[i]
}

// Rows is how many events there are.
func (s *Segment) Rows() (n int) {
	for _, t := range s.all {
		n += t.rows
	}
	return n
}

// Verify reads everything and compares checksums; each says how many bytes were read, so that the caller may rest, and may end it.
func (s *Segment) Verify(each func(bytes int) error) error {
	if err := s.CheckDirectory(); err != nil {
		return err
	}
	for _, t := range s.all {
		pieces := []pieces.Place{t.ids}
		for i := range t.blocks {
			pieces = append(pieces, t.blocks[i].columns[:]...)
		}
		for _, p := range pieces {
			if err := s.Check(p); err != nil {
				return err
			}
			if err := each(int(p.Len)); err != nil {
				return err
			}
		}
	}
	return nil
}
