package sqlite

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestTheNewerWholeFileIsGoneOnWith(t *testing.T) {
	whole := func(commits int64, sum uint64) state {
		return state{here: true, version: 3, commits: commits, sum: sum}
	}
	damaged := state{here: true, damage: errors.New("it is broken")}
	missing := state{}
	old := state{here: true, version: 2}
	for name, c := range map[string]struct {
		both [2]state
		want choice
		says string
	}{
		"both are the same":              {[2]state{whole(7, 1), whole(7, 1)}, choice{use: 0}, ""},
		"neither is there":               {[2]state{missing, missing}, choice{use: 0, renew: true}, ""},
		"from before there was a copy":   {[2]state{old, missing}, choice{use: 0, renew: true}, ""},
		"old beside a newer one":         {[2]state{old, whole(7, 1)}, choice{use: 1, renew: true, aside: true, level: slog.LevelWarn}, "last 7 changes"},
		"ended between the two":          {[2]state{whole(8, 2), whole(7, 1)}, choice{use: 0, renew: true}, "one change behind"},
		"the first lost one":             {[2]state{whole(7, 1), whole(8, 2)}, choice{use: 1, renew: true}, "one change behind"},
		"the first lost several":         {[2]state{whole(3, 1), whole(8, 2)}, choice{use: 1, renew: true, aside: true, level: slog.LevelWarn}, "last 5 changes"},
		"the second lost several":        {[2]state{whole(8, 2), whole(3, 1)}, choice{use: 0, renew: true, aside: true, level: slog.LevelWarn}, "last 5 changes"},
		"other content":                  {[2]state{whole(7, 1), whole(7, 2)}, choice{use: 0, renew: true, aside: true, level: slog.LevelWarn}, "other content"},
		"the first is damaged":           {[2]state{damaged, whole(7, 1)}, choice{use: 1, renew: true, aside: true, level: slog.LevelWarn}, "it is broken"},
		"the second is damaged":          {[2]state{whole(7, 1), damaged}, choice{use: 0, renew: true, aside: true, level: slog.LevelWarn}, "it is broken"},
		"an old second, a damaged first": {[2]state{damaged, whole(1, 1)}, choice{use: 1, renew: true, aside: true, level: slog.LevelWarn}, "it is broken"},
		"the first is missing":           {[2]state{missing, whole(7, 1)}, choice{use: 1, renew: true, level: slog.LevelWarn}, "missing"},
		"the second is missing":          {[2]state{whole(7, 1), missing}, choice{use: 0, renew: true, level: slog.LevelWarn}, "missing"},
	} {
		got, err := choose(c.both)
		if !strings.Contains(got.why, c.says) || (got.why == "") != (c.says == "") {
			t.Errorf("%s: it says %q, want %q", name, got.why, c.says)
		}
		if got.why = ""; got != c.want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	for name, both := range map[string][2]state{
		"both are damaged":                        {damaged, damaged},
		"a damaged one, the other is missing":     {damaged, missing},
		"the first is missing, the other damaged": {missing, damaged},
	} {
		if _, err := choose(both); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "it is broken") || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
