package event

import (
	"strings"
	"time"
)

// ParseTime reads an RFC 3339 time, to the nanosecond, as UTC. A leap second (23:59:60 UTC), which neither Go nor the stores have a number for, is the
// second after it.
func ParseTime(s string) (time.Time, bool) {
	leap, ok := shape(s)
	if !ok {
		return time.Time{}, false
	}
	if leap {
		s = s[:17] + "59" + s[19:]
	}
	if s[10] == 't' || strings.HasSuffix(s, "z") { // RFC 3339 allows lower case, package time does not
		s = strings.ToUpper(s)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, false
	}
	t = t.UTC()
	if leap {
		if t.Hour() != 23 || t.Minute() != 59 {
			return time.Time{}, false
		}
		t = t.Add(time.Second)
	}
	return t, true
}

// shape says whether s has the shape of an RFC 3339 time, about which package time is generous: it takes a single digit for the hour, a comma
// before the fraction, and offsets of 24 hours or 60 minutes. Leap says that its seconds are 60.
func shape(s string) (leap, ok bool) {
	const date = "0000-00-00T00:00:00"
	if len(s) < len(date)+1 {
		return false, false
	}
	for i := range len(date) {
		switch c := s[i]; {
		case date[i] == '0' && isDigit(c), date[i] == c, i == 10 && c == 't':
		default:
			return false, false
		}
	}
	rest := s[len(date):]
	if rest[0] == '.' {
		n := 1
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		if n == 1 {
			return false, false
		}
		rest = rest[n:]
	}
	return s[17:19] == "60", rest == "Z" || rest == "z" || isOffset(rest)
}

func isOffset(s string) bool {
	return len(s) == len("+00:00") && (s[0] == '+' || s[0] == '-') && s[3] == ':' &&
		isDigit(s[1]) && isDigit(s[2]) && isDigit(s[4]) && isDigit(s[5]) && s[1:3] <= "23" && s[4:6] <= "59"
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
