// Package awskms has data keys wrapped by a key of AWS KMS, which never leaves it.
package awskms

import (
	"context"
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

// Parse reads the URL of a key: awskms:///KEY?region=REGION, where KEY is an id, an ARN, or alias/NAME. With an endpoint, of a private network perhaps,
// that is asked instead of the region's own.
func Parse(raw string) (key, region, endpoint string, err error) {
	const form = "write it as awskms:///KEY?region=REGION, where KEY is a key's id or ARN, or alias/NAME"
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != scheme || u.User != nil || u.Fragment != "" {
		return "", "", "", fmt.Errorf("it is not the URL of a key: %s", form)
	}
	key = strings.TrimPrefix(u.Host+u.Path, "/")
	q := u.Query()
	region, endpoint = q.Get("region"), q.Get("endpoint")
	for name := range q {
		if name != "region" && name != "endpoint" {
			return "", "", "", fmt.Errorf("it has the unknown parameter %q: %s", name, form)
		}
	}
	if key == "" {
		return "", "", "", fmt.Errorf("it names no key: %s", form)
	}
	if e, err := url.Parse(endpoint); endpoint != "" && (err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https") {
		return "", "", "", fmt.Errorf("its endpoint %q is not the URL of a server", endpoint)
	}
	return key, region, endpoint, nil
}

// Open reads the URL of a key, and the credentials and settings that AWS's tools read too: variables, files, and what the machine or the pod is given. The key itself is asked
// when it is needed.
func Open(ctx context.Context, raw string) (*Key, error) {
	name, region, endpoint, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	var options []func(*config.LoadOptions) error
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the settings for AWS: %w", err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("the region is not known: add ?region=REGION to the URL, or set AWS_REGION")
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return &Key{client: client, name: name}, nil
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
