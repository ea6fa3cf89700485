package auth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// vectors are the groups of a file of published test vectors (Wycheproof), which are not part of this repository.
func vectors(t *testing.T, name string) []vectorGroup {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "crypto", name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("the published vectors are not there: %v", err)
	}
	var file struct{ TestGroups []vectorGroup }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.TestGroups
}

type vectorGroup struct {
	Comment         string
	Private, Public json.RawMessage
	Tests           []struct {
		ID      int `json:"tcId"`
		Comment string
		JWS     json.RawMessage `json:"jws"`
		JWE     json.RawMessage `json:"jwe"`
		Result  string
	}
}

// keys is the group's key or key set as a key set, without what is private.
func (g *vectorGroup) keys(t *testing.T) []byte {
	t.Helper()
	raw := g.Public
	if raw == nil {
		raw = g.Private
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil || set.Keys == nil {
		var one map[string]any
		if err := json.Unmarshal(raw, &one); err != nil {
			t.Fatal(err)
		}
		set.Keys = []map[string]any{one}
	}
	for _, k := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			delete(k, private)
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verified says whether a token is taken by the keys of a group.
func verified(keys []byte, token json.RawMessage) bool {
	set, err := ParseKeySet(keys)
	if err != nil {
		return false
	}
	var compact string
	if json.Unmarshal(token, &compact) != nil {
		compact = string(token)
	}
	_, _, err = set.verify(compact)
	return err == nil
}

// supported says whether all keys of a set are for algorithms that are taken here.
func supported(keys []byte) bool {
	var set struct {
		Keys []struct{ Alg string }
	}
	if json.Unmarshal(keys, &set) != nil {
		return false
	}
	return !slices.ContainsFunc(set.Keys, func(k struct{ Alg string }) bool {
		return !slices.Contains(algorithms(), jose.SignatureAlgorithm(k.Alg))
	})
}

func TestEveryPublishedInvalidTokenIsRefusedAndValidOnesAreTaken(t *testing.T) {
	for file, least := range map[string]int{"json_web_signature_test.json": 355, "json_web_key_test.json": 21, "json_web_crypto_test.json": 77} {
		invalid, valid := 0, 0
		for _, g := range vectors(t, file) {
			keys := g.keys(t)
			for _, v := range g.Tests {
				token := v.JWS
				if token == nil {
					token = v.JWE
				}
				taken := verified(keys, token)
				switch {
				case v.Result == "invalid":
					invalid++
					if taken {
						t.Errorf("%s %d (%s, %s) is taken", file, v.ID, g.Comment, v.Comment)
					}
				case supported(keys) && v.Comment != "Figure20": // its key is for PS256, and it is signed by PS384
					valid++
					if !taken {
						t.Errorf("%s %d (%s, %s) is refused", file, v.ID, g.Comment, v.Comment)
					}
				case taken:
					t.Errorf("%s %d (%s, %s) is taken, of an algorithm that is not", file, v.ID, g.Comment, v.Comment)
				}
			}
		}
		if invalid < least || valid == 0 {
			t.Errorf("%s: %d invalid and %d valid ones, there should be %d and some", file, invalid, valid, least)
		}
	}
}

func TestAMegabyteOfDotsIsRefusedAtOnce(t *testing.T) {
	set := &KeySet{}
	dots := strings.Repeat(".", 1<<20)
	keys := NewKeys(newCatalog(t), nil)
	least := time.Hour
	for range 20 { // the quickest says what it costs, whatever else the machine does
		began := time.Now()
		if _, _, err := set.verify(dots); err == nil {
			t.Fatal("it is taken")
		}
		if _, err := keys.Authenticate(t.Context(), dots, start()); err == nil {
			t.Fatal("it is taken")
		}
		least = min(least, time.Since(began))
	}
	if least > time.Millisecond {
		t.Errorf("refusing it takes %s", least)
	}
}
