//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// benchNoopCmd is a server that reads requests and answers them as the real one does, and does nothing else.
type benchNoopCmd struct {
	Listen string `default:"127.0.0.1:0"`
}

// Run serves until ctx ends.
func (c *benchNoopCmd) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a request that breaks off has no answer
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"accepted":1,"rejected":[]}`) // nobody is there to be told
	})}
	fmt.Fprintf(os.Stderr, "{\"message\":\"The no-op server is ready\",\"url.full\":\"http://%s\"}\n", l.Addr())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case <-ctx.Done():
		return s.Close()
	case err := <-served:
		return err
	}
}
