// Package signin lets people in: by an invitation, a password with a second factor, or an identity provider of their tenant.
//
//	invited ──accept──► active ◄──first sign-in by a provider
//	   ▲                  │ ▲
//	   └── invite         ▼ │
//	                   disabled
//
// A member belongs to one tenant. Who signs in with a password is found by tenant and e-mail; who comes from an identity provider by
// tenant, provider, issuer and subject, and never by the e-mail, which providers let people choose. Every way in ends in begin, which makes a new
// session with a new cookie: none is ever taken over from before a sign-in.
//
// What guards the door is here too: passwords are hashed by argon2id, few at a time; failures are limited by account and by address; a wrong account
// takes as long as a wrong password and is told the same. Nobody makes or changes a member who may do more than they, and a tenant's last owner stays.
package signin
