//go:build !faults

package process

import "github.com/pulsestream/pulsestream/internal/event"

// provoke does nothing: only a build for fault tests has events that make a stage fail.
func provoke(*event.Stored) {}

func provokeCommit([]event.Stored) error { return nil }
