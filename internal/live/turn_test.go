package live_test

import (
	"testing"
	"time"
)

func TestEventsThatASubscriptionDoesNotShowDoNotCostItItsTurn(t *testing.T) {
	r := newRig(t)
	c := r.dial("t")
	c.send(`{"op":"subscribe","id":"some","metric":"events","step":"1h","since":"1h","where":{"type":"a"}}`)
	c.next()
	c.send(`{"op":"subscribe","id":"all","metric":"events","step":"1s","since":"1m"}`)
	c.next()
	for range 2 { // after the second, what the first led to is over for both
		r.publish("b", time.Now(), 1)
		if f := c.next(); f.ID != "all" {
			t.Fatalf("a frame for %q, of which nothing has happened", f.ID)
		}
	}
	r.publish("a", time.Now(), 1)
	for c.next().ID != "some" { // at once, and not an hour after the turn that it had no use for
	}
}
