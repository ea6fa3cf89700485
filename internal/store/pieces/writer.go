package pieces

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Writer writes files, one after the other. It keeps its memory for the next one; one goroutine at a time may use it.
type Writer struct {
	out *bufio.Writer
	at  int64
}

// NewWriter makes a Writer.
func NewWriter() *Writer { return &Writer{out: bufio.NewWriterSize(nil, 1<<20)} }

// Make writes a new file and says how many bytes it has. Fill puts its pieces and gives the directory. The file is there as a whole, on disk,
// when Make returns nil; else it isn't.
func (w *Writer) Make(path, magic string, fill func() (directory []byte, err error)) (size int64, err error) {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("make a file: %w", err)
	}
	err = w.write(f, magic, fill)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("make a file: %w", err), os.Remove(temporary))
	}
	return w.at, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (w *Writer) write(f *os.File, magic string, fill func() ([]byte, error)) error {
	w.out.Reset(f)
	defer w.out.Reset(nil)
	w.at = 0
	if err := w.put([]byte(magic)); err != nil {
		return err
	}
	dir, err := fill()
	if err != nil {
		return err
	}
	foot := binary.LittleEndian.AppendUint64(nil, uint64(w.at))     //nolint:gosec // not negative
	foot = binary.LittleEndian.AppendUint32(foot, uint32(len(dir))) //nolint:gosec // far less than 4 GiB
	foot = binary.LittleEndian.AppendUint32(foot, Checksum(dir))
	if err := w.put(dir); err != nil {
		return err
	}
	if err := w.put(append(foot, magic...)); err != nil {
		return err
	}
	return w.out.Flush()
}

func (w *Writer) put(p []byte) error {
	n, err := w.out.Write(p)
	w.at += int64(n)
	return err
}

// Put writes a piece, as part of Make.
func (w *Writer) Put(p []byte) (Place, error) {
	// Nobody waits for a file as somebody may for an answer.
	runtime.Gosched()
	at := Place{Off: w.at, Len: uint32(len(p)), CRC: Checksum(p)} //nolint:gosec // a piece is at most some hundreds of megabytes
	return at, w.put(p)
}
