package load

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// zipfOf maps an even share onto 0 to below n, in such a way that the share of k falls as 1/(k+1).
func zipfOf(share float64, n int) int {
	return min(n-1, int(math.Exp(share*math.Log(float64(n+1))))-1)
}

// Door is where the requests of a tenant go.
type Door struct {
	Host string // of the Host header
	Key  string
}

// Pool is the requests of a load, cut into as many parts as there are connections.
type Pool struct {
	Shape
	lanes [][]*Request
	types []float64 // cumulated shares
	kinds []kind
}

// NewPool builds the requests; doors are the tenants'.
func NewPool(s Shape, doors []Door) (*Pool, error) {
	if s.Tenants < 1 || s.Tenants != len(doors) || s.Batch < 1 || s.Connections < 1 || s.Pool < 1 {
		return nil, fmt.Errorf("a load needs tenants, connections and events: %+v", s)
	}
	p := &Pool{Shape: s, kinds: kinds()}
	total := 0.0
	for _, k := range p.kinds {
		total += k.weight
		p.types = append(p.types, total)
	}
	b := &builder{dice: dice{state: mix(s.Seed)}}
	per := max(4, s.Pool/s.Batch/s.Connections)
	for c := range s.Connections {
		lane := make([]*Request, per)
		for i := range lane {
			lane[i] = p.request(b, doors, c*per+i)
		}
		p.lanes = append(p.lanes, lane)
	}
	return p, nil
}

// request builds a request of a tenant that is drawn: the largest has more than a fifth of the load, the smallest hardly any.
func (p *Pool) request(b *builder, doors []Door, number int) *Request {
	// Shares that are spread evenly give even a small pool requests of small tenants.
	_, share := math.Modf(float64(number)*math.Phi + float64(p.Seed)/7)
	tenant := zipfOf(share, p.Tenants)
	if p.Even {
		tenant = number % p.Tenants
	}
	b.out, b.holes = nil, nil
	var account [10]byte
	put62(account[:], mix(uint64(tenant)+1)) //nolint:gosec // positive
	b.account = string(account[:])
	for i := range p.Batch {
		b.event = uint16(i)
		p.event(b)
		if p.Batch > 1 {
			b.out = append(b.out, '\n')
		}
	}
	media := "application/x-ndjson"
	if p.Batch == 1 {
		media = "application/cloudevents+json"
	}
	head := "POST /v1/events HTTP/1.1\r\nHost: " + doors[tenant].Host + "\r\nAuthorization: Bearer " + doors[tenant].Key +
		"\r\nContent-Type: " + media + "\r\nContent-Length: " + strconv.Itoa(len(b.out)) + "\r\n\r\n"
	r := &Request{Tenant: tenant, Events: p.Batch, bytes: append([]byte(head), b.out...), body: len(head), holes: append([]hole(nil), b.holes...)}
	for i := range r.holes {
		r.holes[i].at += uint32(len(head)) //nolint:gosec // small
	}
	r.write(&clock{}, &stamp{seed: p.Seed, number: b.next() >> 32, last: time.Unix(1_800_000_000, 0), span: time.Second, series: p.Series})
	return r
}

// event appends one event.
func (p *Pool) event(b *builder) {
	at, i := b.share()*p.types[len(p.types)-1], 0
	for at > p.types[i] {
		i++
	}
	k := &p.kinds[i]
	name := k.name
	if p.Type != "" {
		name = p.Type
	}
	b.text(`{"specversion":"1.0","id":"` + k.id + `","source":"` + k.source + `","type":"` + name + `","subject":"` + k.subject + `","time":"$T","data":`)
	if p.Series > 0 {
		b.text(k.data[:len(k.data)-1] + `,"series":"s$Q"}}`)
		return
	}
	b.text(k.data + "}")
}

// EventBytes is how long an event is on average, as JSON.
func (p *Pool) EventBytes() float64 {
	n, events := 0, 0
	for _, lane := range p.lanes {
		for _, r := range lane {
			n += len(r.Body())
			events += r.Events
		}
	}
	return float64(n) / float64(events)
}

// Lines gives the events of the pool, one after the other, until do returns false.
func (p *Pool) Lines(do func(tenant int, line []byte) bool) {
	for _, lane := range p.lanes {
		for _, r := range lane {
			for line := range bytes.Lines(r.Body()) {
				if !do(r.Tenant, line) {
					return
				}
			}
		}
	}
}
