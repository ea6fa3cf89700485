//go:build linux

package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/verify"
)

// scenario is one kind of fault.
type scenario struct {
	name  string
	about string
	// short and long are how many runs the two forms make.
	short, long int
	limit       time.Duration // of a run; 0 is three minutes
	// needs says why the scenario cannot run here, or nil.
	needs func() error
	run   func(*rig) error
}

// scenarios are all of them, in the order they run.
func scenarios() []scenario {
	return slices.Concat(killScenarios(), powerScenarios(), freezeScenarios(), diskScenarios(), syscallScenarios(), damageScenarios(), overloadScenarios(), fleetScenarios(), largeScenarios())
}

// Config says what to run.
type Config struct {
	Binary string                 // the server
	Plain  string                 // the same built without the tag faults; "" for none
	Dir    string                 // for data; made when missing
	Match  func(name string) bool // which scenarios
	Long   bool
	Runs   int    // of each scenario; 0: as the form says
	Seed   uint64 // of the first run of each; the next has the next seed
	Keep   bool   // the files of all runs; those of failed ones are kept anyway
	Out    io.Writer
	Replay string // command that a seed and a name are added to
}

// Row is what came out of all runs of a scenario.
type Row struct {
	Scenario  string
	Runs      int
	Failed    int
	Skipped   string
	Faults    int
	Detected  int
	Ready     []time.Duration
	Resumed   []time.Duration
	Asked     int
	Slowest   time.Duration
	Ledger    verify.LedgerResult
	Wrong     uint64
	Outcomes  map[string]int
	NamedLost int
	Notes     []string
	Took      time.Duration
}

// ErrFailed is returned when a run failed; which and why has been printed.
var ErrFailed = errors.New("the promise was broken, or a server did not recover: see above")

// List writes the scenarios' names.
func List(w io.Writer) {
	for _, s := range scenarios() {
		fmt.Fprintf(w, "%-22s %s\n", s.name, s.about)
	}
}

// Run runs scenarios one after the other, printing failures as they happen, and the table in the end.
func Run(ctx context.Context, cfg Config) ([]Row, error) {
	sweep(cfg.Out)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	var rows []Row
	failed := false
	for _, s := range scenarios() {
		if !cfg.Match(s.name) {
			continue
		}
		row := cfg.scenario(ctx, &s)
		failed = failed || row.Failed > 0
		rows = append(rows, row)
		if ctx.Err() != nil {
			break
		}
	}
	WriteTable(cfg.Out, rows)
	if ctx.Err() != nil {
		return rows, ctx.Err()
	}
	if failed {
		return rows, ErrFailed
	}
	return rows, nil
}

func (cfg *Config) scenario(ctx context.Context, s *scenario) Row {
	row := Row{Scenario: s.name}
	runs := s.short
	if cfg.Long {
		runs = s.long
	}
	if cfg.Runs > 0 {
		runs = cfg.Runs
	}
	if s.needs != nil {
		if err := s.needs(); err != nil {
			row.Skipped = err.Error()
			fmt.Fprintf(cfg.Out, "%-22s skipped: %v\n", s.name, err)
			return row
		}
	}
	began := time.Now()
	for i := range runs {
		if ctx.Err() != nil {
			break
		}
		cfg.once(ctx, s, cfg.Seed+uint64(i), &row)
	}
	row.Took = time.Since(began)
	if row.Asked > 0 && row.Failed == 0 { // a question that was not answered rightly fails its run
		row.Notes = append(row.Notes, fmt.Sprintf("%d questions during the fault, each answered rightly, the slowest after %s", row.Asked, row.Slowest.Round(10*time.Millisecond)))
	}
	verdict := "ok"
	if row.Failed > 0 {
		verdict = fmt.Sprintf("%d of %d runs FAILED", row.Failed, row.Runs)
	}
	fmt.Fprintf(cfg.Out, "%-22s %s: %d faults, %d events acknowledged, %s\n", s.name, verdict, row.Faults, row.Ledger.Acknowledged, row.Took.Round(time.Second))
	return row
}

// once makes one run in a directory of its own.
func (cfg *Config) once(ctx context.Context, s *scenario, seed uint64, row *Row) {
	limit := s.limit
	if limit == 0 {
		limit = 3 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	scratch, err := os.MkdirTemp(cfg.Dir, scratchPrefix())
	if err != nil {
		fmt.Fprintf(cfg.Out, "%s: %v\n", s.name, err)
		row.Failed++
		return
	}
	r, err := newRig(ctx, scratch, cfg.Binary, seed)
	if err == nil {
		r.long, r.plain = cfg.Long, cfg.Plain
		if err = guarded(r, s.run); err != nil {
			err = errors.Join(err, r.preserve())
		}
		err = errors.Join(err, r.end())
		row.add(r.result)
	}
	if ctx.Err() == context.Canceled {
		err = nil // interrupted: it proves nothing
	}
	row.Runs++
	if err != nil {
		row.Failed++
		fmt.Fprintf(cfg.Out, "FAIL %s, seed %d: %v\n", s.name, seed, err)
		fmt.Fprintf(cfg.Out, "     what the server said, the ledger and the data: %s\n", scratch)
		fmt.Fprintf(cfg.Out, "     again: %s -run '^%s$' -seed %d -runs 1\n", cfg.Replay, s.name, seed)
		return
	}
	if !cfg.Keep {
		if err := os.RemoveAll(scratch); err != nil {
			fmt.Fprintf(cfg.Out, "%s: %v\n", s.name, err)
		}
	}
}

// guarded turns a panic into an error, so that what the run holds is given back.
func guarded(r *rig, run func(*rig) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return run(r)
}

func (row *Row) add(r *Result) {
	row.Faults += r.Faults
	row.Detected += r.Detected
	row.Ready = append(row.Ready, r.Ready...)
	row.Resumed = append(row.Resumed, r.Resumed...)
	row.Asked += r.Asked
	row.Slowest = max(row.Slowest, r.Slowest)
	row.Wrong += r.Wrong
	row.NamedLost += r.NamedLost
	for o, n := range r.Outcomes {
		if row.Outcomes == nil {
			row.Outcomes = map[string]int{}
		}
		row.Outcomes[o] += n
	}
	for _, n := range r.Notes {
		if !slices.Contains(row.Notes, n) {
			row.Notes = append(row.Notes, n)
		}
	}
	a, b := &row.Ledger, &r.Ledger
	a.Sent, a.Acknowledged, a.Refused, a.Unknown = a.Sent+b.Sent, a.Acknowledged+b.Acknowledged, a.Refused+b.Refused, a.Unknown+b.Unknown
	a.Stored, a.Lost, a.Doubled, a.Phantom = a.Stored+b.Stored, a.Lost+b.Lost, a.Doubled+b.Doubled, a.Phantom+b.Phantom
	a.Altered, a.Quarantined, a.Dropped = a.Altered+b.Altered, a.Quarantined+b.Quarantined, a.Dropped+b.Dropped
}

// scratchPrefix names what this process makes, so that a later one can tell what was left behind.
func scratchPrefix() string { return fmt.Sprintf("%s%d-", scratchName, os.Getpid()) }

const scratchName = "pulsestream-fault-"

// DefaultDir is where data go when nobody says.
func DefaultDir() string { return filepath.Join(os.TempDir(), "pulsestream-fault") }
