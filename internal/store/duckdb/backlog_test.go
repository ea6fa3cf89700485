package duckdb

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func TestABlockIsDueWhenItIsFullOrLeftAlone(t *testing.T) {
	end := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		p       pile
		touched time.Duration // after its end
		now     time.Duration
		want    bool
	}{
		{"a few rows, still open", pile{partial: 10}, -time.Hour, -time.Minute, false},
		{"a few rows, just over", pile{partial: 10}, -time.Hour, grace - 1, false},
		{"a few rows, over for long", pile{partial: 10}, -time.Hour, grace, true},
		{"late rows keep coming", pile{partial: 10}, 5 * time.Hour, 5*time.Hour + grace - 1, false},
		{"no more late rows", pile{partial: 10}, 5 * time.Hour, 5*time.Hour + grace, true},
		{"many rows, still open", pile{partial: minPartial}, -time.Hour, -time.Minute, true},
		{"many rows, but few beside what is merged", pile{partial: minPartial, whole: minPartial}, -time.Hour, -time.Minute, false},
		{"many rows beside what is merged", pile{partial: rowsPerRow * minPartial, whole: minPartial}, -time.Hour, -time.Minute, true},
	} {
		c.p.touched = end.Add(c.touched)
		if got := c.p.due(end.UnixNano(), end.Add(c.now)); got != c.want {
			t.Errorf("%s: due is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheBacklogForgetsWhatIsMerged(t *testing.T) {
	var l backlog
	start := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	rows := []*series.Rollup{{Tenant: "a", Metric: 1, Step: time.Minute, Start: start}, {Tenant: "a", Metric: 2, Step: time.Minute, Start: start.Add(time.Minute)}}
	everything := func(block, pile) bool { return true }
	l.committed(rows, start)
	l.committed(rows[:1], start)
	taken := l.take(start, everything)
	if len(taken) != 2 || taken[0].partial != 2 || taken[1].partial != 1 {
		t.Fatalf("taken: %+v", taken)
	}
	l.committed(rows[:1], start) // while they are merged
	l.merged(taken, rows)
	if left := l.take(start, everything); len(left) != 1 || left[0].metric != 1 || left[0].partial != 1 || left[0].whole != 1 {
		t.Errorf("left: %+v", left)
	}
	if n := len(l.blocks); n != 2 {
		t.Errorf("%d blocks are known while they last, want 2", n)
	}
	l.take(start.Add(time.Hour), everything)
	if n := len(l.blocks); n != 1 {
		t.Errorf("%d blocks are known afterwards, want 1", n)
	}
}

func TestSlicesHoldFewRows(t *testing.T) {
	of := func(metric int64, start int64, rows int) task {
		return task{block{time.Minute, "a", metric, start * int64(blockSteps*time.Minute)}, pile{partial: rows}}
	}
	describe := func(tasks []task) string {
		s := ""
		for _, sl := range plan(tasks) {
			s += fmt.Sprintf("%d+%d:", sl.begin/int64(time.Minute), (sl.end-sl.begin)/int64(time.Minute))
			for _, b := range sl.blocks {
				s += fmt.Sprint(" ", b.metric)
			}
			s += fmt.Sprintf(" %v; ", sl.last)
		}
		return s
	}
	for _, c := range []struct {
		tasks []task
		want  string
	}{
		{nil, ""},
		{[]task{of(1, 0, 5), of(2, 0, 5), of(1, 1, 5)}, "0+16: 1 2 true; 16+16: 1 true; "},
		{[]task{of(1, 0, sliceRows), of(2, 0, 1)}, "0+16: 1 true; 0+16: 2 true; "},
		{[]task{of(1, 0, sliceRows/2), of(2, 0, sliceRows/2), of(3, 0, 1)}, "0+16: 1 2 true; 0+16: 3 true; "},
	} {
		if got := describe(c.tasks); got != c.want {
			t.Errorf("plan is %q, want %q", got, c.want)
		}
	}
	big := plan([]task{of(1, 2, sliceRows+1), of(2, 2, 1)})
	if len(big) != blockSteps+1 || big[0].last || !big[blockSteps-1].last || big[3].begin != 35*int64(time.Minute) || big[3].end != 36*int64(time.Minute) {
		t.Errorf("a big block is merged in %+v", big)
	}
}

func TestARangeIsDividedByHowManyRowsItHas(t *testing.T) {
	p := pace{width: 4, most: 1000, rows: 100}
	for name, density := range map[string]func(i uint64) int{
		"nothing":      func(uint64) int { return 0 },
		"dense":        func(uint64) int { return 50 },
		"very dense":   func(uint64) int { return 1000 },
		"sparse":       func(i uint64) int { return int(1 - min(1, i%500)) },
		"growing":      func(i uint64) int { return int(i / 100) },
		"only the end": func(i uint64) int { return int(i/4500) * 70 },
	} {
		rows := func(from, to uint64) (n int, _ error) {
			for i := from; i <= to; i++ {
				n += density(i)
			}
			return n, nil
		}
		next, most := uint64(7), 0
		err := p.divide(7, 5000, rows, func(from, to uint64) (int, error) {
			if from != next || to < from || to > 5000 || to-from >= p.most {
				t.Fatalf("%s: a stretch from %d to %d, want one from %d", name, from, to, next)
			}
			n, err := rows(from, to)
			next, most = to+1, max(most, n)
			return n, err
		})
		if err != nil || next != 5001 || most > max(4*p.rows, int(p.width)*density(7), density(5000)) {
			t.Errorf("%s: ended before %d with at most %d rows at once: %v", name, next, most, err)
		}
	}
	calls := 0
	once := func(uint64, uint64) (int, error) { calls++; return 0, nil }
	if err := p.divide(math.MaxUint64-1, math.MaxUint64, nil, once); err != nil || calls != 1 {
		t.Errorf("the end of all numbers took %d calls: %v", calls, err)
	}
	if err := p.divide(3, 2, nil, once); err != nil || calls != 1 {
		t.Error("an empty range was read")
	}
}

func TestACheckpointIsMadeWhenTheLogIsBigOrNothingElseHappens(t *testing.T) {
	for _, c := range []struct {
		size int64
		idle time.Duration
		want bool
	}{{99, 0, false}, {100, 0, true}, {24, time.Hour, false}, {25, time.Second, true}, {25, time.Second - 1, false}} {
		if got := checkpointDue(c.size, 100, c.idle); got != c.want {
			t.Errorf("a log of %d after %v: due is %v", c.size, c.idle, got)
		}
	}
}

func TestFloorDivRoundsDown(t *testing.T) {
	for _, c := range [][3]int64{{7, 2, 3}, {-7, 2, -4}, {-8, 2, -4}, {0, 5, 0}, {-1, 5, -1}, {math.MinInt64, 1, math.MinInt64}} {
		if got := floorDiv(c[0], c[1]); got != c[2] {
			t.Errorf("floorDiv(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestMemTotalIsRead(t *testing.T) {
	if got := memTotal([]byte("MemFree: 1 kB\nMemTotal:       24607744 kB\n")); got != 24607744<<10 {
		t.Errorf("MemTotal is %d", got)
	}
	for _, text := range []string{"", "MemTotal: many kB"} {
		if got := memTotal([]byte(text)); got != 0 {
			t.Errorf("MemTotal of %q is %d", text, got)
		}
	}
}

// The loop compacts by itself what was left alone for long enough.
func TestTheStoreCompactsByItself(t *testing.T) {
	var ahead atomic.Int64
	start := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), Config{Path: t.TempDir() + "/events.duckdb", CompactEvery: time.Millisecond, Now: func() time.Time { return start.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := &filler{t: t, s: s}
	var o series.Agg
	o.Add(series.Observation{At: start, Value: 1, Numeric: true})
	for range 5 {
		c := &store.Commit{From: f.at, To: store.Offset{Incarnation: "one", Seq: f.at.Seq + 1}, Rollups: []series.Rollup{{Tenant: tenant.Default, Metric: 1, Step: time.Minute, Start: start, Agg: o}}}
		f.at, err = s.Commit(t.Context(), c)
		f.must(err)
		f.must(f.flush())
	}
	rows := func() int64 {
		c, err := s.reader()
		f.must(err)
		n, err := c.number(t.Context(), `SELECT count(*) FROM rollup_1m`)
		s.giveBack(c, err == nil)
		f.must(err)
		return n
	}
	if n := rows(); n != 5 {
		t.Errorf("%d rows of five flushes before they are due", n)
	}
	ahead.Store(int64(time.Hour))
	deadline := time.After(20 * time.Second)
	for rows() != 1 {
		select {
		case <-deadline:
			t.Fatalf("there still are %d rows", rows())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
