// Package demo is simulated vendors: a shop with customers in eight countries, whose payments go through Stripe, whose
// messages through Twilio and SendGrid, and whose code is at GitHub. It speaks to a server only through its public doors, as
// the vendors themselves would: signed webhooks for those that have a verifier, JSON events for the others.
//
// Traffic is made of stories: a customer checks out, a newsletter reaches a reader, a build runs. Which stories begin in a
// second, and what comes of each, follows from the seed and that second alone. So the same stretch of time is the same
// traffic whenever it is asked for, with the same ids, and how a story goes on hangs on the script: the outages
// that vendors have, one after the other.
//
// Of the last 24 hours, the recent ones are as dense as what is sent live; what lies farther back is thinned, and follows
// the day: people sleep, and developers have weekends.
package demo
