package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
)

const (
	eventsDir = "events"
	lockName  = "lock"
	// unfinished is the suffix of a file that is being written.
	unfinished = ".tmp"
)

// ours are the names of files that a backup makes, besides the manifest and the lock. Nothing else is ever removed.
var ours = regexp.MustCompile(`^(events/partition-[0-9]+-[0-9a-f]*-[0-9]+-[0-9]+\.parquet|catalog-[0-9]+\.sqlite|secrets-key-[0-9]+|(incidents|quarantine)-[0-9]+\.jsonl|manifest\.json)(\.tmp)?(-journal)?$`)

// join is where a file that the manifest names is.
func join(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

// lockDir makes a backup directory, unless it is there, and keeps other backups off it.
func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(dir, eventsDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the backup directory: %w", err)
	}
	if err := syncFile(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	unlock, ok, err := tryLock(filepath.Join(dir, lockName))
	if err == nil && !ok {
		err = fmt.Errorf("another backup into %s is under way: wait for its end", dir)
	}
	return unlock, err
}

// tryLock takes the lock of a file; ok is false when another process has it.
func tryLock(path string) (unlock func(), ok bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, false, f.Close()
	}
	return func() { _ = f.Close() }, true, nil
}

// checkEmpty refuses a directory that is neither a backup nor empty: files would be lost among those of a backup.
func checkEmpty(dir string) error {
	all, err := list(dir)
	if err != nil {
		return fmt.Errorf("look into the backup directory: %w", err)
	}
	if slices.Contains(all, manifestName) {
		return nil
	}
	for _, name := range all {
		if name != lockName && !ours.MatchString(name) {
			return fmt.Errorf("%s is no backup and holds something else (%s): choose a new directory", dir, name)
		}
	}
	return nil
}

// list gives the files below dir, with slashes; nil for a directory that is not there.
func list(dir string) ([]string, error) {
	var all []string
	for _, sub := range []string{"", eventsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if sub != "" || e.Name() != eventsDir {
				all = append(all, filepath.ToSlash(filepath.Join(sub, e.Name())))
			}
		}
	}
	return all, nil
}

// sweep removes what earlier backups have left and m, which may be nil, does not name: files that were being written when one was broken
// off, and those that a later one has replaced.
func sweep(dir string, m *Manifest) error {
	var keep []string
	if m != nil {
		keep = append(keep, manifestName)
		for _, f := range m.files() {
			keep = append(keep, f.Path)
		}
	}
	slices.Sort(keep)
	all, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		if _, kept := slices.BinarySearch(keep, name); kept || !ours.MatchString(name) {
			continue
		}
		if err := os.Remove(join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// place writes a file: write makes it under another name, then it is synced, summed, and put in its place, so that it is either there and
// whole, or not at all.
func place(ctx context.Context, dir, name string, write func(path string) (rows uint64, err error)) (f File, err error) {
	path := join(dir, name)
	temp := path + unfinished
	if err := removeIfThere(temp); err != nil {
		return f, err
	}
	f = File{Path: name}
	if f.Rows, err = write(temp); err != nil {
		return f, errors.Join(err, removeIfThere(temp))
	}
	if err := os.Chmod(temp, 0o600); err != nil {
		return f, err
	}
	if err := syncFile(temp); err != nil {
		return f, err
	}
	if f.SHA256, f.Bytes, err = sum(ctx, temp, nil); err != nil {
		return f, err
	}
	if err := os.Rename(temp, path); err != nil {
		return f, err
	}
	return f, syncFile(filepath.Dir(path))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncFile brings a file, or the names in a directory, to the disk.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if info, e := f.Stat(); e == nil && info.IsDir() && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)) {
		err = nil // a file system, of a network perhaps, that keeps names by itself
	}
	return errors.Join(err, f.Close())
}

// sum reads a file, telling seen how much it has read.
func sum(ctx context.Context, path string, seen func(bytes int)) (hash string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		_, _ = h.Write(buf[:n])
		size += int64(n)
		if seen != nil {
			seen(n)
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), size, nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return "", 0, err
		}
	}
}

// verify compares a file with what the manifest says of it.
func verify(ctx context.Context, dir string, f File, seen func(bytes int)) error {
	hash, size, err := sum(ctx, join(dir, f.Path), seen)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s is missing", ErrDamaged, f.Path)
	case err != nil:
		return fmt.Errorf("read the backup: %w", err)
	case size != f.Bytes:
		return fmt.Errorf("%w: %s has %d bytes, written were %d", ErrDamaged, f.Path, size, f.Bytes)
	case hash != f.SHA256:
		return fmt.Errorf("%w: %s is not what was written: its SHA-256 is %s, that of what was written %s", ErrDamaged, f.Path, hash, f.SHA256)
	}
	return nil
}
