// Command provider is a real OpenID Connect provider for tests: the one that comes with zitadel/oidc, on a free port of this machine, with one client.
// It prints its issuer, and ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// grouped is the provider's storage, with groups in what it says of people.
type grouped struct{ *storage.Storage }

// SetUserinfoFromToken implements op.Storage.
func (g grouped) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, token, subject, origin string) error {
	err := g.Storage.SetUserinfoFromToken(ctx, info, token, subject, origin)
	info.AppendClaims("groups", []string{"everybody", "staff"})
	return err
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: provider CLIENT_ID CLIENT_SECRET REDIRECT_URI…")
		os.Exit(2)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	issuer := "http://" + l.Addr().String()
	storage.RegisterClients(storage.WebClient(os.Args[1], os.Args[2], os.Args[3:]...))
	handler := exampleop.SetupServer(issuer, grouped{storage.NewStorage(storage.NewUserStore(issuer))}, slog.New(slog.DiscardHandler), false)
	fmt.Println(issuer)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.Serve(l, handler))
	os.Exit(1)
}
