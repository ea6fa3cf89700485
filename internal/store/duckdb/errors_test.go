package duckdb

import (
	"errors"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store"
)

func TestAFullDiskIsNoFaultOfTheData(t *testing.T) {
	for message, want := range map[string]error{
		"Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result\nError: TransactionContext Error: Failed to commit: " +
			"Could not write file \"/data/events.duckdb.wal\": No space left on device": store.ErrFull,
		"IO Error: Could not write file \"x\": No space left on device":                                                  store.ErrFull,
		"FATAL Error: Failed to create checkpoint because of error: Could not write file \"x\": No space left on device": store.ErrBroken,
		"IO Error: Could not write file \"x\": Input/output error":                                                       store.ErrBroken,
		"Invalid Input Error: Invalid unicode (byte sequence mismatch) detected":                                         store.ErrRefused,
		"TransactionContext Error: Failed to commit: Constraint Error: duplicate key":                                    store.ErrRefused,
		"IO Error: Corrupt database file: computed checksum 1 does not match":                                            store.ErrDamaged,
		"INTERNAL Error: Attempted to access index 1 within vector of size 0":                                            store.ErrBroken,
		"INTERRUPT Error: Interrupted!":                                                                                  nil,
	} {
		err := error(&engineError{message})
		for _, kind := range []error{store.ErrBroken, store.ErrRefused, store.ErrDamaged, store.ErrFull} {
			if errors.Is(err, kind) != errors.Is(want, kind) {
				t.Errorf("%s: is %v: %v", message, kind, errors.Is(err, kind))
			}
		}
	}
}
