package postgres

import (
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errSettings is for what an operator has to change; what wraps it says what and how.
var errSettings = errors.New("PostgreSQL cannot be used")

// explain turns what went wrong at the start into one line for the operator. It names user, host and database, and never the password.
func explain(c *pgx.ConnConfig, err error) error {
	if errors.Is(err, errSettings) {
		return err
	}
	at := fmt.Sprintf("%s:%d", c.Host, c.Port)
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		var refused *net.OpError
		var unknown *net.DNSError
		var connect *pgconn.ConnectError
		switch {
		case errors.As(err, &unknown):
			return fmt.Errorf("%w: the host %s is not known: check the URL", errSettings, c.Host)
		case errors.As(err, &refused), errors.As(err, &connect):
			return fmt.Errorf("%w: no PostgreSQL answers at %s: start it, or check host, port and sslmode of the URL (%s)", errSettings, at, plain(err))
		}
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	switch answer.Code {
	case "28P01", "28000":
		return fmt.Errorf("%w: the server at %s does not let %q in: check user and password of the URL, and pg_hba.conf (%s)", errSettings, at, c.User, answer.Message)
	case "3D000":
		return fmt.Errorf(`%w: the server at %s has no database %q: CREATE DATABASE %s OWNER %s, or check the URL`, errSettings, at, c.Database, quoted(c.Database), quoted(c.User))
	case "42501":
		return fmt.Errorf(`%w: %q lacks rights in database %q: make it the database's owner (%s)`, errSettings, c.User, c.Database, answer.Message)
	case "57P03":
		return fmt.Errorf("%w: the server at %s is not ready: %s; try again in a moment", errSettings, at, answer.Message)
	case "53300":
		return fmt.Errorf("%w: the server at %s takes no more connections: raise its max_connections", errSettings, at)
	case "25006":
		return fmt.Errorf("%w: the server at %s is read-only, a standby perhaps: give the URL of the primary", errSettings, at)
	}
	return fmt.Errorf("%w: %w", errSettings, err)
}

// plain is the innermost reason: what is around it names the connection once more for each attempt.
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && connect.Unwrap() != nil {
		return connect.Unwrap().Error()
	}
	return err.Error()
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
