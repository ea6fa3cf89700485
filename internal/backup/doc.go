// Package backup writes what an installation holds into a directory that can be kept elsewhere, and makes an installation from it.
//
// A backup directory has
//
//	manifest.json            what belongs to the backup, how far it goes, and the SHA-256 of every file, itself included
//	events/…parquet          events, zstd, readable by anything; named by partition and the stretch of the log, and never written again
//	catalog-NNNNNN.sqlite    the catalog, as it was at one moment
//	secrets-key-NNNNNN       the master key of the secrets in it, where the server has made that itself
//	incidents-NNNNNN.jsonl   all transitions of incidents
//	quarantine-NNNNNN.jsonl  events in quarantine
//
// A backup into a directory that has one adds the events behind it and replaces the small files. The manifest is what makes a backup: it
// is put in its place last, in one step, so a backup that is broken off leaves the one before it as it was.
//
// Rollups and the log are not in a backup. A restore computes rollups from the events, by the code that computed them first, and makes a
// new log whose numbers go on behind those of the events.
//
// # In which order a backup reads
//
// First it waits until the workers have committed what the log held. Then it reads, for each partition, the offset, up to which the backup will
// go, with the names of what is in quarantine; then the catalog, so that every tenant and metric of those events is in it; then the
// transitions, so that no transition that the catalog's queue of notifications has passed is missing; then the events up to the offsets. Events
// and offsets agree exactly. Catalog and transitions may be some moments younger.
package backup
