package source

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Scheme says how a vendor signs its webhooks.
type Scheme struct {
	// Header carries the signature or signatures, in the given Form.
	Header string
	Form   Form
	// Separator stands between the pairs of Pairs; "," when empty.
	Separator string
	// Accept lists the prefixes, keys or versions whose signatures count; all others are ignored, so that a vendor's
	// newer or weaker signature beside them does no harm. Plain needs none.
	Accept []string
	// Signed is what the signature is over: text in which {body}, {timestamp}, {id} and {url} stand for the raw body, the
	// timestamp and id as sent, and the public address of the hook.
	Signed    string
	Algorithm Algorithm
	Encoding  Encoding
	Key       Key
	// Timestamp is where the time of sending stands, in Unix time counted in Unit (seconds when 0). Without it there is no
	// tolerance.
	Timestamp Field
	Unit      time.Duration
	// Past and Future are how far the timestamp may lie from the clock. A vendor's retry has a fresh timestamp, so this
	// bounds the replay of a delivery that was listened in on, not the lateness of an event.
	Past, Future time.Duration
	// ID is where the id stands that {id} means.
	ID Field
}

// Form is how a header holds signatures.
type Form string

// The forms.
const (
	Plain     Form = "plain"     // the signature and nothing else
	Prefixed  Form = "prefixed"  // sha256=<signature>
	Pairs     Form = "pairs"     // t=<timestamp>,v1=<signature>,v1=<signature>
	Versioned Form = "versioned" // v1,<signature> v1a,<another>
)

// Algorithm is how a signature is made.
type Algorithm string

// The algorithms. Token is none: the vendor sends the secret itself, as some do, and nothing protects the body.
const (
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA384 Algorithm = "hmac-sha384"
	HMACSHA512 Algorithm = "hmac-sha512"
	Token      Algorithm = "token"
)

// Encoding is how a signature is written.
type Encoding string

// The encodings: lower-case hexadecimal, and base64 with padding.
const (
	Hex    Encoding = "hex"
	Base64 Encoding = "base64"
)

// Key says how a secret becomes a key: as it is, or Base64-decoded behind Prefix (which may be left out).
type Key struct {
	Prefix string
	Base64 bool
}

func (k Key) decode(secret string) ([]byte, error) {
	if !k.Base64 {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, k.Prefix))
	if err != nil {
		return nil, fmt.Errorf("what follows %q is not base64", k.Prefix)
	}
	return key, nil
}

// Field is a place where a value stands; just one of the three is set.
type Field struct {
	Header string // a header
	Param  string // a key of the signature header (Pairs)
	Path   string // a path into the JSON body, e.g. "data.object.id"
}

func (f Field) String() string {
	switch {
	case f.Header != "":
		return "the header " + f.Header
	case f.Param != "":
		return f.Param + "= in the signature header"
	}
	return f.Path + " in the body"
}

// part is a stretch of Scheme.Signed: literal text, or a placeholder.
type part struct{ literal, placeholder string }

func (s *Scheme) parts() ([]part, error) {
	parts := make([]part, 0, 5)
	for rest := s.Signed; rest != ""; {
		literal, behind, found := strings.Cut(rest, "{")
		if literal != "" {
			parts = append(parts, part{literal: literal})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(behind, "}")
		if !closed {
			return nil, errors.New("signed: a { without }")
		}
		switch name {
		case "body", "timestamp", "id", "url":
			parts = append(parts, part{placeholder: name})
		default:
			return nil, fmt.Errorf("signed: unknown placeholder {%s}", name)
		}
		rest = after
	}
	return parts, nil
}

// Check says what is wrong with a scheme. Verify begins with it: a scheme that says too little must refuse everything
// rather than accept anything.
func (s *Scheme) Check() error {
	if _, err := s.parts(); err != nil {
		return err
	}
	signs := func(name string) bool { return strings.Contains(s.Signed, "{"+name+"}") }
	_, known := s.Algorithm.hash()
	dated := s.Timestamp != Field{}
	switch {
	case s.Header == "":
		return errors.New("header: name the one that carries the signature")
	case s.Form != Plain && s.Form != Prefixed && s.Form != Pairs && s.Form != Versioned:
		return fmt.Errorf("form: unknown %q", s.Form)
	case (s.Form == Plain) != (len(s.Accept) == 0):
		return fmt.Errorf("accept: the form %q takes %d entries", s.Form, len(s.Accept))
	case s.Algorithm != Token && !known:
		return fmt.Errorf("algorithm: unknown %q", s.Algorithm)
	case s.Algorithm == Token && (s.Signed != "" || s.Encoding != "" || s.Key != Key{}):
		return errors.New("algorithm: a token signs nothing")
	case s.Algorithm != Token && !signs("body"):
		return errors.New("signed: the body must be under the signature")
	case s.Algorithm != Token && s.Encoding != Hex && s.Encoding != Base64:
		return fmt.Errorf("encoding: unknown %q", s.Encoding)
	case dated != signs("timestamp"):
		return errors.New("timestamp: it must be both found and signed")
	case (s.ID != Field{}) != signs("id"):
		return errors.New("id: it must be both found and signed")
	case dated && (s.Past <= 0 || s.Future <= 0):
		return errors.New("tolerance: a timestamp needs both bounds")
	case s.Unit != 0 && s.Unit != time.Second && s.Unit != time.Millisecond:
		return fmt.Errorf("unit: timestamps in units of %s are unknown", s.Unit)
	case s.Timestamp.Path != "" || s.ID.Path != "":
		return errors.New("timestamp and id: the body is not read before it is verified")
	case s.Form != Pairs && (s.Timestamp.Param != "" || s.ID.Param != ""):
		return fmt.Errorf("timestamp and id: the form %q has no keys", s.Form)
	}
	return nil
}

// Limits of a source's secrets.
const (
	MaxSecrets     = 4 // a rotation needs two
	MaxSecretBytes = 1024
)

// CheckSecrets says why these secrets cannot be those of a source, or nil.
func (s *Scheme) CheckSecrets(secrets []string) error {
	if len(secrets) == 0 {
		return errors.New("a source needs the secret that the vendor signs with")
	}
	if len(secrets) > MaxSecrets {
		return fmt.Errorf("a source has at most %d secrets: remove those that are rotated out", MaxSecrets)
	}
	for _, secret := range secrets {
		if secret == "" || strings.TrimSpace(secret) != secret {
			return errors.New("a secret must not be empty, nor begin or end with white space: copy it again")
		}
		if len(secret) > MaxSecretBytes {
			return fmt.Errorf("a secret has at most %d bytes", MaxSecretBytes)
		}
		key, err := s.Key.decode(secret)
		if err != nil {
			return fmt.Errorf("the secret cannot be used: %w: copy it again, whole", err)
		}
		if len(key) == 0 {
			return errors.New("the secret cannot be used: nothing follows its prefix: copy it again, whole")
		}
	}
	return nil
}
