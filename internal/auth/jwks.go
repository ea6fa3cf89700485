package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// KeySet is the public keys of one issuer (RFC 7517), by their ids. What it verifies was signed by one of these keys with the algorithm that the key
// is for: nothing that a token says of itself chooses either.
type KeySet struct {
	keys map[string]jose.JSONWebKey
}

// Bounds of a key set and of a token.
const (
	maxKeys        = 100
	maxKeySetBytes = 256 << 10
	maxTokenBytes  = 8 << 10
	leastRSABits   = 2048
	mostRSABits    = 8192
)

// algorithms is what a token may be signed with: asymmetric ones only, so that a public key can never be taken for a shared secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// errToken is why a token is refused; callers are told ErrBadCredentials.
var errToken = errors.New("not a token that is trusted here")

// ParseKeySet reads a JWKS. Keys for something else than signatures are left out; a set that is ambiguous, or has a key that is too weak or not what it
// says, is refused as a whole.
func ParseKeySet(b []byte) (*KeySet, error) { return parseKeySet(b, algorithms()) }

// parseKeySet is ParseKeySet where only some algorithms are taken: keys for others are left out, and a key that names none is for the first of them that
// fits it.
func parseKeySet(b []byte, allowed []jose.SignatureAlgorithm) (*KeySet, error) {
	if len(b) > maxKeySetBytes {
		return nil, fmt.Errorf("a key set has at most %d bytes", maxKeySetBytes)
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("this is no key set: %w", err)
	}
	if len(raw.Keys) == 0 || len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("a key set has 1 to %d keys, not %d", maxKeys, len(raw.Keys))
	}
	set := &KeySet{keys: map[string]jose.JSONWebKey{}}
	for i, r := range raw.Keys {
		key, usable, err := parseKey(r, allowed)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if !usable {
			continue
		}
		if _, twice := set.keys[key.KeyID]; twice {
			return nil, fmt.Errorf("two keys have the id %q: which one is meant is ambiguous", key.KeyID)
		}
		set.keys[key.KeyID] = key
	}
	return set, nil
}

// parseKey reads one key; usable is false for one that is for something else.
func parseKey(b []byte, allowed []jose.SignatureAlgorithm) (key jose.JSONWebKey, usable bool, err error) {
	var about struct {
		KeyType    string   `json:"kty"`
		Use        string   `json:"use"`
		Operations []string `json:"key_ops"`
		Private    string   `json:"d"`
	}
	if err := json.Unmarshal(b, &about); err != nil {
		return key, false, err
	}
	switch {
	case about.KeyType == "oct":
		return key, false, errors.New("a shared secret has no place in a set of public keys")
	case about.Private != "":
		return key, false, errors.New("it is a private key: publish the public one, and replace this one")
	}
	if about.Use != "" && about.Use != "sig" || about.Operations != nil && !slices.Contains(about.Operations, "verify") {
		return key, false, nil // it need not be of a kind that is known here
	}
	if err := key.UnmarshalJSON(b); err != nil {
		return key, false, err
	}
	if err := checkKey(&key, allowed); err != nil {
		return key, false, err
	}
	return key, slices.Contains(allowed, jose.SignatureAlgorithm(key.Algorithm)), nil
}

// checkKey finds out whether a key can be trusted, and sets its algorithm.
func checkKey(key *jose.JSONWebKey, allowed []jose.SignatureAlgorithm) error {
	var fit []jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < leastRSABits || bits > mostRSABits {
			return fmt.Errorf("an RSA key has %d to %d bits, not %d", leastRSABits, mostRSABits, bits)
		}
		if k.E < 3 || k.E%2 == 0 {
			return fmt.Errorf("an RSA key cannot have the exponent %d", k.E)
		}
		if isROCA(k.N) {
			return errors.New("this RSA key can be factored (CVE-2017-15361)")
		}
		fit = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil { // it is on its curve
			return err
		}
		switch k.Curve.Params().BitSize {
		case 256:
			fit = []jose.SignatureAlgorithm{jose.ES256}
		case 384:
			fit = []jose.SignatureAlgorithm{jose.ES384}
		case 521:
			fit = []jose.SignatureAlgorithm{jose.ES512}
		}
	case ed25519.PublicKey:
		fit = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if key.Algorithm == "" && len(fit) > 0 {
		key.Algorithm = string(fit[0])
		if i := slices.IndexFunc(allowed, func(a jose.SignatureAlgorithm) bool { return slices.Contains(fit, a) }); i >= 0 {
			key.Algorithm = string(allowed[i])
		}
	}
	if !slices.Contains(fit, jose.SignatureAlgorithm(key.Algorithm)) {
		return fmt.Errorf("a %T cannot be used with the algorithm %q", key.Key, key.Algorithm)
	}
	return nil
}

// isROCA recognizes moduli that a widespread chip's library made: modulo each of these primes they are powers of 65537. Of others one in 2^27 is.
// The primes are from Nemec et al., "The Return of Coppersmith's Attack", CCS 2017.
func isROCA(n *big.Int) bool {
	for _, p := range []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			if power == rest {
				found = true
				break
			}
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// header is what is read of a token's header.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// compact takes a token apart without believing any of it. Only the compact form is taken, and only what is written the one way it can be.
func compact(token string) (h header, payload []byte, err error) {
	if len(token) > maxTokenBytes || strings.Count(token, ".") != 2 {
		return h, nil, errToken
	}
	var parts [3][]byte
	i := 0
	for part := range strings.SplitSeq(token, ".") {
		if parts[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return h, nil, errToken
		}
		i++
	}
	h, err = readHeader(parts[0])
	return h, parts[1], err
}

// verify returns what was signed.
func (s *KeySet) verify(token string) (h header, payload []byte, err error) {
	if h, _, err = compact(token); err != nil {
		return h, nil, errToken
	}
	key, ok := s.key(h.KeyID)
	if !ok || key.Algorithm != h.Algorithm {
		return h, nil, errToken
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm)})
	if err != nil {
		return h, nil, errToken
	}
	if payload, err = signed.Verify(key.Key); err != nil || !saltFits(token, &key) {
		return h, nil, errToken
	}
	return h, payload, nil
}

// saltFits says whether a signature with PSS has a salt as long as its hash (RFC 7518, section 3.5), which the library leaves open. Other signatures
// have none.
func saltFits(token string, key *jose.JSONWebKey) bool {
	hash, ok := map[jose.SignatureAlgorithm]crypto.Hash{jose.PS256: crypto.SHA256, jose.PS384: crypto.SHA384, jose.PS512: crypto.SHA512}[jose.SignatureAlgorithm(key.Algorithm)]
	if !ok {
		return true
	}
	public, isRSA := key.Key.(*rsa.PublicKey)
	end := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
	if err != nil || !isRSA {
		return false
	}
	digest := hash.New()
	_, _ = io.WriteString(digest, token[:end])
	return rsa.VerifyPSS(public, hash, digest.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

// key is the one with an id; a token may leave the id out where there is only one.
func (s *KeySet) key(id string) (jose.JSONWebKey, bool) {
	if id == "" && len(s.keys) == 1 {
		for _, k := range s.keys {
			return k, true
		}
	}
	k, ok := s.keys[id]
	return k, ok
}

// readHeader refuses what would have to be understood or followed: critical extensions, keys and addresses of keys, members that are there twice.
func readHeader(b []byte) (h header, err error) {
	m, err := members(b)
	if err != nil {
		return h, err
	}
	for _, name := range []string{"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"} {
		if _, there := m[name]; there {
			return h, errToken
		}
	}
	for name, to := range map[string]*string{"alg": &h.Algorithm, "kid": &h.KeyID, "typ": &h.Type} {
		if value, there := m[name]; there && json.Unmarshal(value, to) != nil {
			return h, errToken
		}
	}
	return h, nil
}

func (h header) algorithm() jose.SignatureAlgorithm { return jose.SignatureAlgorithm(h.Algorithm) }

// isAccessToken says whether a header is that of an access token (RFC 9068), and of no other kind of JWT.
func (h header) isAccessToken() bool {
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(h.Type), "application/"), tokenType)
}

// members is a JSON object's members by their exact names, none of them there twice.
func members(b []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errToken
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if _, twice := out[name]; err != nil || !ok || twice {
			return nil, errToken
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errToken
		}
		out[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errToken
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errToken
	}
	return out, nil
}
