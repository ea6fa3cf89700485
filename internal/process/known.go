package process

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// known is a series that there is. One look-up by its labels finds it; all else hangs on it.
type known struct {
	key    string // of its labels, which are views of it
	labels series.Labels
	table  *table
	hash   uint32
	// Where its newest cell is, in the aggregator whose round it is, and its newest minute, in such rollups.
	round, batch uint32
	cell, minute int32
	place        uint32 // live charts'
}

// table is the series of one metric of one tenant: an open-addressing hash table by the key of their labels.
type table struct {
	tenant     tenant.ID
	metric     int64
	dimensions int
	used       int
	slots      []*known // length is a power of two
	other      *known   // what is past the bound is folded into
	share      *share   // what the tenant may have in all
	watch      alert.Watch
	watched    bool // watch is of the present rules
}

func (t *table) find(hash uint32, key []byte) *known {
	mask := uint32(len(t.slots) - 1) //nolint:gosec // a length
	for i := hash & mask; ; i = (i + 1) & mask {
		k := t.slots[i]
		if k == nil || k.hash == hash && k.key == string(key) {
			return k
		}
	}
}

func (t *table) insert(k *known) {
	t.share.used++
	if t.used++; t.used*4 > len(t.slots)*3 {
		old := t.slots
		t.slots = make([]*known, 2*len(old))
		for _, o := range old {
			if o != nil {
				t.place(o)
			}
		}
	}
	t.place(k)
}

func (t *table) place(k *known) {
	mask := uint32(len(t.slots) - 1) //nolint:gosec // a length
	i := k.hash & mask
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = k
}

// share is how many series all metrics of a tenant have, and may have when it is limited. It is looked at only when a series is new.
type share struct {
	used, limit int64
	limited     bool
}

// bound keeps the number of series of each metric of each tenant, and of all metrics of a tenant with a quota, within a limit: what comes after is folded into one
// series whose labels are all series.OtherValue.
type bound struct {
	limit  int
	tables map[metricKey]*table
	shares map[tenant.ID]*share
	folded func(t tenant.ID, metric int64)
	// seed is secret, so that nobody can choose labels that fall together.
	seed maphash.Seed
	// round numbers the users of known's places: no two have the same, so none finds what another left.
	round uint32
}

type metricKey struct {
	tenant tenant.ID
	metric int64
}

func newBound(limit int, folded func(tenant.ID, int64)) *bound {
	return &bound{limit: limit, tables: map[metricKey]*table{}, shares: map[tenant.ID]*share{}, folded: folded, seed: maphash.MakeSeed()}
}

// next is a round of its own.
func (b *bound) next() uint32 {
	if b.round++; b.round == 0 {
		b.round = 1
	}
	return b.round
}

// table finds or makes the series of a metric; fresh says that it was made.
func (b *bound) table(t tenant.ID, id int64, dimensions int) (made *table, fresh bool) {
	k := metricKey{t, id}
	if found := b.tables[k]; found != nil {
		return found, false
	}
	made = &table{tenant: t, metric: id, dimensions: dimensions, slots: make([]*known, 8), share: b.share(t)}
	b.tables[k] = made
	return made, true
}

// share is a tenant's.
func (b *bound) share(t tenant.ID) *share {
	s := b.shares[t]
	if s == nil {
		s = &share{}
		b.shares[t] = s
	}
	return s
}

// allow sets what the metrics of a tenant may have in all, as defined now; nil is no limit. Metrics that are gone don't count any more.
func (b *bound) allow(t tenant.ID, quota *int64, ids []int64) {
	s := b.share(t)
	*s = share{limited: quota != nil}
	if quota != nil {
		s.limit = *quota
	}
	for _, id := range ids {
		if table := b.tables[metricKey{t, id}]; table != nil {
			s.used += int64(table.used)
		}
	}
}

// learn notes a series that is stored already.
func (b *bound) learn(t *table, labels series.Labels) {
	if isOther(labels) {
		return
	}
	key := labels.AppendKey(nil)
	hash := b.hash(key)
	if t.find(hash, key) == nil {
		t.insert(&known{key: string(key), table: t, hash: hash})
	}
}

func isOther(labels series.Labels) bool { return len(labels) > 0 && labels[0] == series.OtherValue }

func (b *bound) hash(key []byte) uint32 {
	return uint32(maphash.Bytes(b.seed, key)) //nolint:gosec // half of a hash is one
}

// admit returns the series under which an observation is kept.
func (b *bound) admit(t *table, key []byte) *known {
	hash := b.hash(key)
	k := t.find(hash, key)
	if k == nil {
		if t.used >= b.limit || t.share.limited && t.share.used >= t.share.limit {
			return b.fold(t)
		}
		k = &known{key: string(key), table: t, hash: hash}
		t.insert(k)
	}
	if k.labels == nil && t.dimensions > 0 {
		k.labels = series.LabelsOf(k.key, t.dimensions)
	}
	return k
}

func (b *bound) fold(t *table) *known {
	b.folded(t.tenant, t.metric)
	if t.other == nil {
		labels := slices.Repeat(series.Labels{series.OtherValue}, t.dimensions)
		t.other = &known{key: labels.Key(), labels: labels, table: t}
	}
	return t.other
}

// plan is what is done with the events of one type of one tenant.
type plan struct {
	eventType string // as plans knows it
	programs  *metric.Programs
	tables    []*table // of each program
}

func (b *bound) plan(t tenant.ID, programs []*metric.Program) *plan {
	p := &plan{programs: metric.Together(programs)}
	for _, program := range programs {
		table, _ := b.table(t, program.Definition().ID, len(program.Dimensions()))
		p.tables = append(p.tables, table)
	}
	return p
}

// plans remembers the plans of a tenant's types for as long as its metrics are the same.
type plans struct {
	bound *bound
	sets  map[tenant.ID]*plansOf
	last  *plansOf // most events are of the same tenant as the one before
}

type plansOf struct {
	tenant tenant.ID
	set    *metric.Set
	byType map[string]*plan
	recent [1 << recentBits]*plan // some of them, by where the types spread: most are found here
}

const recentBits = 5

// maxPlans bounds the types of a tenant whose plans are remembered: senders can make up as many as they like.
const maxPlans = 1024

func (p *plans) of(t tenant.ID, set *metric.Set, eventType string) *plan {
	own := p.last
	if own == nil || own.tenant != t || own.set != set {
		own = p.find(t, set)
		p.last = own
	}
	recent := &own.recent[event.Spread(eventType)>>(64-recentBits)]
	if *recent != nil && (*recent).eventType == eventType {
		return *recent
	}
	found := own.byType[eventType]
	if found == nil {
		if len(own.byType) >= maxPlans {
			clear(own.byType)
		}
		found = p.bound.plan(t, set.For(eventType))
		found.eventType = strings.Clone(eventType) // it may be lent
		own.byType[found.eventType] = found
	}
	*recent = found
	return found
}

func (p *plans) find(t tenant.ID, set *metric.Set) *plansOf {
	own := p.sets[t]
	if own == nil || own.set != set {
		own = &plansOf{tenant: t, set: set, byType: map[string]*plan{}}
		if p.sets == nil {
			p.sets = map[tenant.ID]*plansOf{}
		}
		p.sets[t] = own
	}
	return own
}
