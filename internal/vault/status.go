package vault

import (
	"context"
	"time"
)

// Status is how secrets are kept.
type Status struct {
	// Encrypted is false while they are plain text, because no master key was given.
	Encrypted bool
	Master    string // ID of the master key that wraps
	Own       bool   // the server has made it itself
	Keys      []KeyStatus
	Bodies    int // resources that hold secrets
	Plain     int // of those that are still plain text
	// Rotating: bodies are being sealed anew, by this process or by another one, or are to be.
	Rotating bool
	Trouble  string // why the last attempt of this process at that did not come to its end
}

// KeyStatus is a data key.
type KeyStatus struct {
	Number  int64
	Master  string // ID of the master key that it is encrypted under
	MadeAt  time.Time
	Current bool
	Bodies  int // that are sealed under it
}

// Status counts.
func (v *Catalog) Status(ctx context.Context) (Status, error) {
	if err := v.keys.load(ctx); err != nil {
		return Status{}, err
	}
	s := Status{Encrypted: v.keys.encrypts(), Own: v.keys.own}
	if masters := v.keys.masterKeys(); len(masters) > 0 {
		s.Master = masters[0].ID()
	}
	under := map[int64]int{}
	for _, kind := range sealedKinds() {
		rs, err := v.Catalog.List(ctx, "", kind)
		if err != nil {
			return s, err
		}
		s.Bodies += len(rs)
		for i := range rs {
			number, _, err := numberOf(rs[i].Body)
			if err != nil {
				s.Plain++
				continue
			}
			under[number]++
		}
	}
	newest := v.keys.newest()
	for _, k := range v.keys.list() {
		s.Keys = append(s.Keys, KeyStatus{Number: k.Number, Master: k.Master, MadeAt: k.MadeAt, Current: k.Number == newest, Bodies: under[k.Number]})
	}
	s.Rotating = s.Encrypted && under[newest] < s.Bodies
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Trouble = v.trouble
	return s, nil
}

// Concern says what people should know of how secrets are kept, or nothing.
func (v *Catalog) Concern() string {
	if !v.keys.encrypts() {
		return "kept as plain text: no master key was given, see PULSESTREAM_SECRETS_KEY"
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.trouble
}
