package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Tamper runs a statement on both files, and has their checksums follow: what somebody does who knows the program. A change of the schema is made without.
func (s *Store) Tamper(ctx context.Context, statement string) error {
	if strings.HasPrefix(statement, "ALTER") {
		_, first := s.first.writer.ExecContext(ctx, statement)
		_, second := s.second.writer.ExecContext(ctx, statement)
		return errors.Join(first, second)
	}
	return s.write(ctx, "tamper", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
}
