// Package notify tells people and programs what alert has decided: it carries each transition of an incident to the channels
// that its rule names.
//
//	Events store                    Catalog store
//	Transitions ──► route ──► Queue.Enqueue ──► Queue.Claim ──► lanes ──► Sender ──► Queue.Finish
//	     (tail)     one job for      (jobs and          (lease)     (fair       (one
//	                each channel     cursor in one                  turns)      attempt)
//	                                 transaction)
//
// The queue is authoritative: a job stands in it from the moment its transition was read until it is done or dead, and what is
// in memory can be lost at any time. A job's life:
//
//	           claimed                    delivered
//	queued ─────────────► being tried ─────────────────► done
//	   ▲                     │    │
//	   │   may be tried again│    │ never will be, or the schedule is at its end
//	   └─────────────────────┘    └────────────────────► dead
//
// Delivery is at least once. A job's ID is made from the transition and the channel, so the same transition read twice is one
// job, and it goes out with each attempt, so a receiver can tell an attempt that it has seen. A channel gets the end of an
// incident only after its beginning has left the queue.
//
// One channel that hangs holds up nobody else: see lanes.
package notify
