package backup

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// FuzzManifest: a manifest that is taken is, to the last byte, what the program writes, and names no file outside of the backup.
func FuzzManifest(f *testing.F) {
	for _, m := range []Manifest{{}, {Format: format, Number: 1, Partitions: []Partition{{Seq: 9, Events: 3}}, Catalog: File{Path: "catalog-1.sqlite"}, Incidents: File{Path: "i"}, Quarantine: File{Path: "q"},
		Events: []EventFile{{File: File{Path: "events/0.parquet"}, FromSeq: 1, ToSeq: 9}}}, {Catalog: File{Path: "../../etc/passwd"}, Incidents: File{Path: "i"}, Quarantine: File{Path: `a\b`}}} {
		b, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s is taken for %s, %v", b, again, err)
		}
		for _, file := range m.files() {
			if !filepath.IsLocal(file.Path) {
				t.Fatalf("%s names %q", b, file.Path)
			}
		}
	})
}

// FuzzQuarantineLines: whatever a quarantined event holds, its line gives it back.
func FuzzQuarantineLines(f *testing.F) {
	f.Add("default", "1", "it panicked", "a\u2028", []byte(`{"a":1}`), []byte{0xff, 0}, int64(5))
	f.Fuzz(func(t *testing.T, tenantID, id, reason, text string, data, raw []byte, at int64) {
		if len(tenantID) > 1000 || bytes.ContainsRune([]byte(tenantID+id+reason), '\ufffd') {
			return // what is no UTF-8 cannot be a tenant, an id of ours or a reason
		}
		want := store.Quarantined{QuarantineKey: store.QuarantineKey{Tenant: tenant.ID(tenantID), ID: id}, Reason: reason, Raw: raw, At: time.Unix(1, 0).UTC(),
			Event: &event.Event{ID: text, Source: text, Type: text, Subject: text, Time: time.Unix(0, at).UTC(), Data: data}}
		var line bytes.Buffer
		encode := json.NewEncoder(&line) // as placeLines does, without the disk
		encode.SetEscapeHTML(false)
		if err := encode.Encode(lineOfQuarantined(&want)); err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(line.Bytes(), '\n') != line.Len()-1 {
			t.Fatalf("more than a line: %q", &line)
		}
		var l quarantineLine
		if err := json.Unmarshal(line.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		got, err := l.quarantined()
		if err != nil || got.Event.ID != text || got.Event.Subject != text || !got.Event.Time.Equal(want.Event.Time) || !bytes.Equal(got.Event.Data, data) || !bytes.Equal(got.Raw, raw) {
			t.Fatalf("%+v became %+v, %v", want.Event, got.Event, err)
		}
	})
}

// FuzzReadLines: no file of lines makes a restore panic, and none with another number of lines is taken.
func FuzzReadLines(f *testing.F) {
	f.Add([]byte(`{"number":1,"value":"+Inf","worst":"NaN","threshold":"0x1p-2","transition":{"id":"t"}}`+"\n"), uint64(1))
	f.Add([]byte(`{"tenant":"t","id":"1","event":"AQ=="}`+"\n{"), uint64(1))
	f.Fuzz(func(t *testing.T, content []byte, rows uint64) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "lines"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		err := readLines(dir, File{Path: "lines", Rows: rows}, func(l *transitionLine) error { n++; _, err := l.transition(); return err })
		if err == nil && n != rows {
			t.Fatalf("%d lines are taken for %d", n, rows)
		}
		_ = readLines(dir, File{Path: "lines", Rows: rows}, func(l *quarantineLine) error { _, err := l.quarantined(); return err })
	})
}

// FuzzTransitionNumbers: the numbers of a transition come back as they were, infinities and NaN too.
func FuzzTransitionNumbers(f *testing.F) {
	f.Add(math.Float64bits(math.Inf(1)), math.Float64bits(math.NaN()), uint64(1))
	f.Fuzz(func(t *testing.T, a, b, c uint64) {
		var want store.NumberedTransition
		want.Value, want.Worst, want.Threshold = math.Float64frombits(a), math.Float64frombits(b), math.Float64frombits(c)
		l := lineOf(want)
		got, err := l.transition()
		same := func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) }
		if err != nil || !same(got.Value, want.Value) || !same(got.Worst, want.Worst) || !same(got.Threshold, want.Threshold) {
			t.Fatalf("%v, %v, %v became %+v, %v", want.Value, want.Worst, want.Threshold, got, err)
		}
	})
}
