//go:build faults

package process

import (
	"errors"

	"github.com/pulsestream/pulsestream/internal/event"
)

// provoke panics for events of the type "fault.panic".
func provoke(ev *event.Stored) {
	if ev.Type == "fault.panic" {
		panic("provoked by the type of the event")
	}
}

// provokeCommit fails for batches that hold an event of the type "fault.commit".
func provokeCommit(events []event.Stored) error {
	for i := range events {
		if events[i].Type == "fault.commit" {
			return errors.New("provoked by the type of an event")
		}
	}
	return nil
}
