package bus

import (
	"fmt"
	"log/slog"
	"strings"
)

// logger passes what the embedded server says on to the program's log.
type logger struct {
	log *slog.Logger
	// failed is told of a failed write: JetStream answers nobody from then on, and says so nowhere else.
	failed func(text string)
}

func (l logger) Noticef(f string, v ...any) {
	l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats")
}

func (l logger) Warnf(f string, v ...any) { l.log.Warn(fmt.Sprintf(f, v...), "service.name", "nats") }

func (l logger) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.log.Error(text, "service.name", "nats")
	if lower := strings.ToLower(text); strings.Contains(lower, "write error") || strings.Contains(lower, "failed to store") {
		l.failed(text)
	}
}

func (l logger) Fatalf(f string, v ...any) { l.log.Error(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Debugf(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Tracef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats") }
