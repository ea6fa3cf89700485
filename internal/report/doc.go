// Package report writes what a tenant orders into files: its events, or the points of a metric, as Parquet or CSV. ADR 0017 says how and why.
//
// A report is an order, a state and, at the end, a file. All of it is in a directory of the data directory:
//
//	reports/<tenant's hash>/<id>.json      the order and its state, replaced as a whole
//	reports/<tenant's hash>/<id>.part      while it is written
//	reports/<tenant's hash>/<id>.parquet   when it is whole (or .csv)
//
//	           ┌── the server ends ──┐
//	           ▼                     │
//	order ─► queued ─► running ──────┴─► done    ─► removed after a day, or when there are too many
//	                      └────────────► failed  ─┘
//
// The state is kept beside the file and nowhere else, because it means nothing without it. In the catalog, which is copied, checked and backed
// up, it would be one more thing that has to agree with a directory: after a restore the catalog would name files that are not there.
// Here one rename makes a report done, and whoever removes the directory has removed the reports. Nothing is lost that cannot be ordered again.
//
// Events come in about the order of time: those that were stored within some minutes lie together, sorted by type and then by time, which takes
// half the bytes and half the work of the exact order of the log. Who needs an order sorts by the column time.
//
// A report that was not whole when the server ended is begun again: its file's beginning is cheaper to write again than to trust. One that sees
// three ends of the server fails, so that a report that brings the server down does not do so for ever.
package report
