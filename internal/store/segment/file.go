package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Segment is an open file. Any number of goroutines may read it. It is closed when its last user has released it.
type Segment struct {
	file  *os.File
	path  string
	size  int64
	all   []*tenantEntry // by id
	users atomic.Int64
	gone  atomic.Bool // the file is to be removed
}

// Open opens a segment; ErrDamaged when the file is missing or is not what was written. Only its directory is read. The caller is its first user.
func Open(path string) (*Segment, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrDamaged, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open a segment: %w", err)
	}
	s := &Segment{file: f, path: path}
	s.users.Store(1)
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *Segment) load() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	if s.size < int64(len(magic)+footerSize) {
		return fmt.Errorf("%w: it is too short", ErrDamaged)
	}
	foot, err := s.read(place{off: s.size - int64(footerSize), len: uint32(footerSize)}, false)
	if err != nil {
		return err
	}
	end, size := binary.LittleEndian.Uint64(foot), binary.LittleEndian.Uint32(foot[8:])
	if string(foot[16:]) != magic || end > uint64(s.size) || end+uint64(size) != uint64(s.size)-uint64(footerSize) || end < uint64(len(magic)) {
		return fmt.Errorf("%w: its end is not that of a segment", ErrDamaged)
	}
	if head, err := s.read(place{len: uint32(len(magic))}, false); err != nil || string(head) != magic {
		return cmp.Or(err, fmt.Errorf("%w: its beginning is not that of a segment", ErrDamaged))
	}
	dir, err := s.read(place{off: int64(end), len: size, crc: binary.LittleEndian.Uint32(foot[12:])}, true) //nolint:gosec // within the file
	if err != nil {
		return err
	}
	s.all, err = readDirectory(dir, int64(end)) //nolint:gosec // within the file
	return err
}

// read reads a piece of the file.
func (s *Segment) read(p place, checked bool) ([]byte, error) { return s.readInto(nil, p, checked) }

// readInto is read into the memory of b, if that is enough.
func (s *Segment) readInto(b []byte, p place, checked bool) ([]byte, error) {
	if cap(b) < int(p.len) {
		b = make([]byte, p.len)
	}
	b = b[:p.len]
	if _, err := s.file.ReadAt(b, p.off); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w: it is too short", s.path, ErrDamaged)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if checked && crc32.Checksum(b, castagnoli()) != p.crc {
		return nil, fmt.Errorf("%s: %w: a checksum at byte %d is wrong", s.path, ErrDamaged, p.off)
	}
	return b, nil
}

// Use adds a user.
func (s *Segment) Use() { s.users.Add(1) }

// Release takes a user away; the last one closes the file, and removes it if that was asked for.
func (s *Segment) Release() error {
	if s.users.Add(-1) > 0 {
		return nil
	}
	err := s.file.Close()
	if s.gone.Load() {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// Remove has the file removed once nobody uses it.
func (s *Segment) Remove() { s.gone.Store(true) }

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

// Size is the file's, in bytes.
func (s *Segment) Size() int64 { return s.size }

// Path is where the file is.
func (s *Segment) Path() string { return s.path }

// Check reads everything and compares checksums; each says how many bytes were read, so that the caller may rest, and may end it.
func (s *Segment) Check(each func(bytes int) error) error {
	for _, t := range s.all {
		pieces := []place{t.filter}
		for i := range t.blocks {
			pieces = append(pieces, t.blocks[i].columns[:]...)
		}
		for _, p := range pieces {
			if _, err := s.read(p, true); err != nil {
				return err
			}
			if err := each(int(p.len)); err != nil {
				return err
			}
		}
	}
	return nil
}
