// Package awskms has data keys wrapped by a key of AWS KMS, which never leaves it.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

const (
	scheme = "awskms"
	// idPrefix begins the ID of every master key that is one of AWS KMS.
	idPrefix = scheme + ":"
	// callTime bounds a call, with all its repetitions.
	callTime = 15 * time.Second
	// boundName is the name of what a wrapped key is bound to in KMS's encryption context, which AWS writes into its log of who used the key for what.
	boundName = "pulsestream"
)

// Key is a symmetric key of AWS KMS. It is a vault.Master.
type Key struct {
	client *kms.Client
	name   string
}

// Address is the URL of a key, read.
type Address struct {
	Key      string // an id, an ARN, or alias/NAME
	Region   string // AWS's own setting when empty
	Endpoint string // asked instead of the region's, of a private network perhaps
	// Retired: it only opens what it has wrapped, until another master key has wrapped all of it.
	Retired bool
}

// Parse reads awskms:///KEY?region=REGION&endpoint=URL&retired=true, of which only KEY has to be there.
func Parse(raw string) (a Address, err error) {
	const form = "write it as awskms:///KEY?region=REGION, where KEY is a key's id or ARN, or alias/NAME"
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != scheme || u.User != nil || u.Fragment != "" {
		return a, fmt.Errorf("it is not the URL of a key: %s", form)
	}
	for name, values := range u.Query() {
		switch value := values[0]; {
		case name == "region":
			a.Region = value
		case name == "endpoint":
			a.Endpoint = value
		case name == "retired" && (value == "true" || value == "false"):
			a.Retired = value == "true"
		default:
			return a, fmt.Errorf("its parameter %s=%q is not known: %s", name, value, form)
		}
	}
	if a.Key = strings.TrimPrefix(u.Host+u.Path, "/"); a.Key == "" {
		return a, fmt.Errorf("it names no key: %s", form)
	}
	if e, err := url.Parse(a.Endpoint); a.Endpoint != "" && (err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https") {
		return a, fmt.Errorf("its endpoint %q is not the URL of a server", a.Endpoint)
	}
	return a, nil
}

// Open reads the credentials and settings that AWS's tools read too: variables, files, and what the machine or the pod is given. The key itself is asked
// when it is needed.
func Open(ctx context.Context, a Address) (*Key, error) {
	var options []func(*config.LoadOptions) error
	if a.Region != "" {
		options = append(options, config.WithRegion(a.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the settings for AWS: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("the region is not known: add ?region=REGION to the URL, or set AWS_REGION")
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) {
		if a.Endpoint != "" {
			o.BaseEndpoint = aws.String(a.Endpoint)
		}
	})
	return &Key{client: client, name: a.Key}, nil
}

// ID names the key as the settings do.
func (k *Key) ID() string { return idPrefix + k.name }

// Opens says that any key of AWS KMS may have wrapped it: what is wrapped says itself by which.
func (k *Key) Opens(id string) bool { return strings.HasPrefix(id, idPrefix) }

// Wrap has KMS encrypt a data key.
func (k *Key) Wrap(ctx context.Context, key []byte, boundTo string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &k.name, Plaintext: key, EncryptionContext: map[string]string{boundName: boundTo}})
	if err != nil {
		return nil, fmt.Errorf("AWS KMS does not encrypt: %w", err)
	}
	return out.CiphertextBlob, nil
}

// Unwrap has KMS decrypt it.
func (k *Key) Unwrap(ctx context.Context, wrapped []byte, boundTo string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: wrapped, EncryptionContext: map[string]string{boundName: boundTo}})
	if err != nil {
		return nil, fmt.Errorf("AWS KMS does not decrypt: %w", err)
	}
	return out.Plaintext, nil
}
