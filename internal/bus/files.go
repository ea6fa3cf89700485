package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// replaceFile writes a file so that after a crash the old one is there, or the new one.
func replaceFile(path string, content []byte) error {
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a folder with its parents, so that it is still there after a power cut.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// sealed is a JSON document with a checksum around it.
type sealed struct {
	CRC32C string          `json:"crc32c"`
	Body   json.RawMessage `json:"body"`
}

// saveTwice keeps v in two files, each with a checksum, so that no single fault can take it away.
func saveTwice(path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	content, err := json.Marshal(sealed{CRC32C: fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli())), Body: body})
	if err != nil {
		return err
	}
	content = append(content, '\n')
	if err := replaceFile(path, content); err != nil {
		return err
	}
	return replaceFile(path+".copy", content)
}

// loadTwice reads what saveTwice has kept, and says whether it found it. The first file is written first, so it is the newer one
// when they differ. Damaged names the files that are not what was written.
func loadTwice(path string, v any) (ok bool, damaged []string, err error) {
	for _, name := range []string{path, path + ".copy"} {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			damaged = append(damaged, name)
			continue
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return false, damaged, err
		}
		var s sealed
		d := json.NewDecoder(bytes.NewReader(content))
		d.DisallowUnknownFields()
		if d.Decode(&s) != nil || s.CRC32C != fmt.Sprintf("%08x", crc32.Checksum(s.Body, castagnoli())) {
			damaged = append(damaged, name)
			continue
		}
		if ok {
			continue
		}
		if err := json.Unmarshal(s.Body, v); err != nil {
			damaged = append(damaged, name)
			continue
		}
		ok = true
	}
	if !ok && len(damaged) == 2 {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return false, nil, nil // there never were any
		}
	}
	return ok, damaged, nil
}
