package pieces

import (
	"fmt"
	"runtime/debug"
)

// Contained makes a panic the error of the work with files that defers it, so that nothing else fails. The error has the stack, for the log.
func Contained(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}
