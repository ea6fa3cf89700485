package bus

import (
	"fmt"
	"log/slog"
)

// logger passes what the embedded server says on to the program's log.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(f string, v ...any) {
	l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats")
}
func (l logger) Warnf(f string, v ...any)  { l.log.Warn(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Errorf(f string, v ...any) { l.log.Error(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Fatalf(f string, v ...any) { l.log.Error(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Debugf(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats") }
func (l logger) Tracef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...), "service.name", "nats") }
