// Package vault keeps the secrets of the catalog encrypted at rest.
//
//	master key                    data keys                           bodies
//	a file, a variable, or   ──►  resources of no tenant,        ──►  resources of the kinds that hold secrets:
//	what a KMS keeps              each wrapped by the master key      AES-256-GCM under the newest data key
//
// Catalog wraps a store.Catalog. What is put through it is sealed on its way in, and opened on its way out, so that nobody above it
// knows; nobody below it sees a secret. Tenant, kind, slug and the number of the data key are authenticated with a body: one that was moved
// to another row does not open. Lookups of these resources are stored as their hash.
//
// The bodies say by themselves where an encryption or a rotation stands: each names its data key, or is plain text from before. So
// the work can be broken off at any moment, by any of several processes, and be gone on with by any: it looks for bodies that are not under the newest
// data key, and writes them anew if nobody has changed them meanwhile. Data keys are never deleted: what was written under one opens for ever, in
// an old backup too. Who is authoritative: the catalog on which data keys there are, the newest of which is the current one.
package vault
