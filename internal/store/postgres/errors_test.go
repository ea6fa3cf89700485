package postgres_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
)

func TestWhatACallerCanDoAboutAnError(t *testing.T) {
	for code, want := range map[string]error{
		"53100": store.ErrFull,                                                                      // no room on the disk
		"57P01": store.ErrUnavailable, "57P02": store.ErrUnavailable, "57P03": store.ErrUnavailable, // the server stops, crashes, starts
		"53300": store.ErrUnavailable, "53200": store.ErrUnavailable, "08006": store.ErrUnavailable,
		"25006": store.ErrUnavailable, // a standby
		"40P01": store.ErrUnavailable, "40001": store.ErrUnavailable,
		"22021": store.ErrRefused, "22P05": store.ErrRefused, "23502": store.ErrRefused, "54000": store.ErrRefused,
		"42501": nil, "XX001": nil, "42P01": nil, "": nil,
	} {
		err := fmt.Errorf("commit: %w", &pgconn.PgError{Code: code})
		if got := postgres.Sentinel(err); !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%q: %v, want %v", code, got, want)
		}
	}
	if got := postgres.Sentinel(io.ErrUnexpectedEOF); !errors.Is(got, store.ErrUnavailable) {
		t.Errorf("a connection that ended: %v", got)
	}
	if got := postgres.Sentinel(errors.New("anything else")); got != nil {
		t.Errorf("anything else: %v", got)
	}
}

func TestOnlyACommitWithoutAnAnswerIsUncertain(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{{nil, false}, {io.ErrUnexpectedEOF, true}, {&pgconn.PgError{Code: "40001"}, false}} {
		if got := postgres.Committed(test.err); errors.Is(got, store.ErrUncertain) != test.want || !errors.Is(got, test.err) && test.err != nil {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}

func anotherProcessSeesAChangeSoonAndAtOnceWhenTold(t *testing.T, r *rig) {
	same := r.database(t)
	one, other := open(t, same, brief), open(t, same, brief)
	put(t, one, "acme", "first")
	before, err := other.Catalog().Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, one, "acme", "second")
	other.Catalog().Changed()
	if now, err := other.Catalog().Revision(t.Context()); err != nil || now <= before {
		t.Errorf("told of a change, the revision is %d, %v, after %d", now, err, before)
	}
	put(t, one, "acme", "third")
	until(t, "the other process sees the third change", func() bool {
		now, err := other.Catalog().Revision(t.Context())
		return err == nil && now > before+1
	})
}
