// Package auth says who calls and what they may do.
//
// A caller shows an API key, ps_<id>_<secret>. Only the SHA-256 of the whole key is kept, as the lookup of a catalog resource:
// that finds the key in one indexed read, whatever its form, and a stolen catalog opens nothing. A secret has 200 random bits, so
// a slow password hash would protect nothing more, and would cost every request its price. Who the key speaks for is a Principal:
// a tenant and a role. What a role may do is one table, permissions.go.
//
// Authentication is what Keys does; other credentials (access tokens, sign-in by OpenID Connect) will be further types
// with an Authenticate of the same shape, and a Principal is the same whatever it was shown. A browser cannot send a header with a
// WebSocket, so Tickets turns a principal into a word for the address, good once and for seconds.
package auth
