//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/verify"
)

func damageScenarios() []scenario {
	flips := func(name, about string, kind damageKind) scenario {
		return scenario{name: "damage/" + name, about: about, short: 1, long: 6, limit: 10 * time.Minute, run: func(r *rig) error {
			return r.damages(kind, r.times(1, 6))
		}}
	}
	return []scenario{
		flips("log", "a flipped bit or a truncation in the log's blocks", damageKind{match: isBlock}),
		flips("log-alone", "the same, with no store beside: all has to come from the log", damageKind{match: isBlock, without: "events.duckdb"}),
		flips("log-meta", "the same in the log's other files", damageKind{match: func(p string) bool { return strings.HasPrefix(p, "log/") && !isBlock(p) && !isGuard(p) }}),
		flips("duckdb", "the same in the DuckDB file", damageKind{match: is("events.duckdb"), clean: true}),
		flips("segments", "the same in the segments of events", damageKind{match: isSegment, clean: true}),
		flips("rollups", "the same in the files of rollups", damageKind{match: isRollups, clean: true}),
		flips("duckdb-wal", "the same in DuckDB's write-ahead log", damageKind{match: is("events.duckdb.wal")}),
		flips("sqlite", "the same in a file of the catalog", damageKind{match: is("catalog.sqlite", "catalog-copy.sqlite"), clean: true}),
		flips("sqlite-wal", "the same in a write-ahead log of the catalog", damageKind{match: is("catalog.sqlite-wal", "catalog-copy.sqlite-wal")}),
		flips("others", "the same in what is kept about the log: its identity, the highest acknowledged messages, known losses", damageKind{match: isGuard}),
		{name: "log-shorter", about: "an older copy of the log is put back beside a newer store", short: 1, long: 5, run: logShorter},
		{name: "store-older", about: "an older copy of the store is put back beside a newer log", short: 1, long: 5, run: storeOlder},
		{name: "log-gone", about: "the log is gone, the store is there", short: 1, long: 3, run: logGone},
	}
}

// damageKind says which files are damaged, by their path within the data directory.
type damageKind struct {
	match   func(path string) bool
	without string // files with this prefix are removed before
	clean   bool   // the server was stopped cleanly, else killed
}

func is(names ...string) func(string) bool {
	return func(p string) bool { return slices.Contains(names, p) }
}
func isGuard(p string) bool   { return strings.HasPrefix(p, "log/guard/") }
func isSegment(p string) bool { return strings.HasSuffix(p, ".seg") }
func isRollups(p string) bool { return strings.HasSuffix(p, ".rol") }
func isBlock(p string) bool   { return strings.HasPrefix(p, "log/") && strings.HasSuffix(p, ".blk") }

// damages prepares data once and damages copies of it.
func (r *rig) damages(kind damageKind, n int) error {
	if err := r.setUp(); err != nil {
		return err
	}
	r.change()
	if err := r.traffic(800 * time.Millisecond); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	before, err := r.configuration()
	if err != nil {
		return err
	}
	if kind.clean {
		err = r.server.stop()
	} else {
		r.server.kill()
	}
	r.gone()
	if err != nil {
		return err
	}
	template, book := filepath.Join(r.scratch, "template"), r.ledger
	if err := os.Rename(r.data, template); err != nil {
		return err
	}
	files, err := candidates(template, kind.match)
	if err != nil {
		return err
	}
	for i := range n {
		if r.ledger, err = ledgerCopy(filepath.Join(r.scratch, "ledger.jsonl")); err != nil {
			return err
		}
		r.data = filepath.Join(r.scratch, fmt.Sprintf("data-%d", i))
		r.server.dir = r.data
		err := r.damage(template, kind, files, before)
		r.server.kill()
		r.gone()
		if err != nil {
			return err
		}
		if err := os.RemoveAll(r.data); err != nil {
			return err
		}
	}
	r.ledger = book
	return nil
}

// traffic lets writers work for a while.
func (r *rig) traffic(d time.Duration) error {
	t := r.write(lightLoad())
	pause(r.ctx, d)
	return t.stop()
}

func ledgerCopy(path string) (*ledger.Ledger, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l, err := ledger.Read(f)
	return l, errors.Join(err, f.Close())
}

// candidates are the files that match and have something in them.
func candidates(dir string, match func(string) bool) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && match(rel) && sizeOf(path) > 0 {
			found = append(found, rel)
		}
		return err
	})
	slices.Sort(found)
	return found, err
}

// damage damages one copy, starts the server over it, and says what became of it.
func (r *rig) damage(template string, kind damageKind, files []string, before string) error {
	if len(files) == 0 {
		r.result.note("there is no such file")
		return nil
	}
	if err := copyTree(template, r.data); err != nil {
		return err
	}
	if kind.without != "" {
		for _, f := range []string{kind.without, kind.without + ".wal"} {
			if err := os.RemoveAll(filepath.Join(r.data, f)); err != nil {
				return err
			}
		}
	}
	what, cut, err := r.spoil(files)
	if err != nil {
		return err
	}
	r.result.Faults++
	r.server.log.mark("damaged: %s", what)
	said := len(r.server.log.complaints(0))
	outcome, err := r.outcome(before, cut, said)
	r.server.log.mark("outcome: %s", outcome)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", what, outcome, err)
	}
	r.result.count(outcome)
	return nil
}

// spoil flips one bit of a file, or cuts it off.
func (r *rig) spoil(files []string) (what string, cut bool, err error) {
	file := largerFirst(r, files)
	path := filepath.Join(r.data, file)
	size := sizeOf(path)
	at := r.rand.Int64N(size)
	if r.rand.IntN(4) == 0 {
		return fmt.Sprintf("%s cut off at %d of %d bytes", file, at, size), true, os.Truncate(path, at)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", false, err
	}
	bit := byte(1) << r.rand.IntN(8)
	one := make([]byte, 1)
	if _, err = f.ReadAt(one, at); err == nil {
		one[0] ^= bit
		_, err = f.WriteAt(one, at)
	}
	return fmt.Sprintf("%s: bit %08b of byte %d of %d flipped", file, bit, at, size), false, errors.Join(err, f.Close())
}

// largerFirst picks a file: mostly one that has much in it, now and then any.
func largerFirst(r *rig, files []string) string {
	if r.rand.IntN(4) == 0 {
		return pick(r.rand, files...)
	}
	return slices.MaxFunc(files, func(a, b string) int {
		return int(sizeOf(filepath.Join(r.data, a)) - sizeOf(filepath.Join(r.data, b)))
	})
}

// Outcomes of damage.
const (
	harmless = "harmless" // nothing is lost, and nothing was said: nobody reads the place, or it was made anew
	repaired = "repaired" // nothing is lost, and it was said
	named    = "named"    // something is lost, and it was said
	refused  = "refused"  // the server does not start, and says why
	silent   = "silent"   // something is lost or wrong, and nothing was said
)

// count adds up outcomes.
func (r *Result) count(outcome string) {
	if outcome != harmless {
		r.Detected++
	}
	if r.Outcomes == nil {
		r.Outcomes = map[string]int{}
	}
	r.Outcomes[outcome]++
}

var (
	errSilent  = errors.New("damage went by in silence")
	errRefused = errors.New("the server does not start")
)

// outcome starts the server over damaged data and judges. Cut says that a file was cut off: then what stood behind is lost for good, else one
// message of the log at most.
func (r *rig) outcome(before string, cut bool, said int) (string, error) {
	spoke := func() bool { return len(r.server.log.complaints(said)) > 0 }
	if err := r.start(); err != nil {
		if spoke() && errors.Is(err, errEnded) {
			return refused, nil
		}
		return silent, fmt.Errorf("%w: %w", errRefused, err)
	}
	report, after, err := r.lookAgain()
	if err != nil {
		return "does not come to itself", err
	}
	l := report.Ledger
	missing := l.Lost + l.Dropped
	switch {
	case after != before && !spoke():
		return silent, fmt.Errorf("%w: the catalog was\n%s\nand is\n%s", errSilent, before, after)
	case missing == 0 && report.OK && !spoke():
		return harmless, nil
	case missing == 0 && report.OK:
		return repaired, nil
	case !spoke():
		return silent, fmt.Errorf("%w: %w", errSilent, r.judge(report))
	case report.Violations() > uint64(l.Lost): //nolint:gosec // a count
		return named, r.judge(report)
	case !cut && missing > mostInMessage:
		return named, fmt.Errorf("%d events are lost by one flipped bit, a message of the log has %d at most", missing, mostInMessage)
	}
	r.result.NamedLost += missing
	return named, nil
}

// lookAgain verifies and reads the configuration. Damage may be found only as it is read; then the store is rebuilt, and that is waited for.
func (r *rig) lookAgain() (report *verify.Report, configuration string, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, settleWithin)
	defer cancel()
	err = poll(ctx, 200*time.Millisecond, func() error {
		if err := r.settle(); err != nil {
			return err
		}
		var err error
		if report, err = r.verify(nil); err != nil {
			return err
		}
		configuration, err = r.configuration()
		return err
	})
	return report, configuration, err
}

// mostInMessage is how many events a log message has at most with a light load: all writers' requests at once.
const mostInMessage = 6 * 40

// configuration is all that was configured, as text.
func (r *rig) configuration() (string, error) {
	var b strings.Builder
	c := r.target.wait(r.ctx)
	for _, path := range []string{"/v1/tenant", "/v1/metrics", "/v1/sources", "/v1/rules", "/v1/channels"} {
		answer, err := c.Exchange(r.ctx, "GET", path, nil, nil)
		if err != nil {
			return "", err
		}
		// A hook's address begins with that of the server, which is another each time.
		fmt.Fprintf(&b, "%s %d %s\n", path, answer.Status, strings.ReplaceAll(string(answer.Body), strings.TrimPrefix(r.base, "http://"), "HOST"))
	}
	return b.String(), nil
}

// logShorter puts an older log back. The server has to notice, and must not take new events for old ones because they have the same numbers.
func logShorter(r *rig) error { return r.rollBack("log") }

// storeOlder puts an older store back. What it lacks stands in the log.
func storeOlder(r *rig) error { return r.rollBack("events.duckdb") }

func (r *rig) rollBack(part string) error {
	if err := r.setUp(); err != nil {
		return err
	}
	old := filepath.Join(r.scratch, "old")
	for range 2 {
		if err := r.traffic(r.between(200*time.Millisecond, 700*time.Millisecond)); err != nil {
			return err
		}
		if err := r.settle(); err != nil {
			return err
		}
		if err := r.server.stop(); err != nil {
			return err
		}
		r.gone()
		if _, err := os.Stat(old); err == nil {
			break
		}
		if err := copyTree(r.data, old); err != nil {
			return err
		}
		if err := r.start(); err != nil {
			return err
		}
	}
	if err := replacePart(old, r.data, part); err != nil {
		return err
	}
	r.result.Faults++
	return r.afterRollBack()
}

// afterRollBack starts, sends more, and checks. Nothing that was stored may be gone: the store has it, or the log.
func (r *rig) afterRollBack() error {
	said := len(r.server.log.complaints(0))
	if err := r.start(); err != nil {
		return err
	}
	if err := r.traffic(r.between(300*time.Millisecond, 800*time.Millisecond)); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if len(r.server.log.complaints(said)) > 0 {
		r.result.Detected++
	}
	return r.finishClean()
}

func replacePart(from, to, part string) error {
	for _, suffix := range []string{"", ".wal"} {
		src, dst := filepath.Join(from, part+suffix), filepath.Join(to, part+suffix)
		if err := os.RemoveAll(dst); err != nil {
			return err
		}
		if _, err := os.Stat(src); err == nil {
			if err := copyTree(src, dst); err != nil {
				return err
			}
		}
	}
	return nil
}

func logGone(r *rig) error {
	if err := r.setUp(); err != nil {
		return err
	}
	if err := r.traffic(r.between(300*time.Millisecond, 900*time.Millisecond)); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if err := r.server.stop(); err != nil {
		return err
	}
	r.gone()
	if err := os.RemoveAll(filepath.Join(r.data, "log")); err != nil {
		return err
	}
	r.result.Faults++
	return r.afterRollBack()
}
