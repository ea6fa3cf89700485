//go:build !linux

package live

import (
	"context"
	"errors"
	"syscall"
)

// poller is for Linux only: elsewhere each connection has a goroutine that reads.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) add(syscall.RawConn, uint64) error { return errors.ErrUnsupported }

func (*poller) arm(syscall.RawConn, uint64) error { return errors.ErrUnsupported }

func (*poller) run(context.Context, func(uint64)) error { return errors.ErrUnsupported }
