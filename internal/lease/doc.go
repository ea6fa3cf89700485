// Package lease shares out the partitions of the log among the workers of a fleet.
//
// There is nobody in charge and nothing is stored. Each worker says twice a second who it is and which partitions it holds (a beat), from
// memory to memory; what everybody hears of everybody is enough for each to decide alone, by the same function, what it is to hold. A partition that one
// is to give up is stopped first, and then no longer named; only then another takes it up. Whoever is not heard for some time has lost its leases.
//
//	         told off by Decide: stop the worker, wait until it has committed
//	held ──────────────────────────────────────────────► free
//	 ▲                                                     │
//	 └─────────────────────────────────────────────────────┘
//	   given by Decide: nobody who is heard names it, and it is this worker's share
//
// Leases only save work. Two workers may hold a partition for a moment, when a beat was lost: the store takes the commits of one of them (the offset's
// compare and swap), and the next beats settle it.
package lease
