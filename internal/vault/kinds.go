package vault

import (
	"maps"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store"
)

// KindDataKey is a key that bodies are sealed with, wrapped by the master key. It is the installation's, not a tenant's.
const KindDataKey = store.KindDataKey

// sealed says of every kind whether its bodies hold secrets. A test holds it against the kinds that there are; one that has no row is sealed.
var sealed = map[store.Kind]bool{
	store.KindTenant:      false, // name, retention, limits
	store.KindKey:         false, // name and role; the key itself is not there, its hash is the lookup
	store.KindSigningKey:  true,  // private keys
	store.KindTokenIssuer: false, // public keys, and where they are
	store.KindMember:      true,  // a password's hash, the secret of one-time codes
	store.KindSession:     false, // the cookie is not there, its hash is the lookup
	store.KindProvider:    true,  // the client's secret
	store.KindGroup:       false, // a name
	store.KindUsed:        false, // a hash, and until when
	store.KindDataKey:     false, // wrapped by the master key
	store.KindSource:      true,  // vendors' secrets, and the token of the hook
	store.KindMetric:      false,
	store.KindRule:        false,
	store.KindChannel:     true, // signing secrets, passwords
	store.KindNote:        false,
	store.KindTransition:  false,
	store.KindCursor:      false,
}

// holdsSecrets says whether bodies of a kind are sealed.
func holdsSecrets(k store.Kind) bool {
	s, known := sealed[k]
	return s || !known
}

// sealedKinds are those whose bodies are sealed, in a fixed order.
func sealedKinds() []store.Kind {
	var out []store.Kind
	for _, k := range slices.Sorted(maps.Keys(sealed)) {
		if sealed[k] {
			out = append(out, k)
		}
	}
	return out
}
