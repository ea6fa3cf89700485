package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Head is where a chain ends.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// noHash stands in the place of the hash before the first entry's.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// Entry is a record in its chain. Its text is what was hashed and is never written anew: the record is read from it.
type Entry struct {
	Record
	Seq      int64
	Previous string // hash of the entry before it
	Text     string // a JSON object: seq, previous, and the members of Record
	Hash     string // SHA-256 of Text, in hexadecimal
	// Wrong says how the text is not that of the entry in this place; empty for none.
	Wrong string
}

// Line is the entry as it is exported: its text, with its hash as the last member.
func (e *Entry) Line() string {
	return strings.TrimSuffix(e.Text, "}") + `,"hash":"` + e.Hash + `"}`
}

// ParseLine reads what Line has written.
func ParseLine(line string) (Entry, error) {
	const member, end = `,"hash":"`, `"}`
	at := strings.LastIndex(line, member)
	if at < 0 || !strings.HasSuffix(line, end) || len(line) != at+len(member)+2*sha256.Size+len(end) {
		return Entry{}, fmt.Errorf(`it does not end in %s%d hexadecimal digits%s`, member, 2*sha256.Size, end)
	}
	e := Entry{Text: line[:at] + "}", Hash: line[at+len(member) : len(line)-len(end)]}
	if err := e.decode(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// HashOf is the hash of an entry's text.
func HashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// NewChain is the head of a chain without entries.
func NewChain() Head { return Head{Hash: noHash} }

// Link makes the entry that follows a head. Last is the highest number among the entries: where it is not the head's, somebody has been at the
// chain, which shows from then on: the entry follows none.
func Link(h Head, last int64, r Record) (Entry, error) {
	if err := r.check(); err != nil {
		return Entry{}, err
	}
	r.At = r.At.UTC()
	e := Entry{Record: r, Seq: max(h.Seq, last) + 1, Previous: h.Hash}
	if last != h.Seq {
		e.Previous = noHash
	}
	var err error
	if e.Text, err = r.text(e.Seq, e.Previous); err != nil {
		return Entry{}, err
	}
	e.Hash = HashOf(e.Text)
	return e, nil
}

// Row is an entry as a provider keeps it: its text and hash, and what entries are found by.
type Row struct {
	Tenant                    tenant.ID
	Seq                       int64
	At                        int64 // Unix nanoseconds
	Actor, Action, Kind, Slug string
	Text, Hash                string
}

// Row is how the entry is kept.
func (e *Entry) Row() Row {
	return Row{Tenant: e.Tenant, Seq: e.Seq, At: e.At.UnixNano(), Actor: e.Actor.Subject, Action: e.Action, Kind: string(e.Target.Kind), Slug: e.Target.Slug,
		Text: e.Text, Hash: e.Hash}
}

// Entry is what was kept.
func (r Row) Entry() Entry {
	e := Entry{Text: r.Text, Hash: r.Hash}
	switch err := e.decode(); {
	case err != nil:
		e.Record = Record{At: time.Unix(0, r.At).UTC(), Actor: Actor{Subject: r.Actor}, Action: r.Action, Target: Target{Kind: Kind(r.Kind), Slug: r.Slug}}
		e.Wrong = "its text cannot be read"
	case e.Seq != r.Seq:
		e.Wrong = fmt.Sprintf("entry %d stands in its place", e.Seq)
	case e.Tenant != r.Tenant:
		e.Wrong = "an entry of another chain stands in its place"
	default:
		again := e.Row()
		again.Text, again.Hash = r.Text, r.Hash
		if again != r {
			e.Wrong = "what it is found by is not what it says"
		}
	}
	e.Seq, e.Tenant = r.Seq, r.Tenant
	return e
}

// decode reads the text.
func (e *Entry) decode() error {
	var in struct {
		Seq      int64  `json:"seq"`
		Previous string `json:"previous"`
		*Record
	}
	in.Record = &e.Record
	if err := json.Unmarshal([]byte(e.Text), &in); err != nil {
		return err
	}
	if in.Seq <= 0 || e.Tenant == "" {
		return errNoObject
	}
	e.Seq, e.Previous = in.Seq, in.Previous
	return nil
}

// Break is a place where a chain is not as it was written.
type Break struct {
	Seq    int64  `json:"seq"`
	Reason string `json:"reason"`
}

// Verifier follows a chain, entry by entry, and locates what was edited, removed or moved. The zero Verifier begins with whatever entry comes
// first; NewVerifier wants the first of the chain.
type Verifier struct {
	entries int64
	begun   bool
	last    Head
	made    string // the hash of last's text
	doubted bool   // last is broken itself: what follows it is not to blame
	broken  []Break
	more    int64
}

// maxBreaks bounds the breaks that are told one by one.
const maxBreaks = 1000

// NewVerifier follows a chain from its beginning.
func NewVerifier() *Verifier { return &Verifier{begun: true, last: NewChain(), made: noHash} }

// Add looks at the next entry.
func (v *Verifier) Add(e *Entry) {
	v.entries++
	made := HashOf(e.Text)
	wrong := e.Wrong
	if wrong == "" && made != e.Hash {
		wrong = "it is not as it was written"
	}
	switch next := v.last.Seq + 1; {
	case !v.begun:
	case e.Seq < next:
		v.tell(e.Seq, fmt.Sprintf("it stands behind entry %d: the order was changed, or it is there twice", v.last.Seq))
		return
	case e.Seq > next:
		v.missing(next, e.Seq-1)
	case !v.doubted && wrong == "" && e.Previous != v.last.Hash && e.Previous != v.made:
		if v.last.Seq == 0 {
			v.tell(e.Seq, "it does not begin the chain: what was before it is missing")
		} else {
			v.tell(v.last.Seq, fmt.Sprintf("it was written anew: entry %d was made behind another one", e.Seq))
		}
	}
	if wrong != "" {
		v.tell(e.Seq, wrong)
	}
	v.begun, v.last, v.made, v.doubted = true, Head{e.Seq, e.Hash}, made, wrong != ""
}

func (v *Verifier) missing(from, to int64) {
	if from == to {
		v.tell(from, "it is missing")
		return
	}
	v.tell(from, fmt.Sprintf("entries %d to %d are missing", from, to))
}

func (v *Verifier) tell(seq int64, reason string) {
	if len(v.broken) >= maxBreaks {
		v.more++
		return
	}
	v.broken = append(v.broken, Break{seq, reason})
}

// End compares where the chain ends with where it should.
func (v *Verifier) End(h Head) {
	switch {
	case h.Seq == 0 && v.last.Seq > 0:
		v.tell(v.last.Seq, "the chain has no head that says where it ends")
	case v.last.Seq < h.Seq:
		v.missing(v.last.Seq+1, h.Seq)
	case v.last.Seq == h.Seq && h.Seq > 0 && h.Hash != v.last.Hash && !v.doubted:
		v.tell(h.Seq, "it was written anew: the chain's head has another hash")
	case v.last.Seq > h.Seq:
		v.tell(v.last.Seq, fmt.Sprintf("the chain's head says that it ends at entry %d", h.Seq))
	}
}

// Last is the last entry that was added.
func (v *Verifier) Last() Head { return v.last }

// Result is how many entries there were, and where the chain is broken.
func (v *Verifier) Result() (entries int64, broken []Break) {
	if v.more > 0 {
		return v.entries, append(v.broken, Break{v.last.Seq, fmt.Sprintf("and %d more breaks", v.more)})
	}
	return v.entries, v.broken
}
