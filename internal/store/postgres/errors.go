package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pulsestream/pulsestream/internal/store"
)

// fail names the operation that failed and adds the seam's sentinel. It passes nil through.
func (d *DB) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(err, store.ErrClosed) {
		if errors.Is(err, store.ErrUncertain) {
			return fmt.Errorf("%s: %w: %w", op, store.ErrUncertain, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", op, context.Cause(ctx)) // what an interrupted statement says is of no use
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", op, store.ErrNotFound)
	}
	if is := sentinel(err); is != nil {
		return fmt.Errorf("%s: %w: %w", op, is, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// sentinel is what a caller can do about an error, nil when nobody knows.
func sentinel(err error) error {
	for _, known := range []error{store.ErrClosed, store.ErrRefused, store.ErrFenced, store.ErrConflict, store.ErrNotFound} {
		if errors.Is(err, known) {
			return nil // it has one
		}
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return byCode(answer.Code)
	}
	if gone(err) {
		return store.ErrUnavailable
	}
	return nil
}

// byCode goes by the classes of PostgreSQL's errors.
func byCode(code string) error {
	switch code {
	case "53100": // disk_full
		return store.ErrFull
	case "25006", // read_only_sql_transaction: this server is a standby now
		"40001", "40P01", // serialization_failure, deadlock_detected
		"55P03", // lock_not_available
		"57P01", "57P02", "57P03", "57P05", "25P03",
		"58030": // io_error
		return store.ErrUnavailable
	case "54000", "54001", "54023": // too large or too complex
		return store.ErrRefused
	}
	switch code[:min(2, len(code))] {
	case "08", "53": // connection exceptions; insufficient resources
		return store.ErrUnavailable
	case "22", "23": // data exceptions; integrity constraints
		return store.ErrRefused
	}
	return nil
}

// gone says whether the connection was lost, or could not be made.
func gone(err error) bool {
	var op *net.OpError
	var connect *pgconn.ConnectError
	return errors.As(err, &op) || errors.As(err, &connect) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || strings.Contains(err.Error(), "conn closed")
}

// hasCode says whether the server answered with this code.
func hasCode(err error, codes ...string) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return false
	}
	for _, c := range codes {
		if answer.Code == c {
			return true
		}
	}
	return false
}
