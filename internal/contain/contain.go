// Package contain keeps a fault of ours to the work in which it shows.
package contain

import (
	"fmt"
	"runtime/debug"
)

// Panic makes a panic the error of the function that defers it. The error has the stack, for the log.
func Panic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}
