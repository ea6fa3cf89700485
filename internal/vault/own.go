package vault

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulsestream/pulsestream/internal/private"
)

// OwnFile is the name, in a data directory, of the master key that a server without settings makes for itself.
const OwnFile = "secrets-key"

// Own are the master keys that a server makes for itself, in a file of its data directory.
type Own struct{ Path string }

// OwnIn is a data directory's.
func OwnIn(dir string) Own { return Own{Path: filepath.Join(dir, OwnFile)} }

// Masters reads the file; none when there is no file.
func (o Own) Masters(context.Context) ([]Master, error) {
	b, err := os.ReadFile(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	return parsed(o.Path, b)
}

func parsed(path string, b []byte) ([]Master, error) {
	masters, err := ParseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("the master key in %s cannot be read: %w", path, err)
	}
	return masters, nil
}

// Renew makes a new key and keeps those that are there behind it.
func (o Own) Renew() error {
	lines, err := o.lines()
	if err != nil {
		return err
	}
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	return o.write(append([]string{base64.StdEncoding.EncodeToString(key[:])}, lines...))
}

// Settle keeps the newest key only.
func (o Own) Settle() error {
	lines, err := o.lines()
	if err != nil || len(lines) < 2 {
		return err
	}
	return o.write(lines[:1])
}

func (o Own) lines() ([]string, error) {
	b, err := os.ReadFile(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return keyLines(string(b)), err
}

func (o Own) write(lines []string) error { return private.Write(o.Path, ownText(lines)) }

func ownText(lines []string) []byte {
	const text = "# The master key of the secrets in the catalog beside it: without it they are lost. pulsestream backup keeps it with them.\n"
	return []byte(text + strings.Join(lines, "\n") + "\n")
}

// File are master keys that are given in a file.
type File struct{ Path string }

// Masters reads the file.
func (f File) Masters(context.Context) ([]Master, error) {
	b, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, err
	}
	return parsed(f.Path, b)
}

// Given are master keys that do not change while the process lives.
type Given []Master

// Masters gives them.
func (g Given) Masters(context.Context) ([]Master, error) { return g, nil }

// Several are the masters of the first, and those of the others behind them.
type Several []Masters

// Masters gives all.
func (s Several) Masters(ctx context.Context) ([]Master, error) {
	var all []Master
	for _, m := range s {
		masters, err := m.Masters(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, masters...)
	}
	return all, nil
}
