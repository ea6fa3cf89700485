package live

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// A note is what a partition's owner tells the processes that have clients. Notes of one life of the owner are numbered without a gap, so that
// who has missed one knows it.
//
//	0  1  kind
//	1  8  life of the owner: when it began, Unix nanoseconds; a later one is newer
//	9  8  number, from 1; of a beat and of the parts of a snapshot that of the last note before
//	17 8  sequence of the last log message that it is about, or up to which all is committed
//	25    what the kind says
type noteKind byte

const (
	noteRestart   noteKind = 1 + iota // what was told before is void; a snapshot has the rest
	noteHistory                       // deltas of metrics that were just taken up, which the store has
	noteDeltas                        // deltas of a log message
	noteEvents                        // a sample of its events
	noteCommitted                     // incidents that changed
	noteChanged                       // rollups that were added to
	noteBeat                          // nothing new
	noteEnd                           // the last part of a snapshot
)

const (
	noteHead = 25
	// noteBytes is how long a note is about, at most, but for one delta or event.
	noteBytes = 128 << 10
)

// note is a note as it is read.
type note struct {
	kind   noteKind
	life   uint64
	number uint64
	seq    uint64
	body   []byte
}

var errNote = errors.New("what another process tells cannot be read: it may be of another version")

func appendNote(dst []byte, n note) []byte {
	dst = append(dst, byte(n.kind))
	for _, v := range [...]uint64{n.life, n.number, n.seq} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return append(dst, n.body...)
}

func readNote(b []byte) (note, error) {
	if len(b) < noteHead {
		return note{}, errNote
	}
	return note{noteKind(b[0]), binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:]), binary.BigEndian.Uint64(b[17:]), b[noteHead:]}, nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// texts reads texts and numbers. Tenants and labels come again and again; each is allocated once.
type texts struct {
	b      []byte
	failed bool
	known  map[string]string
}

func (r *texts) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *texts) text() string {
	n := r.number()
	if r.failed || n > uint64(len(r.b)) {
		r.failed = true
		return ""
	}
	b := r.b[:n]
	r.b = r.b[n:]
	if s, ok := r.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if r.known == nil || len(r.known) > 1<<16 {
		r.known = map[string]string{}
	}
	r.known[s] = s
	return s
}

func appendDelta(dst []byte, d *series.Delta) []byte {
	dst = appendText(dst, string(d.Tenant))
	dst = binary.AppendUvarint(dst, uint64(d.Metric)) //nolint:gosec // read back as it was
	dst = binary.AppendUvarint(dst, uint64(len(d.Labels)))
	for _, l := range d.Labels {
		dst = appendText(dst, l)
	}
	dst = binary.AppendUvarint(dst, uint64(d.Second)) //nolint:gosec // read back as it was
	return d.Agg.Append(dst)
}

func (r *texts) deltas() (out []series.Delta, err error) {
	for len(r.b) > 0 {
		d := series.Delta{Tenant: tenant.ID(r.text()), Metric: int64(r.number())} //nolint:gosec // as it was written
		n := r.number()
		if r.failed || n > uint64(len(r.b)) {
			return nil, errNote
		}
		d.Labels = make(series.Labels, n)
		for i := range d.Labels {
			d.Labels[i] = r.text()
		}
		d.Second = int64(r.number()) //nolint:gosec // as it was written
		if r.failed {
			return nil, errNote
		}
		if d.Agg, r.b, err = series.ReadAgg(r.b); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// sample is some of one tenant's events, and how many there were besides.
type sample struct {
	tenant  tenant.ID
	skipped uint64
	events  []byte // a batch
}

func (s *sample) append(dst []byte) []byte {
	dst = binary.AppendUvarint(appendText(dst, string(s.tenant)), s.skipped)
	return append(dst, s.events...)
}

func (r *texts) sample(d *event.Decoder) (t tenant.ID, skipped uint64, events []event.Stored, err error) {
	t, skipped = tenant.ID(r.text()), r.number()
	if r.failed {
		return t, 0, nil, errNote
	}
	err = d.Decode(r.b, func(ev event.Stored) error { events = append(events, ev); return nil })
	return t, skipped, events, err
}

// changedStep is a step of a metric whose rollup has grown.
type changedStep struct {
	tenant tenant.ID
	metric int64
	start  int64 // Unix seconds
}

func (c *changedStep) append(dst []byte) []byte {
	dst = appendText(dst, string(c.tenant))
	dst = binary.AppendUvarint(dst, uint64(c.metric)) //nolint:gosec // read back as it was
	return binary.AppendUvarint(dst, uint64(c.start)) //nolint:gosec // read back as it was
}

func (r *texts) changed() (out []series.Rollup, err error) {
	for len(r.b) > 0 {
		out = append(out, series.Rollup{Tenant: tenant.ID(r.text()), Metric: int64(r.number()), Start: time.Unix(int64(r.number()), 0)}) //nolint:gosec // as it was written
		if r.failed {
			return nil, errNote
		}
	}
	return out, nil
}

func (r *texts) incidents() (out []incidentKey, err error) {
	for len(r.b) > 0 {
		out = append(out, incidentKey{tenant.ID(r.text()), r.text()})
		if r.failed {
			return nil, errNote
		}
	}
	return out, nil
}
