package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/backup"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// stuck is a store whose scans wait until they are told to go on.
type stuck struct {
	backup.Events
	began chan struct{}
}

func (s stuck) Scan(ctx context.Context, _ tenant.ID, _ store.Scan, _ func(*event.Stored) error) error {
	select {
	case s.began <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func listen(t *testing.T) (dir string, c *backup.Control, began chan struct{}) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	s := openStores(t, dir, 1, 10)
	s.tenant("default")
	s.commit(store.Commit{}, 10)
	src := s.source()
	began = make(chan struct{}, 1)
	src.Events = stuck{s.events, began}
	c, err := backup.Listen(t.Context(), dir, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return dir, c, began
}

func TestTheSocketIsForTheOwnerOnlyAndGoesWithTheServer(t *testing.T) {
	dir, c, _ := listen(t)
	path := filepath.Join(dir, backup.SocketName)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Error(info, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is still there:", err)
	}
	if _, err := backup.Ask(t.Context(), dir, t.TempDir(), 0, nil); err == nil || !strings.Contains(err.Error(), "cannot be asked") {
		t.Error(err)
	}
}

func TestOneBackupIsMadeAtATimeAndEndsWithItsCaller(t *testing.T) {
	dir, _, began := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := backup.Ask(ctx, dir, t.TempDir(), 0, nil)
		ended <- err
	}()
	<-began
	if _, err := backup.Ask(t.Context(), dir, t.TempDir(), 0, nil); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Error("a second one:", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, func() error { // the server has noticed when it takes the next one
		short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer stop()
		if _, err := backup.Ask(short, dir, t.TempDir(), 0, nil); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	})
}

func TestAServerThatStopsBreaksABackupOff(t *testing.T) {
	dir, c, began := listen(t)
	ended := make(chan error, 1)
	go func() {
		_, err := backup.Ask(t.Context(), dir, t.TempDir(), 0, nil)
		ended <- err
	}()
	<-began
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the backup was made")
	}
}

func TestAPathThatIsTooLongForASocketIsSaidToBe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 25))
	if _, err := backup.Listen(t.Context(), dir, backup.Source{}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
	if _, err := backup.Ask(t.Context(), dir, "/x", 0, nil); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
}
