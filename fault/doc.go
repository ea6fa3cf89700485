// Package fault breaks a real server in every way that a bad night does, and checks with a ledger that it kept its promise:
// no acknowledged event lost, none counted twice, none made up, every rollup equal to its raw events.
//
// A scenario is one kind of fault. A run of it begins with an empty data directory: a server is started, writers send events
// over several connections in every form that the server takes and keep a ledger of what they were told; the fault strikes, the server
// recovers, and internal/verify compares. All that a run chooses at random comes from one seed, which is printed when it fails. What the
// seed does not decide is how the machine's scheduler interleaves processes, so a replay may need more than one run.
//
// The ledger, the servers' logs and the scenario's own records are never on the disk that is broken.
package fault
