package pieces

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
)

// File is an open file. Any number of goroutines may read it. It is closed when its last user has released it.
type File struct {
	file  *os.File
	path  string
	magic string
	size  int64
	users atomic.Int64
	gone  atomic.Bool // it is to be removed
}

// Open opens a file and reads its directory; ErrDamaged when the file is missing or is not what was written, in one of some formats. The caller is its first user.
func Open(path string, magics ...string) (*File, *Directory, error) {
	in, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s is missing", ErrDamaged, path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open a file: %w", err)
	}
	f := &File{file: in, path: path}
	f.users.Store(1)
	info, err := in.Stat()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open a file: %w", err), in.Close())
	}
	f.size = info.Size()
	dir, magic, err := f.load(magics)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), in.Close())
	}
	f.magic = magic
	return f, dir, nil
}

// load reads the directory, the beginning and the end.
func (f *File) load(magics []string) (dir *Directory, magic string, err error) {
	if f.size < MagicSize+FooterSize {
		return nil, "", fmt.Errorf("%w: it is too short", ErrDamaged)
	}
	foot, err := f.Read(Place{Off: f.size - FooterSize, Len: FooterSize}, false)
	if err != nil {
		return nil, "", err
	}
	magic = string(foot[16:])
	end, size := binary.LittleEndian.Uint64(foot), binary.LittleEndian.Uint32(foot[8:])
	if !slices.Contains(magics, magic) || end > uint64(f.size) || end+uint64(size) != uint64(f.size)-FooterSize || end < MagicSize {
		return nil, "", fmt.Errorf("%w: its end is not that of such a file", ErrDamaged)
	}
	if head, err := f.Read(Place{Len: MagicSize}, false); err != nil || string(head) != magic {
		return nil, "", cmp.Or(err, fmt.Errorf("%w: its beginning is not that of such a file", ErrDamaged))
	}
	b, err := f.Read(Place{Off: int64(end), Len: size, CRC: binary.LittleEndian.Uint32(foot[12:])}, true) //nolint:gosec // within the file
	if err != nil {
		return nil, "", err
	}
	return NewDirectory(b, int64(end)), magic, nil //nolint:gosec // within the file
}

// Read reads a piece, or without checking it a part of one.
func (f *File) Read(p Place, checked bool) ([]byte, error) { return f.ReadInto(nil, p, checked) }

// ReadInto is Read into the memory of b, if that is enough.
func (f *File) ReadInto(b []byte, p Place, checked bool) ([]byte, error) {
	if cap(b) < int(p.Len) {
		b = make([]byte, p.Len)
	}
	b = b[:p.Len]
	if _, err := f.file.ReadAt(b, p.Off); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: %w: it is too short", f.path, ErrDamaged)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if checked && Checksum(b) != p.CRC {
		return nil, fmt.Errorf("%s: %w: a checksum at byte %d is wrong", f.path, ErrDamaged, p.Off)
	}
	return b, nil
}

// CheckDirectory reads all that is no piece again.
func (f *File) CheckDirectory() error {
	_, _, err := f.load([]string{f.magic})
	return err
}

// Check reads a piece and compares its checksum.
func (f *File) Check(p Place) error {
	_, err := f.Read(p, true)
	return err
}

// Use adds a user.
func (f *File) Use() { f.users.Add(1) }

// Release takes a user away; the last one closes the file, and removes it if that was asked for.
func (f *File) Release() error {
	if f.users.Add(-1) > 0 {
		return nil
	}
	err := f.file.Close()
	if f.gone.Load() {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}

// Remove has the file removed once nobody uses it.
func (f *File) Remove() { f.gone.Store(true) }

// Magic is which of the formats it has.
func (f *File) Magic() string { return f.magic }

// Size is how many bytes it has.
func (f *File) Size() int64 { return f.size }

// Path is where it is.
func (f *File) Path() string { return f.path }
