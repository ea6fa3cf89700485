package report

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	stateSuffix = "json"
	partSuffix  = "part"
	writeBuffer = 1 << 20
)

// directory of a tenant. Hashed, because an id is nothing that a file system has to take.
func (s *Service) directory(t tenant.ID) string {
	sum := sha256.Sum256([]byte(t))
	return filepath.Join(s.cfg.Dir, hex.EncodeToString(sum[:12]))
}

func (s *Service) path(r *Report, suffix string) string {
	return filepath.Join(s.directory(r.Tenant), r.ID+"."+suffix)
}

// save replaces the report's state on disk.
func (s *Service) save(r *Report) error {
	if err := os.MkdirAll(s.directory(r.Tenant), 0o700); err != nil {
		return fmt.Errorf("make the directory of reports: %w", err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the state of a report: %w", err)
	}
	path := s.path(r, stateSuffix)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep the state of a report: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		_ = os.Remove(path + ".new")
		return fmt.Errorf("keep the state of a report: %w", err)
	}
	return nil
}

// produce writes the report's file: to another name, which becomes its own when it is whole and on disk.
func (s *Service) produce(ctx context.Context, j *job, r *Report) (err error) {
	part := s.path(r, partSuffix)
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("begin a report: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	out := bufio.NewWriterSize(&file{ctx: ctx, to: f, room: s.room, note: j.bytes.Store}, writeBuffer)
	if r.Kind == Metric {
		err = s.metric(ctx, j, r, out)
	} else {
		err = s.events(ctx, j, r, out)
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(part, s.path(r, string(r.Format)))
	}
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	return nil
}

// remove deletes all of a report. The state goes first: a file without one is removed at the next start.
func (s *Service) remove(r *Report) {
	for _, suffix := range [...]string{stateSuffix, string(Parquet), string(CSV), partSuffix} {
		if err := os.Remove(s.path(r, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.cfg.Log.Warn("a report cannot be removed", "file.path", s.path(r, suffix), "error.message", err.Error())
		}
	}
}

// load reads the reports on disk, and removes what belongs to none that is whole.
func (s *Service) load() ([]Report, error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of reports: %w", err)
	}
	var paths []string
	err := filepath.WalkDir(s.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the reports: %w", err)
	}
	var found []Report
	for _, path := range paths {
		suffix := filepath.Ext(path)
		r, ok := s.read(strings.TrimSuffix(path, suffix) + "." + stateSuffix)
		switch {
		case suffix == "."+stateSuffix && ok:
			if s.takeUp(&r) {
				if err := s.save(&r); err != nil {
					s.cfg.Log.Warn("the state of a report is not kept", "pulsestream.report.id", r.ID, "error.message", err.Error())
				}
			}
			found = append(found, r)
		case suffix == "."+stateSuffix:
			s.cfg.Log.Warn("the state of a report cannot be read: it is removed", "file.path", path)
			_ = os.Remove(path)
		case !ok || r.State != Done || path != s.path(&r, string(r.Format)):
			_ = os.Remove(path)
		}
	}
	return found, nil
}

func (s *Service) read(path string) (r Report, ok bool) {
	text, err := os.ReadFile(path)
	ok = err == nil && json.Unmarshal(text, &r) == nil && len(r.ID) == 32 && path == s.path(&r, stateSuffix)
	return r, ok
}

// takeUp decides what becomes of a report that the end of a server left, and says whether its state is another now.
func (s *Service) takeUp(r *Report) bool {
	switch {
	case r.State == Done:
		if info, err := os.Stat(s.path(r, string(r.Format))); err == nil && info.Size() == r.Bytes {
			return false
		}
		r.State, r.Rows, r.Bytes = Failed, 0, 0
		r.Reason = "its file is gone or not whole: order it again"
	case r.finished():
		return false
	case r.Attempts >= maxRuns:
		r.State, r.FinishedAt = Failed, s.cfg.Now().UTC()
		r.Reason = fmt.Sprintf("the server ended %d times while it was written: ask for less", r.Attempts)
	default:
		r.State = Queued
	}
	return true
}
