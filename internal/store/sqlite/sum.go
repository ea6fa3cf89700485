package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/pulsestream/pulsestream/internal/store"
)

// The sum of a file is that of the hashes of all its rows and of its schema's text, modulo 2^64. So it doesn't depend on the
// order of rows or pages, a copy has the same, and a change moves it on by the hashes of the rows that it touches. It tells any
// row that is not as it was written, one that is missing, one too many, and a mixture of two moments. The entries of the audit log are left out: that
// only grows, and is a chain, whose heads are in the sum.

// integrity is the table with the file's one row of commits and checksum.
const (
	integrity    = "integrity"
	integritySQL = `SELECT commits, checksum FROM integrity`
	sealSQL      = `UPDATE integrity SET commits = $1, checksum = $2`
)

// seal is the checksum that is stored: the sum, and the number of commits that stands beside it.
func seal(commits int64, sum uint64) int64 {
	return int64(sum + rowSum(integrity, []any{commits})) //nolint:gosec // bits, not a number
}

// unseal is the sum that a stored checksum stands for.
func unseal(commits, checksum int64) uint64 {
	return uint64(checksum) - rowSum(integrity, []any{commits}) //nolint:gosec // bits, not a number
}

// rowSum is the hash of a row, as SQLite's types tell values apart.
func rowSum(table string, values []any) uint64 {
	b := make([]byte, 0, 512)
	b = appendText(b, table)
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v)) //nolint:gosec // bits, not a number
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case string:
			v, _, _ = strings.Cut(v, "\x00") // see zeroFree
			b = appendText(append(b, 't'), v)
		case []byte:
			b = appendText(append(b, 'b'), string(v))
		default:
			b = appendText(append(b, '?'), fmt.Sprintf("%T %v", v, v))
		}
	}
	hash := sha256.Sum256(b)
	return binary.BigEndian.Uint64(hash[:8])
}

// zeroFree refuses texts with zero bytes. SQLite's hook is given a text up to the first one only, so what is behind it would not be in the sum;
// PostgreSQL has no such texts at all. JSON has none, nor have names.
func zeroFree(texts ...string) error {
	for _, s := range texts {
		if strings.Contains(s, "\x00") {
			return fmt.Errorf("%w: there is a zero byte in a name or a body", store.ErrRefused) // which may be a secret: not shown
		}
	}
	return nil
}

// withoutZeros is for what others have written.
func withoutZeros(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// querier is a *sql.DB, a *sql.Conn or a *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// chained is the table that is not in the sum, from a version of the schema on.
const (
	chained      = "audit_entries"
	chainedSince = 6
)

// contentSum reads all rows of a file with some version of the schema.
func contentSum(ctx context.Context, q querier, version int) (sum uint64, err error) {
	var tables []string
	err = eachRow(ctx, q, `SELECT type, name, tbl_name, sql FROM sqlite_schema`, func(values []any) {
		sum += rowSum("sqlite_schema", values)
		if name, ok := values[1].(string); ok && values[0] == "table" && name != integrity && (name != chained || version < chainedSince) {
			tables = append(tables, name)
		}
	})
	for _, t := range tables {
		if err != nil {
			return 0, err
		}
		err = eachRow(ctx, q, `SELECT * FROM "`+strings.ReplaceAll(t, `"`, `""`)+`"`, func(values []any) { sum += rowSum(t, values) })
	}
	return sum, err
}

func eachRow(ctx context.Context, q querier, query string, each func(values []any)) error {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		each(values)
	}
	return rows.Err()
}

// changes is what the transaction under way has done to the sum.
type changes struct {
	sum  uint64
	rows int
	err  error
}

// note is called by SQLite for each row that is about to change. A statement that fails has been noted all the same: its
// transaction must not be committed.
func (c *changes) note(d driver.SQLitePreUpdateData) {
	if d.TableName == integrity {
		return
	}
	c.rows++
	if d.TableName == chained { // nothing is written to a file before it has the newest schema
		return
	}
	values := make([]any, d.Count())
	if d.Op != codes.SQLITE_INSERT {
		if err := d.Old(values...); err != nil {
			c.err = fmt.Errorf("read the row of %s that is to change: %w", d.TableName, err)
		}
		c.sum -= rowSum(d.TableName, values)
	}
	if d.Op != codes.SQLITE_DELETE {
		clear(values)
		if err := d.New(values...); err != nil {
			c.err = fmt.Errorf("read the new row of %s: %w", d.TableName, err)
		}
		c.sum += rowSum(d.TableName, values)
	}
}
