package report

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// signer makes addresses that are good without credentials, for what is handed on to a browser or a program that has none. Its key is made anew at each
// start and is nowhere else: a restart ends all addresses, and reading a report again gives another.
type signer [32]byte

func newSigner() (s signer) {
	_, _ = rand.Read(s[:]) // never fails; the process would end
	return s
}

// sum binds the tenant, too: an id can never be made to speak for another tenant's report.
func (s *signer) sum(t tenant.ID, id string, expires int64) string {
	h := hmac.New(sha256.New, s[:])
	var n [8]byte
	for _, part := range [...]string{"pulsestream report", string(t), id} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], uint64(expires)) //nolint:gosec // any bits will do
	h.Write(n[:])
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// sign returns the parameters of an address.
func (s *signer) sign(t tenant.ID, id string, until time.Time) url.Values {
	return url.Values{"expires": {strconv.FormatInt(until.Unix(), 10)}, "signature": {s.sum(t, id, until.Unix())}}
}

// check says what is wrong with an address, or nil. The signature is looked at first, so that nobody learns which ids there are.
func (s *signer) check(t tenant.ID, id string, v url.Values, now time.Time) error {
	expires, err := strconv.ParseInt(v.Get("expires"), 10, 64)
	if subtle.ConstantTimeCompare([]byte(v.Get("signature")), []byte(s.sum(t, id, expires))) != 1 || err != nil {
		return ErrForbidden
	}
	if now.Unix() >= expires {
		return ErrExpired
	}
	return nil
}

// Address returns the parameters that make the path of a done report's file good for a while without credentials, and until when.
func (s *Service) Address(r *Report) (url.Values, time.Time) {
	until := s.cfg.Now().Add(urlLifetime)
	if end := r.ExpiresAt(); end.Before(until) {
		until = end
	}
	return s.signer.sign(r.Tenant, r.ID, until), until.Truncate(time.Second)
}

// Download opens the file of a report for whoever has its address. The caller closes it.
func (s *Service) Download(id string, address url.Values) (Report, *os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r Report // of nobody, when there is none of that id: nothing was ever signed for it
	if j := s.jobs[id]; j != nil {
		r = j.shown()
	}
	if err := s.signer.check(r.Tenant, id, address, s.cfg.Now()); err != nil {
		return r, nil, err
	}
	if r.State != Done {
		return r, nil, ErrNotFound
	}
	f, err := os.Open(s.path(&r, string(r.Format)))
	if os.IsNotExist(err) {
		err = ErrNotFound
	}
	return r, f, err
}
