package series

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written in JSON as people write it: "30s", "5m", "1h", "7d".
type Duration time.Duration

// ParseDuration reads what time.ParseDuration reads, and days (d) and weeks (w).
func ParseDuration(s string) (Duration, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return Duration(d), nil
	}
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseFloat(n, 64)
			if v *= float64(length); err == nil && math.Abs(v) < math.MaxInt64 {
				return Duration(v), nil
			}
		}
	}
	return 0, fmt.Errorf("%q is not a duration: write it like 30s, 5m, 1h or 7d", s)
}

// String writes the duration in its largest whole unit.
func (d Duration) String() string {
	v := time.Duration(d)
	for _, u := range [...]struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if v != 0 && v%u.length == 0 {
			return strconv.FormatInt(int64(v/u.length), 10) + u.name
		}
	}
	if v == 0 {
		return "0s"
	}
	return v.String()
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration; an empty text is zero.
func (d *Duration) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = 0
		return nil
	}
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
