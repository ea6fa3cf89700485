package event

import "time"

// ParseTime reads an RFC 3339 time, to the nanosecond, as UTC. A leap second (23:59:60 UTC), which neither Go nor the stores have a number for, is the
// second after it.
func ParseTime(s string) (time.Time, bool) {
	const date = "0000-00-00T00:00:00"
	if len(s) < len(date)+1 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != 't' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	century, year, month, day := two(s, 0), two(s, 2), two(s, 5), two(s, 8)
	hour, minute, second := two(s, 11), two(s, 14), two(s, 17)
	if century|year|month|day|hour|minute|second < 0 { // one of them is not two digits
		return time.Time{}, false
	}
	year += 100 * century
	if month < 1 || month > 12 || day < 1 || day > days(year, month) || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	nanos, rest, ok := fraction(s[len(date):])
	if !ok {
		return time.Time{}, false
	}
	east, ok := offset(rest)
	if !ok {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, min(second, 59), nanos, time.UTC).Add(-east)
	if second == 60 {
		if t.Hour() != 23 || t.Minute() != 59 {
			return time.Time{}, false
		}
		t = t.Add(time.Second)
	}
	return t, true
}

// two is the number that the two digits at s[i:] are, or negative.
func two(s string, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return -1
	}
	return 10*int(a) + int(b)
}

func days(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}

// fraction reads a fraction of a second, if there is one. What is finer than a nanosecond is cut off.
func fraction(s string) (nanos int, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	n, unit := 1, 100_000_000
	for ; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
		nanos += int(s[n]-'0') * unit
		unit /= 10
	}
	return nanos, s[n:], n > 1
}

// offset reads how far east of UTC a time is told.
func offset(s string) (time.Duration, bool) {
	if s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) != len("+00:00") || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hours, minutes := two(s, 1), two(s, 4)
	if hours|minutes < 0 || hours > 23 || minutes > 59 {
		return 0, false
	}
	east := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		east = -east
	}
	return east, true
}
