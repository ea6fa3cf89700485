package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/config"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/vault"
	"github.com/pulsestream/pulsestream/internal/vault/awskms"
)

// upgradePatience is how long a fleet's processes wait before they encrypt what was plain text: those of the version before, or without a key yet, that a rolling
// upgrade has still to replace could not read it.
const upgradePatience = 2 * time.Minute

// openVault wraps the catalog, so that secrets in it are encrypted under the master key that was given, or that a server alone makes for itself.
func (a *App) openVault(ctx context.Context, things store.Catalog, secrets config.Secrets) (store.Catalog, error) {
	cfg := vault.Config{Catalog: things, Log: a.opts.Log, Now: a.opts.Now}
	given, err := a.givenKeys(ctx, secrets)
	if err != nil {
		return nil, err
	}
	hint := "give PULSESTREAM_SECRETS_KEY, --secrets-key or --secrets-kms as it was; a new key beside the old one, not in its place"
	own := vault.OwnIn(a.cfg.DataDir)
	switch {
	case a.cfg.Fleet():
		cfg.Masters, cfg.Patience = given, upgradePatience
	case len(given) > 0:
		cfg.Masters = append(given, own) // that it has made before it was given one
	default:
		cfg.Masters = own
		hint = "put back " + own.Path + ", which this server has made, or " + hint
	}
	v, err := vault.Open(ctx, cfg)
	if errors.Is(err, vault.ErrNoKey) {
		err = fmt.Errorf("%w: %s", err, hint)
	}
	if err != nil {
		return nil, err
	}
	if why := v.Concern(); why != "" {
		a.opts.Log.Warn("secrets in the catalog are " + why)
	}
	a.vault = v
	a.whileRunning(v.Run)
	return v, nil
}

// givenKeys are the master keys of the settings, what wraps first.
func (a *App) givenKeys(ctx context.Context, secrets config.Secrets) (given vault.Several, err error) {
	if secrets.SecretsKey != "" {
		keys, err := vault.ParseKeys(secrets.SecretsKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config.SecretsKeyVariable, err)
		}
		given = append(given, vault.Given(keys))
	}
	if path := a.cfg.SecretsKey; path != "" {
		if secrets.SecretsKey != "" {
			return nil, fmt.Errorf("both --secrets-key and %s are given: leave one out", config.SecretsKeyVariable)
		}
		file := vault.File{Path: path}
		if _, err := file.Masters(ctx); err != nil {
			return nil, fmt.Errorf("--secrets-key: %w", err)
		}
		given = append(given, file)
	}
	if a.cfg.SecretsKMS == "" {
		return given, nil
	}
	at, err := awskms.Parse(a.cfg.SecretsKMS)
	if err != nil {
		return nil, fmt.Errorf("--secrets-kms: %w", err)
	}
	kms, err := awskms.Open(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("--secrets-kms: %w", err)
	}
	if at.Retired {
		if len(given) == 0 {
			return nil, errors.New("--secrets-kms: a key that is retired needs another in its place: give --secrets-key too")
		}
		return append(given, vault.Given{kms}), nil
	}
	return append(vault.Several{vault.Given{kms}}, given...), nil
}
