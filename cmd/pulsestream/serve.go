package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
)

type serveCmd struct{ config.Serve }

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context) error {
	if err := c.Check(); err != nil {
		return err
	}
	log := app.NewLogger(os.Stderr, c.LogFormat, c.LogLevel)
	a, err := app.New(ctx, c.Serve, config.SecretsFromEnvironment(), app.Options{Version: version, Log: log, Announce: os.Stderr, Now: time.Now})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	log.Info("PulseStream is ready", "url.full", a.URL(), "service.version", version)
	var failed error
	select {
	case <-ctx.Done():
		log.Info("PulseStream is stopping")
	case failed = <-a.Failed():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
	defer cancel()
	if err := a.Stop(bounded); err != nil {
		return fmt.Errorf("the server did not stop cleanly: %w", err)
	}
	return failed
}
