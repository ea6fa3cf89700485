//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// benchServeCmd is serve with a CPU profile that SIGUSR1 begins, and ends; one of what memory was asked for stands beside it then.
type benchServeCmd struct {
	serveCmd
	CPUProfile string `name:"cpu-profile" type:"path"`
}

// Run serves until ctx ends.
func (c *benchServeCmd) Run(ctx context.Context) error {
	turn := make(chan os.Signal, 1)
	signal.Notify(turn, syscall.SIGUSR1)
	defer signal.Stop(turn)
	over := make(chan struct{})
	profiled := make(chan error, 1)
	go func() { profiled <- c.profile(turn, over) }()
	err := c.serveCmd.Run(ctx)
	close(over)
	return errors.Join(err, <-profiled)
}

func (c *benchServeCmd) profile(turn <-chan os.Signal, over <-chan struct{}) error {
	select {
	case <-turn:
	case <-over:
		return nil
	}
	f, err := os.Create(c.CPUProfile)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	select {
	case <-turn:
	case <-over:
	}
	pprof.StopCPUProfile()
	return errors.Join(f.Close(), allocations(c.CPUProfile+".allocs"))
}

// allocations writes where memory was asked for since the process began.
func allocations(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
