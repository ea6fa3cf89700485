package postgres

import (
	"fmt"
	"strings"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// where is a predicate with its parameters. Its text is put together from constants and placeholders; values are never part
// of it.
type where struct {
	sql  string
	args []any
}

// ofTenant begins a predicate: the tenant is first in every one.
func ofTenant(t tenant.ID) where { return where{sql: `tenant = $1`, args: []any{packed(string(t))}} }

// param adds a parameter and gives its placeholder.
func (w *where) param(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

// and adds a condition, in whose text each %s stands for the next value.
func (w *where) and(text string, values ...any) {
	marks := make([]any, len(values))
	for i, v := range values {
		marks[i] = w.param(v)
	}
	w.sql += ` AND ` + fmt.Sprintf(text, marks...)
}

// any adds the condition that one of several holds, each made by add. Nothing holds when there are none.
func (w *where) any(n int, add func(i int) string) {
	if n == 0 {
		w.sql += ` AND false`
		return
	}
	options := make([]string, n)
	for i := range options {
		options[i] = add(i)
	}
	w.sql += ` AND (` + strings.Join(options, ` OR `) + `)`
}
