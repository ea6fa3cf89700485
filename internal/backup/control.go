package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// SocketName is the name, in a data directory, of the socket at which a running server takes orders from its operator. A server owns its
// stores, so a backup while it runs is made by it. Whoever may read the data directory may connect.
const SocketName = "control.sock"

// maxSocketPath is what the shortest limit of the systems leaves for the path of a socket.
const maxSocketPath = 103

var errLongPath = fmt.Errorf("the path of the data directory is too long for a socket in it (at most %d bytes)", maxSocketPath-len(SocketName)-1)

// order asks for a backup.
type order struct {
	To   string         `json:"to"`
	Wait *time.Duration `json:"wait_ns,omitempty"` // nil: as the server thinks best
}

// answer is a line of what a server answers: progress, and in the end either a result or an error.
type answer struct {
	Progress *Progress `json:"progress,omitempty"`
	Result   *Result   `json:"result,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// Control takes orders at the socket of a data directory.
type Control struct {
	path    string
	source  Source
	server  *http.Server
	cancel  context.CancelFunc
	busy    sync.Mutex // held while a backup is made, and from Close on
	served  chan struct{}
	closing sync.Once
}

// Listen makes the socket and serves it. The caller has the lock of the data directory, so a socket that is there is one that a server that
// was killed has left.
func Listen(ctx context.Context, dataDir string, src Source) (*Control, error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) > maxSocketPath {
		return nil, errLongPath
	}
	if err := removeIfThere(path); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c := &Control{path: path, source: src, served: make(chan struct{})}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", c.backup)
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		defer close(c.served)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			src.Logger.Error("the control socket does not answer any more: no backup can be made until the next start", "error.message", err.Error())
		}
	}()
	return c, nil
}

// Close breaks a backup off, if one is under way, waits for its end, and removes the socket. A second call does nothing.
func (c *Control) Close() (err error) {
	c.closing.Do(func() {
		c.cancel()
		err = c.server.Close()
		<-c.served
		c.busy.Lock()
		err = errors.Join(err, removeIfThere(c.path))
	})
	return err
}

func (c *Control) backup(w http.ResponseWriter, req *http.Request) {
	out := json.NewEncoder(w)
	tell := func(a answer) error { return out.Encode(a) } // a caller that has gone ends the context
	var o order
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<16)).Decode(&o); err != nil || !filepath.IsAbs(o.To) {
		w.WriteHeader(http.StatusBadRequest)
		_ = tell(answer{Error: `send {"to": "/an/absolute/path"}`})
		return
	}
	if !c.busy.TryLock() {
		w.WriteHeader(http.StatusConflict)
		_ = tell(answer{Error: "another backup is under way: wait for its end"})
		return
	}
	defer c.busy.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	src := c.source
	if o.Wait != nil {
		src.Wait = *o.Wait
	}
	told := time.Time{}
	src.Logger.Info("a backup begins", "file.path", o.To)
	result, err := Run(req.Context(), src, o.To, func(p Progress) {
		if now := time.Now(); now.Sub(told) >= time.Second/4 {
			told = now
			_ = errors.Join(tell(answer{Progress: &p}), flush.Flush())
		}
	})
	if err != nil {
		src.Logger.Error("a backup failed; the one before it, if there is one, is as it was", "file.path", o.To, "error.message", err.Error())
		_ = tell(answer{Error: err.Error()})
		return
	}
	src.Logger.Info("a backup was made", "file.path", o.To, "pulsestream.events", result.Events, "event.duration", result.Took.Nanoseconds())
	_ = tell(answer{Result: result})
}

// Ask has the server of a data directory make a backup.
func Ask(ctx context.Context, dataDir, to string, wait time.Duration, tell func(Progress)) (*Result, error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("a server is running on %s, and cannot be asked for a backup: %w; stop it, or move the directory", dataDir, errLongPath)
	}
	body, err := json.Marshal(order{To: to, Wait: &wait})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/backup", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s is in use by a process that cannot be asked for a backup: if it is a server that is just starting or stopping, try again: %w", dataDir, err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<30)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("the server's answer cannot be understood: %w", err)
		}
		switch {
		case a.Error != "":
			return nil, errors.New(a.Error)
		case a.Result != nil:
			return a.Result, nil
		case a.Progress != nil && tell != nil:
			tell(*a.Progress)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errors.Join(errors.New("the server ended before the backup was complete; the one before it, if there is one, is as it was"), lines.Err())
}
