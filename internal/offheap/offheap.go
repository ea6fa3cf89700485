// Package offheap gives memory of the operating system's own. In the garbage collector's heap a few large things that come and go let it gather as much
// garbage again before it looks, and what it gives back to the system costs more to take anew than to fill.
package offheap

// Map gives n bytes of zeros, nil when there are none to be had this way. The garbage collector does not look into them: they hold no pointers.
func Map(n int) []byte { return mapMemory(n) }

// Unmap gives back what Map gave. Nobody may have a use for it any more.
func Unmap(b []byte) { unmapMemory(b) }
