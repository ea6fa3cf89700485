package duckdb

import (
	"fmt"
	"strings"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// where is a predicate with its parameters. Its text is put together from constants and placeholders; values are never part
// of it.
type where struct {
	sql  string
	args []any
}

// ofTenant begins a predicate: the tenant is first in every one.
func ofTenant(t tenant.ID) where { return where{sql: `tenant = $1`, args: []any{string(t)}} }

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

// matching adds what an EventFilter asks for. Types are alternatives with = and not a list with IN: that takes 30 times
// as long here.
func (w *where) matching(f *store.EventFilter) {
	if len(f.Types) > 0 {
		w.any(len(f.Types), func(i int) string {
			if prefix, ok := strings.CutSuffix(f.Types[i], "*"); ok {
				return `starts_with(type, ` + w.param(prefix) + `)`
			}
			return `type = ` + w.param(f.Types[i])
		})
	}
	if f.Source != "" {
		w.and(`source = %s`, f.Source)
	}
	if f.ID != "" {
		w.and(`id = %s`, f.ID)
		if f.Source != "" {
			w.and(`finder = %s`, finder(f.Source, f.ID))
		}
	}
	if f.Subject != "" {
		w.and(`subject = %s`, f.Subject)
	}
	if !f.From.IsZero() {
		w.and(`"time" >= %s`, f.From.UnixNano())
	}
	if !f.To.IsZero() {
		w.and(`"time" < %s`, f.To.UnixNano())
	}
}
