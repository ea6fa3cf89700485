package awskms_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/vault/awskms"
)

// startLocal starts local-kms, which make kms-check builds, and makes two keys there. It returns the URLs of both, by alias and by ARN.
func startLocal(t *testing.T) (byAlias, byARN string) {
	t.Helper()
	program := os.Getenv("PULSESTREAM_TEST_KMS")
	if program == "" {
		t.Skip("there is no KMS by others: make kms-check builds one and sets PULSESTREAM_TEST_KMS to its program")
	}
	cmd := exec.CommandContext(t.Context(), program, t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	endpoint := strings.TrimSpace(line)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-central-1"))
	if err != nil {
		t.Fatal(err)
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = &endpoint })
	var arns []string
	for range 2 {
		made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		arns = append(arns, *made.KeyMetadata.Arn)
	}
	if _, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/pulse"), TargetKeyId: &arns[0]}); err != nil {
		t.Fatal(err)
	}
	query := "?region=eu-central-1&endpoint=" + endpoint
	return "awskms:///alias/pulse" + query, "awskms:///" + arns[1] + query
}

func TestSecretsAreEncryptedUnderKeysOfAKMSByOthersAndMoveFromAFileToItToItsNextKeyAndBack(t *testing.T) {
	first, second := startLocal(t)
	c, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), CheckEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	key := func(url string) vault.Given {
		at, err := awskms.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		k, err := awskms.Open(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		return vault.Given{k}
	}
	local, err := vault.ParseKeys("5fQ2m1rXc0T8bVvYw7uZk3N9pL4sD6gHjKaEoRiUyTQ=")
	if err != nil {
		t.Fatal(err)
	}
	put := store.Put{Tenant: "acme", Kind: store.KindSource, Slug: "s", Lookup: "token", Body: []byte(`{"secret":1}`), At: time.Now()}
	for i, masters := range []vault.Masters{vault.Given(local), vault.Several{key(first), vault.Given(local)}, key(first), vault.Several{key(second), key(first)}, key(second),
		vault.Several{vault.Given(local), key(second)}, vault.Given(local), vault.Several{key(first), vault.Given(local)}, key(first)} {
		v, err := vault.Open(t.Context(), vault.Config{Catalog: c, Masters: masters, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if i == 0 {
			if _, err := v.Put(t.Context(), put); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := v.Get(t.Context(), put.Tenant, put.Kind, put.Slug); err != nil || !bytes.Equal(r.Body, put.Body) {
			t.Fatalf("step %d: %s, %v", i, r.Body, err)
		}
		if err := v.Rotate(t.Context()); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if _, err := vault.Open(t.Context(), vault.Config{Catalog: c, Masters: vault.Given(local), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil {
		t.Error("the key of the file still opens what KMS has wrapped since")
	}
	if _, err := vault.Open(t.Context(), vault.Config{Catalog: c, Masters: key(strings.Replace(second, "key/", "key/0", 1)), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil {
		t.Error("a key that KMS does not have is taken")
	}
}
