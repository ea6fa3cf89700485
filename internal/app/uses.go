package app

import (
	"github.com/pulsestream/pulsestream/internal/audit"
	"github.com/pulsestream/pulsestream/internal/auth"
)

// keys authenticates keys and tokens, and notes when each key was used last.
func (a *App) keys(things *audit.Catalog, tokens *auth.Tokens) *auth.Keys {
	uses := auth.NewUses(things, a.opts.Log)
	a.whileRunning(uses.Run)
	return auth.NewKeys(things, tokens).Noting(uses)
}
