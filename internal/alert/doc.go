// Package alert decides: rules, their state machine, incidents.
//
// A rule looks at one metric through a sliding window and asks for each group of labels whether the condition holds. Step
// is the whole state machine, a pure function:
//
//		                condition holds                  it has held for `for`
//		      ┌────┐ ──────────────────────► ┌─────────┐ ──────────────────────► ┌────────┐
//		      │ ok │                         │ pending │                         │ firing │
//		      └────┘ ◄────────────────────── └─────────┘                         └────────┘
//		        ▲       it no longer holds                                           │
//		        └────────────────────────────────────────────────────────────────────┘
//		                     the value is good again: at `clear` or better
//
//	  - Without `for`, ok goes to firing at once.
//	  - Pending to ok is not told to anybody: only firing opens an incident, and only firing to ok resolves it.
//	  - Clear is hysteresis: with `> 10` and clear 8, an incident that began at 11 goes on at 9 and ends at 8. Without clear
//	    it ends as soon as the condition doesn't hold.
//	  - No data is a window without a value. no_data says what it means: "ok" that the condition doesn't hold, "alert" that it
//	    holds, "keep" that nothing is known and the phase stays (a pending one doesn't begin to fire). An empty window has no
//	    sum, average, extreme, last value or percentile, but it does have a count, a rate and a number of distinct values: 0.
//	    So with "ok" these are compared as 0, and `count < 1` tells silence; "keep" and "alert" mean emptiness itself,
//	    whatever the aggregation.
//	  - When a rule is deleted, disabled, or changed in what it looks at, its incidents are resolved, saying so.
//	  - Time that runs backwards never completes `for`: the condition then counts as holding from the earlier time on. An
//	    incident never ends before it began.
//
// Who is authoritative: the owner of the tenant's partition, and nobody else. It alone runs an Evaluator over the partition, and commits
// the changed states and the transitions in the transaction that moves the log offset. A second owner by mistake finds
// its commit fenced, and nothing of what it decided becomes true. An incident's id follows from the rule, the group
// and the time at which the condition began to hold, and a transition's id from the incident's: work that is done
// again decides the same under the same names.
//
// Windows are not committed: after a restart they are rebuilt from stored events, and a rule isn't evaluated before its
// window is whole, since half a window looks like silence.
package alert
