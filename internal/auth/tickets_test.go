package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestATicketIsGoodOnceAndForItsTime(t *testing.T) {
	who := Principal{Tenant: "acme", Subject: "key:k", Name: "n", Role: RoleViewer}
	for after, good := range map[time.Duration]bool{0: true, TicketTTL - 1: true, TicketTTL: false, time.Hour: false} {
		tickets := NewTickets()
		ticket, until := tickets.Issue(who, start())
		if !until.Equal(start().Add(30 * time.Second)) {
			t.Errorf("it is good until %v", until)
		}
		got, err := tickets.Redeem(ticket, start().Add(after))
		if good && (err != nil || got != who) || !good && !errors.Is(err, ErrBadCredentials) {
			t.Errorf("after %v: %+v, %v", after, got, err)
		}
		if got, err := tickets.Redeem(ticket, start()); !errors.Is(err, ErrBadCredentials) || got != (Principal{}) {
			t.Errorf("the second time: %+v, %v", got, err)
		}
	}
}

func TestWhatIsNoTicketIsRefused(t *testing.T) {
	tickets := NewTickets()
	ticket, _ := tickets.Issue(Principal{Tenant: "acme"}, start())
	if _, err := tickets.Redeem("", start()); !errors.Is(err, ErrNoCredentials) {
		t.Errorf("error of none is %v", err)
	}
	for _, bad := range []string{"x", ticket[1:], ticket + "A", ticket[:42] + "!", base64.RawURLEncoding.EncodeToString(make([]byte, 32))} {
		if _, err := tickets.Redeem(bad, start()); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("error of %q is %v", bad, err)
		}
	}
	if _, err := tickets.Redeem(ticket, start()); err != nil {
		t.Errorf("after the guesses the ticket is no longer good: %v", err)
	}
}

func TestTicketsAreRandom(t *testing.T) {
	tickets := NewTickets()
	seen := map[string]bool{}
	for range 1000 {
		ticket, _ := tickets.Issue(Principal{}, start())
		b, err := base64.RawURLEncoding.DecodeString(ticket)
		if err != nil || len(b) != 32 || seen[ticket] {
			t.Fatalf("ticket %q: %v", ticket, err)
		}
		seen[ticket] = true
	}
}

func TestTicketsAreBoundedAndTheOldestGoes(t *testing.T) {
	tickets := NewTickets()
	var issued []string
	for i := range ticketCount + 10 {
		ticket, _ := tickets.Issue(Principal{Name: fmt.Sprint(i)}, start())
		issued = append(issued, ticket)
	}
	if len(tickets.held) != ticketCount || len(tickets.order) != ticketCount {
		t.Errorf("%d tickets are held, in an order of %d; want %d", len(tickets.held), len(tickets.order), ticketCount)
	}
	for i, good := range map[int]bool{0: false, 9: false, 10: true, ticketCount + 9: true} {
		if _, err := tickets.Redeem(issued[i], start()); (err == nil) != good {
			t.Errorf("ticket %d: %v", i, err)
		}
	}
}

func TestExpiredTicketsTakeNoRoom(t *testing.T) {
	tickets := NewTickets()
	for i := range 5000 {
		ticket, _ := tickets.Issue(Principal{}, start().Add(time.Duration(i)*time.Second))
		if i%3 == 0 {
			_, _ = tickets.Redeem(ticket, start().Add(time.Duration(i)*time.Second))
		}
	}
	if len(tickets.held) > 30 || len(tickets.order) > 30 {
		t.Errorf("%d tickets are held, in an order of %d", len(tickets.held), len(tickets.order))
	}
}

func TestOfManyWhoRedeemATicketOneSucceeds(t *testing.T) {
	tickets := NewTickets()
	for range 50 {
		ticket, _ := tickets.Issue(Principal{Tenant: "acme"}, start())
		var good atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := tickets.Redeem(ticket, start()); err == nil {
					good.Add(1)
				}
			})
		}
		wg.Wait()
		if good.Load() != 1 {
			t.Fatalf("%d of 8 redeemed the ticket", good.Load())
		}
	}
}
