package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
)

// choice is what becomes of the two files of a catalog.
type choice struct {
	use   int  // which of them is gone on with
	renew bool // the other is made anew from it
	aside bool // but kept for inspection
	alone bool // the other is left as it is: it cannot be read now, so what is in it is not known
	level slog.Level
	why   string // what is said; nothing when all is well
}

// choose decides from what both files are like. A change is made in one file, then in the other, and only then does its call return: so each
// whole file has every change whose call has returned, but for what its write-ahead log may have lost unseen, and then it is older than the
// other. The newer whole file therefore has everything.
func choose(both [2]state) (choice, error) {
	a, b := both[0], both[1]
	switch {
	case a.unread != nil || b.unread != nil:
		return alone(both)
	case !a.here && !b.here:
		return choice{use: 0, renew: true}, nil
	case whole(a) && whole(b):
		return between(both), nil
	case whole(a):
		return instead(both, 0), nil
	case whole(b):
		return instead(both, 1), nil
	}
	var what string
	for _, s := range both {
		if s.here {
			what += fmt.Sprintf("; %s: %v", s.path, s.damage)
		} else {
			what += "; " + s.path + " is missing"
		}
	}
	return choice{}, fmt.Errorf("%w, and so is its copy: move both files away, with their -wal files, and put the catalog's file of a backup in place of %s%s", ErrDamaged, a.path, what)
}

func whole(s state) bool { return s.here && s.damage == nil && s.unread == nil }

// alone goes on with the one that can be read, if it is whole.
func alone(both [2]state) (choice, error) {
	use := 0
	if both[0].unread != nil {
		use = 1
	}
	read, other := both[use], both[1-use]
	switch {
	case whole(read):
		return choice{use: use, alone: true, level: slog.LevelError, why: "a file of the catalog cannot be read: until it can be, or is moved away, nothing in the catalog can be changed"}, nil
	case read.unread != nil:
		return choice{}, fmt.Errorf("neither file of the catalog can be read: %w", errors.Join(both[0].unread, both[1].unread))
	case read.damage != nil:
		return choice{}, fmt.Errorf("%w; %s, which can be read, is damaged: %w", other.unread, read.path, read.damage)
	}
	return choice{}, fmt.Errorf("%w; %s is missing", other.unread, read.path)
}

// instead goes on with the one that is whole.
func instead(both [2]state, use int) choice {
	other := both[1-use]
	switch {
	case other.here:
		return choice{use: use, renew: true, aside: true, level: slog.LevelWarn,
			why: fmt.Sprintf("a file of the catalog is damaged; nothing is lost, its copy has everything: %v", other.damage)}
	case both[use].commits == 0: // from a version that kept one file only, or a first start that was cut short
		return choice{use: use, renew: true}
	}
	return choice{use: use, renew: true, level: slog.LevelWarn, why: "a file of the catalog is missing; nothing is lost, its copy has everything"}
}

// between tells which of two whole files is the newer one.
func between(both [2]state) choice {
	use := 0
	if both[1].commits > both[0].commits {
		use = 1
	}
	lacks := both[use].commits - both[1-use].commits
	switch {
	case lacks == 0 && both[0].sum == both[1].sum:
		return choice{use: use}
	case lacks == 0:
		return choice{use: use, renew: true, aside: true, level: slog.LevelWarn, why: "a file of the catalog has other content than its copy at the same number of changes"}
	case lacks == 1: // the process ended between the two
		return choice{use: use, renew: true, level: slog.LevelInfo, why: "a file of the catalog was one change behind its copy"}
	}
	return choice{use: use, renew: true, aside: true, level: slog.LevelWarn,
		why: fmt.Sprintf("a file of the catalog lacks the last %d changes: it or its write-ahead log was damaged; nothing is lost, its copy has everything", lacks)}
}
