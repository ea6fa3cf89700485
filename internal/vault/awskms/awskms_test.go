package awskms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/vault/awskms"
)

var _ vault.Master = (*awskms.Key)(nil)

// server speaks Encrypt and Decrypt of AWS KMS's API. It is ours, so it only shows that we say what the API asks for; a KMS by others is in check/.
type server struct {
	*httptest.Server
	aead cipher.AEAD
	down atomic.Bool
	asks atomic.Int64
}

func serve(t *testing.T) *server {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asks.Add(1)
	var in struct {
		KeyID             string `json:"KeyId"`
		Plaintext         []byte
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	fail := func(status int, kind string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, kind)
	}
	signed := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=id/") && strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/kms/aws4_request")
	if json.NewDecoder(r.Body).Decode(&in) != nil || s.down.Load() || !signed {
		fail(http.StatusInternalServerError, "KMSInternalException")
		return
	}
	context := []byte(fmt.Sprint(in.EncryptionContext)) // maps are printed in order
	out := map[string]any{"KeyId": "arn:aws:kms:eu-central-1:1:key/k"}
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		if in.KeyID != "alias/pulse" {
			fail(http.StatusBadRequest, "NotFoundException")
			return
		}
		out["CiphertextBlob"] = s.aead.Seal(nil, nil, in.Plaintext, context)
	case "TrentService.Decrypt":
		plain, err := s.aead.Open(nil, nil, in.CiphertextBlob, context)
		if err != nil {
			fail(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		out["Plaintext"] = plain
	default:
		fail(http.StatusBadRequest, "UnknownOperationException")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		panic(err)
	}
}

func TestAKeyIsWrappedAndUnwrappedByKMSForWhatItIsBoundToOnly(t *testing.T) {
	s := serve(t)
	k, err := awskms.Open(t.Context(), awskms.Address{Key: "alias/pulse", Region: "eu-central-1", Endpoint: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if s.asks.Load() != 0 || k.ID() != "awskms:alias/pulse" || !k.Opens("awskms:another") || k.Opens("key:0123") {
		t.Errorf("%d requests, %s", s.asks.Load(), k.ID())
	}
	key := bytes.Repeat([]byte{1, 2}, 16)
	wrapped, err := k.Wrap(t.Context(), key, "data key 1")
	if err != nil || bytes.Contains(wrapped, key) {
		t.Fatal(wrapped, err)
	}
	if got, err := k.Unwrap(t.Context(), wrapped, "data key 1"); err != nil || !bytes.Equal(got, key) {
		t.Errorf("%x, %v", got, err)
	}
	if got, err := k.Unwrap(t.Context(), wrapped, "data key 2"); err == nil {
		t.Errorf("what was wrapped for another opens: %x", got)
	}
	s.down.Store(true)
	if _, err := k.Wrap(t.Context(), key, "data key 1"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("while KMS is away: %v", err)
	}
}

func TestTheURLOfAKeyIsReadOrRefusedWithAReason(t *testing.T) {
	for raw, want := range map[string]awskms.Address{
		"awskms:///1234abcd-12ab?region=eu-west-1":                           {Key: "1234abcd-12ab", Region: "eu-west-1"},
		"awskms://alias/pulse":                                               {Key: "alias/pulse"},
		"awskms:///arn:aws:kms:us-east-1:111122223333:key/1234?region=r":     {Key: "arn:aws:kms:us-east-1:111122223333:key/1234", Region: "r"},
		"awskms:///k?region=r&endpoint=https%3A%2F%2Fvpce-1.kms.example.com": {Key: "k", Region: "r", Endpoint: "https://vpce-1.kms.example.com"},
		"awskms:///k?retired=true":                                           {Key: "k", Retired: true},
	} {
		if got, err := awskms.Parse(raw); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{"", "key", "gcpkms://k", "awskms://", "awskms:///", "awskms://user:pass@k", "awskms:///k?what=1", "awskms:///k?retired=perhaps", "awskms:///k?endpoint=nowhere", "awskms:///k#f", "awskms:///%zz"} {
		if a, err := awskms.Parse(raw); err == nil {
			t.Errorf("%q is taken as %+v", raw, a)
		}
	}
}
