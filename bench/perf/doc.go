// Package perf measures what a server can do and how near that is to what the machine can do.
//
// Each measurement starts a server of its own in a process of its own, with tenants, metrics and rules, loads it, waits until
// everything that was sent can be queried, and compares the counts. The machine's ceilings are measured in the same run, so
// that a ratio to them means something on another machine as well.
package perf
