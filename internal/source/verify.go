package source

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some vendors still sign with HMAC-SHA-1, which is not broken as a MAC
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Delivery is a webhook as it came in.
type Delivery struct {
	Header http.Header
	// Body is the raw body: a signature is over bytes, not over what they mean.
	Body []byte
	// URL is the public address of the hook, for the few schemes that sign it.
	URL string
}

// signedWith is what may be under a signature besides the body.
type signedWith struct{ timestamp, id, url string }

// Verify says whether any of the secrets made any of the delivery's signatures, and whether it was sent just now. The
// error is a *Refusal, unless the scheme itself is wrong.
//
// The signature comes first: only who knows the secret is told that its clock is wrong.
func (s *Scheme) Verify(d Delivery, secrets []string, now time.Time) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("the scheme of %s is unusable: %w", s.Header, err)
	}
	header, r := single(d.Header, s.Header)
	if r != nil {
		return r
	}
	signatures, params, r := s.parse(header)
	if r != nil {
		return r
	}
	if len(signatures) == 0 {
		return unverified(CodeBadSignature, "the header "+s.Header+" holds no signature of the kind "+strings.Join(s.Accept, " or "))
	}
	with := signedWith{url: d.URL}
	if with.timestamp, r = s.Timestamp.read(d.Header, params); r != nil {
		return r
	}
	if with.id, r = s.ID.read(d.Header, params); r != nil {
		return r
	}
	sent, r := s.sent(with.timestamp)
	if r != nil {
		return r
	}
	if r := s.match(signatures, with, d.Body, secrets); r != nil {
		return r
	}
	return s.fresh(sent, now)
}

// single reads a header that must be there just once: of two, a proxy and we might believe different ones.
func single(h http.Header, name string) (string, *Refusal) {
	switch all := h.Values(name); {
	case len(all) == 0 || len(all) == 1 && strings.TrimSpace(all[0]) == "":
		return "", unverified(CodeMissingSignature, "the header "+name+" is missing: send what the vendor signed, unchanged")
	case len(all) > 1:
		return "", unverified(CodeMalformedSignature, "the header "+name+" is there more than once")
	default:
		return all[0], nil
	}
}

// read gives a field's text, as it was sent; "" when the scheme has no such field.
func (f Field) read(h http.Header, params map[string]string) (string, *Refusal) {
	switch {
	case f == Field{}:
		return "", nil
	case f.Header != "":
		return single(h, f.Header)
	}
	if v := params[f.Param]; v != "" {
		return v, nil
	}
	return "", unverified(CodeMalformedSignature, f.String()+" is missing")
}

// parse takes the signature header apart: the signatures that count, and, for Pairs, the first value of each key.
func (s *Scheme) parse(header string) (signatures []string, params map[string]string, r *Refusal) {
	switch s.Form {
	case Prefixed:
		for _, prefix := range s.Accept {
			if rest, ok := strings.CutPrefix(header, prefix); ok {
				signatures = append(signatures, rest)
			}
		}
		return signatures, nil, nil
	case Pairs:
		return s.pairs(header)
	case Versioned:
		for entry := range strings.SplitSeq(header, " ") {
			if version, signature, ok := strings.Cut(entry, ","); ok && slices.Contains(s.Accept, version) {
				signatures = append(signatures, signature)
			}
		}
		return signatures, nil, nil
	}
	return []string{header}, nil, nil
}

func (s *Scheme) pairs(header string) (signatures []string, params map[string]string, r *Refusal) {
	separator := s.Separator
	if separator == "" {
		separator = ","
	}
	params = make(map[string]string, 4)
	for pair := range strings.SplitSeq(header, separator) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, nil, unverified(CodeMalformedSignature, "the header "+s.Header+" is not a list of key=value")
		}
		if slices.Contains(s.Accept, key) {
			signatures = append(signatures, value)
			continue
		}
		if _, twice := params[key]; twice && (key == s.Timestamp.Param || key == s.ID.Param) {
			return nil, nil, unverified(CodeMalformedSignature, "the header "+s.Header+" has "+key+"= more than once")
		}
		params[key] = value
	}
	return signatures, params, nil
}

// sent reads the timestamp; the zero time when the scheme has none.
func (s *Scheme) sent(text string) (time.Time, *Refusal) {
	if (s.Timestamp == Field{}) {
		return time.Time{}, nil
	}
	n, err := strconv.ParseUint(text, 10, 53) // digits only: no sign, no space
	if err != nil {
		return time.Time{}, unverified(CodeMalformedSignature, "the timestamp in "+s.Timestamp.String()+" is not a Unix time")
	}
	if s.Unit == time.Millisecond {
		return time.UnixMilli(int64(n)), nil
	}
	return time.Unix(int64(n), 0), nil
}

func (s *Scheme) fresh(sent, now time.Time) error {
	switch {
	case (s.Timestamp == Field{}):
		return nil
	case now.Sub(sent) > s.Past:
		return unverified(CodeStaleTimestamp, "it was signed more than "+s.Past.String()+" ago: send it anew, and check both clocks")
	case sent.Sub(now) > s.Future:
		return unverified(CodeFutureTimestamp, "it was signed more than "+s.Future.String()+" ahead of this server's clock: check both clocks")
	}
	return nil
}

// match compares the signatures as text, with what each secret gives: so a signature has one way to be written.
func (s *Scheme) match(signatures []string, with signedWith, body []byte, secrets []string) *Refusal {
	usable, matched := false, false
	for _, secret := range secrets {
		key, err := s.Key.decode(secret)
		if err != nil || len(key) == 0 {
			continue // an empty key would let anybody sign
		}
		usable = true
		want := s.sign(key, with, body)
		for _, got := range signatures {
			matched = equal(want, got) || matched
		}
	}
	switch {
	case !usable:
		return unverified(CodeNoSecret, "the source has no usable secret: set the one that the vendor signs with")
	case !matched:
		return unverified(CodeBadSignature, "no signature in "+s.Header+" was made with the source's secret over this body: compare the secret with the vendor's")
	}
	return nil
}

func (s *Scheme) sign(key []byte, with signedWith, body []byte) string {
	newHash, ok := s.Algorithm.hash()
	if !ok {
		return string(key) // Token; Check lets no other algorithm come here
	}
	mac := hmac.New(newHash, key)
	parts, _ := s.parts()
	for _, p := range parts {
		switch p.placeholder {
		case "body":
			_, _ = mac.Write(body)
		case "timestamp":
			_, _ = io.WriteString(mac, with.timestamp)
		case "id":
			_, _ = io.WriteString(mac, with.id)
		case "url":
			_, _ = io.WriteString(mac, with.url)
		default:
			_, _ = io.WriteString(mac, p.literal)
		}
	}
	if s.Encoding == Base64 {
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// equal takes the same time whatever differs, the length included.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (a Algorithm) hash() (func() hash.Hash, bool) {
	switch a {
	case HMACSHA1:
		return sha1.New, true
	case HMACSHA256:
		return sha256.New, true
	case HMACSHA384:
		return sha512.New384, true
	case HMACSHA512:
		return sha512.New, true
	}
	return nil, false
}
