package demo

import (
	"math"
	"time"
)

// product is something that the shop sells.
type product struct {
	sku, name, category string
	usd                 float64
}

func products() []weighted[product] {
	return []weighted[product]{
		{0.22, product{"TEA-104", "Sencha, 250 g", "tea", 19}},
		{0.16, product{"TEA-220", "Darjeeling, first flush", "tea", 34}},
		{0.18, product{"CUP-011", "Two stoneware cups", "tableware", 42}},
		{0.12, product{"POT-003", "Cast iron teapot", "tableware", 96}},
		{0.14, product{"KTL-550", "Kettle with temperature", "kitchen", 129}},
		{0.10, product{"GFT-001", "Gift set", "gifts", 58}},
		{0.08, product{"SUB-012", "Tea of the month, one year", "subscriptions", 240}},
	}
}

// basket is what a customer is about to buy.
type basket struct {
	order, customer, device string
	product                 product
	items                   int
	usd                     float64
}

func (s *story) basket() basket {
	b := basket{
		order: "ord_" + token(s.Rand, base62, 14), customer: "cus_" + token(s.Rand, base62, 14), device: choose(s.Rand, s.devices),
		product: choose(s.Rand, s.products), items: 1 + poisson(s.Rand, 0.7),
	}
	b.usd = math.Round(100*around(s.Rand, b.product.usd, 0.15)*(1+0.6*float64(b.items-1))) / 100
	return b
}

func (s *story) shop(after time.Duration, kind, subject string, data object) {
	data["country"] = s.place.code
	s.emit(after, shopSource, "evt_"+token(s.Rand, hexDigits, 24), kind, subject, data)
}

// browse is a customer who looks around.
func (s *story) browse() {
	p, device, visit := choose(s.Rand, s.products), choose(s.Rand, s.devices), token(s.Rand, hexDigits, 16)
	s.shop(0, "product.viewed", p.sku, object{"visit": visit, "sku": p.sku, "category": p.category, "device": device, "render_ms": int(around(s.Rand, 180, 0.5))})
	if s.chance(0.3) {
		s.shop(s.between(5*time.Second, time.Minute), "cart.item_added", p.sku, object{"visit": visit, "sku": p.sku, "category": p.category, "device": device, "price_usd": p.usd})
	}
}

// checkout is a customer who means to buy. It ends in an order, or in a basket that is left behind.
func (s *story) checkout() {
	b := s.basket()
	about := func(more object) object {
		data := object{
			"order": b.order, "customer": b.customer, "device": b.device, "category": b.product.category, "items": b.items,
			"total_usd": b.usd, "total": float64(s.place.amount(b.usd)) / s.place.minor, "currency": s.place.currency,
		}
		for k, v := range more {
			data[k] = v
		}
		return data
	}
	s.shop(0, "checkout.started", b.order, about(nil))
	if s.chance(0.25) {
		s.shop(s.between(20*time.Second, 90*time.Second), "checkout.abandoned", b.order, about(object{"reason": "left"}))
		return
	}
	at := s.between(4*time.Second, 25*time.Second)
	for attempt := 1; ; attempt++ {
		d, paid := s.pay(at, &b)
		if paid {
			break
		}
		s.shop(at+200*time.Millisecond, "payment.failed", b.order, about(object{"attempt": attempt, "reason": d.reason}))
		if attempt == 3 || s.chance(0.25) {
			s.shop(at+s.between(2*time.Second, 30*time.Second), "checkout.abandoned", b.order, about(object{"reason": "payment"}))
			return
		}
		at += s.between(2*time.Second, 7*time.Second)
	}
	s.shop(at+250*time.Millisecond, "order.placed", b.order, about(object{"duration_ms": at.Milliseconds()}))
	s.mail(at+time.Second, "receipt")
	if s.chance(0.35) {
		s.text(at+1500*time.Millisecond, "order")
	}
}

// shipment is an order that leaves the warehouse.
func (s *story) shipment() {
	b := s.basket()
	s.shop(0, "order.shipped", b.order, object{"order": b.order, "customer": b.customer, "category": b.product.category, "hours_since_order": int(around(s.Rand, 20, 0.4))})
	if s.chance(0.4) {
		s.text(time.Second, "shipping")
	}
	if s.chance(0.5) {
		s.mail(2*time.Second, "shipping")
	}
}

// login is a customer who is sent a code.
func (s *story) login() { s.text(0, "code") }

// newsletter is a newsletter on its way to one reader.
func (s *story) newsletter() { s.mail(0, "newsletter") }
