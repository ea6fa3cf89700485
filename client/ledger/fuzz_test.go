package ledger

import (
	"bytes"
	"testing"
)

// FuzzRead: a ledger that can be read counts each event once, whatever its lines say.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"request":7,"sent":[{"id":"o-1","source":"shop"},{"source":"shop","subject":"m-42"}]}` + "\n" + `{"request":7,"outcome":"acknowledged","rejected":[1]}` + "\n{"))
	f.Add([]byte(`{"request":1,"sent":[{}],"outcome":"refused"}` + "\n" + `{"request":1,"sent":[{}],"outcome":"sure","rejected":[-1,9]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		n := l.Totals()
		if n.Acknowledged < 0 || n.Refused < 0 || n.Unknown < 0 || n.Sent != n.Acknowledged+n.Refused+n.Unknown || n.Sent != len(l.records) {
			t.Fatalf("%q: %+v of %d", b, n, len(l.records))
		}
	})
}
