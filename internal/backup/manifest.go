package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	manifestName = "manifest.json"
	// format is the version of the layout and of the manifest. The first one had no key beside the catalog.
	format = 2
)

// Errors of a backup.
var (
	// ErrDamaged: the backup is not what was written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNone: there is no backup in the directory.
	ErrNone = errors.New("there is no backup")
	// ErrOther: the directory has the backup of another installation.
	ErrOther = errors.New("the directory has the backup of another installation")
)

// Manifest says what belongs to a backup.
type Manifest struct {
	Format int `json:"format"`
	// SHA256 is of the manifest's text with this field empty.
	SHA256    string    `json:"sha256"`
	Program   string    `json:"program"` // version of PulseStream
	Number    uint64    `json:"number"`  // counts the backups in the directory
	CreatedAt time.Time `json:"created_at"`
	// Partitions are those of the log, by their number.
	Partitions []Partition `json:"partitions"`
	Catalog    File        `json:"catalog"`
	// SecretsKey is the master key of the secrets in the catalog, if the server has made it itself.
	SecretsKey *File       `json:"secrets_key,omitempty"`
	Incidents  File        `json:"incidents"`
	Quarantine File        `json:"quarantine"`
	Events     []EventFile `json:"events"`
}

// Partition says how far the backup of a partition goes.
type Partition struct {
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq"` // all events of messages up to this one are in the backup
	// Waiting is how many messages of the log the workers had still to process: their events were acknowledged and are not in the backup.
	Waiting uint64 `json:"waiting"`
	Events  uint64 `json:"events"`
}

// File is a file of the backup.
type File struct {
	Path   string `json:"path"` // in the backup directory, with slashes
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Rows   uint64 `json:"rows"`
}

// EventFile has the events of a stretch of a partition's log, both ends included.
type EventFile struct {
	File
	Partition int    `json:"partition"`
	FromSeq   uint64 `json:"from_seq"`
	ToSeq     uint64 `json:"to_seq"`
}

// Count is how many events the backup has.
func (m *Manifest) Count() (n uint64) {
	for _, p := range m.Partitions {
		n += p.Events
	}
	return n
}

// Bytes is what the files of the backup take, the manifest left out.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.files() {
		n += f.Bytes
	}
	return n
}

// Waiting is how many messages of the log are not in the backup.
func (m *Manifest) Waiting() (n uint64) {
	for _, p := range m.Partitions {
		n += p.Waiting
	}
	return n
}

// files are all but the manifest.
func (m *Manifest) files() []File {
	all := []File{m.Catalog, m.Incidents, m.Quarantine}
	if m.SecretsKey != nil {
		all = append(all, *m.SecretsKey)
	}
	for _, f := range m.Events {
		all = append(all, f.File)
	}
	return all
}

func (m Manifest) text() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// encode gives the manifest's text with its checksum.
func (m Manifest) encode() ([]byte, error) {
	m.SHA256 = ""
	b, err := m.text()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	m.SHA256 = hex.EncodeToString(sum[:])
	return m.text()
}

// decode reads a manifest. One that is not, to the last byte, what encode gives is damaged.
func decode(b []byte) (*Manifest, error) {
	var head struct {
		Format int `json:"format"`
	}
	var m Manifest
	err := json.Unmarshal(b, &m)
	if json.Unmarshal(b, &head) == nil && head.Format > format {
		return nil, fmt.Errorf("the backup has format %d, this version of PulseStream knows %d: use the version that made it, or a newer one, unless the manifest is damaged", head.Format, format)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be read: %w", ErrDamaged, manifestName, err)
	}
	again, err := m.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b, again) {
		return nil, fmt.Errorf("%w: %s is not what was written", ErrDamaged, manifestName)
	}
	return &m, m.check()
}

// check refuses what no backup has, before any of it is believed.
func (m *Manifest) check() error {
	for _, f := range m.files() {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) || strings.Contains(f.Path, `\`) {
			return fmt.Errorf("%w: the manifest names %q", ErrDamaged, f.Path)
		}
	}
	for _, f := range m.Events {
		if f.Partition < 0 || f.Partition >= len(m.Partitions) || f.FromSeq > f.ToSeq || f.ToSeq > m.Partitions[f.Partition].Seq {
			return fmt.Errorf("%w: the manifest says that %s has messages %d to %d of partition %d", ErrDamaged, f.Path, f.FromSeq, f.ToSeq, f.Partition)
		}
	}
	return nil
}

// Load reads the manifest of a backup directory; ErrNone when there is none.
func Load(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: it has no %s", ErrNone, dir, manifestName)
	}
	if err != nil {
		return nil, err
	}
	m, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}
