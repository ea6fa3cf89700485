package rollup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// File is an open file of rollups.
type File struct {
	*pieces.File
	long    bool            // it has hours and days
	tenants []tenantEntries // by id
}

// Open opens a file; pieces.ErrDamaged when it is missing or is not what was written. Only its directory is read. The caller is its first user.
func Open(path string) (*File, error) {
	in, dir, err := pieces.Open(path, magic)
	if err != nil {
		return nil, err
	}
	f := &File{File: in}
	if f.long, f.tenants, err = readDirectory(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), in.Release())
	}
	return f, nil
}

func (f *File) tenant(id tenant.ID) *tenantEntries {
	i, ok := slices.BinarySearchFunc(f.tenants, id, func(t tenantEntries, id tenant.ID) int { return strings.Compare(string(t.id), string(id)) })
	if !ok {
		return nil
	}
	return &f.tenants[i]
}

// Rows is how many rollups of minutes there are.
func (f *File) Rows() (n int) {
	for i := range f.tenants {
		for j := range f.tenants[i].blocks {
			if e := &f.tenants[i].blocks[j]; e.step == 0 {
				n += int(e.rows)
			}
		}
	}
	return n
}

// Verify reads everything and compares checksums; each says how many bytes were read, so that the caller may rest, and may end it.
func (f *File) Verify(each func(bytes int) error) error {
	if err := f.CheckDirectory(); err != nil {
		return err
	}
	for i := range f.tenants {
		for j := range f.tenants[i].blocks {
			for p := range piecesOfBlock {
				at := f.tenants[i].blocks[j].place(p)
				if err := f.Check(at); err != nil {
					return err
				}
				if err := each(int(at.Len)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (f *File) corrupt(e *entry, err error) error {
	return fmt.Errorf("%s: %w: the block at byte %d: %w", f.Path(), pieces.ErrDamaged, e.off, err)
}
