package signin

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a password, in characters. There are no rules of composition (NIST SP 800-63B, section 3.1.1.2).
const (
	MinPassword = 12
	MaxPassword = 128
	// ownLeast is how many characters of a password have to be its own: not common words, runs of the keyboard, repetitions, or what the
	// person and the tenant are called.
	ownLeast = 5
)

// PasswordError says why a password is not taken.
type PasswordError struct{ Message string }

func (e *PasswordError) Error() string { return e.Message }

// CheckPassword says what is wrong with a new password of somebody whose names and the like are own, or nil.
func CheckPassword(password string, own ...string) error {
	password = norm.NFKC.String(password)
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return &PasswordError{fmt.Sprintf("use at least %d characters, of any kind; a few words together are easy to remember", MinPassword)}
	case n > MaxPassword:
		return &PasswordError{fmt.Sprintf("use at most %d characters", MaxPassword)}
	}
	if guessable(password, own) {
		return &PasswordError{"this is one of the passwords that are tried first: common words, runs of keys, repetitions and your own names make no password"}
	}
	return nil
}

// guessable says whether hardly anything is left of a password without what everybody tries. A list of leaked passwords would miss the next
// year's variant of each; this finds those that are made of the same parts.
func guessable(password string, own []string) bool {
	if distinct(password) < ownLeast {
		return true
	}
	words := commonWords()
	for _, text := range own {
		for word := range strings.FieldsFuncSeq(plainLetters(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(word) >= 3 {
				words = append(words, word)
			}
		}
	}
	var letters, digits []rune
	for _, r := range without(password, words) {
		switch {
		case unicode.IsLetter(r):
			letters = append(letters, unicode.ToLower(r))
		case unicode.IsDigit(r):
			digits = append(digits, r)
		}
	}
	// Digits by themselves are dates and telephone numbers: they count for half.
	return distinct(withoutRuns(string(letters)))+distinct(withoutRuns(string(digits)))/2 < ownLeast
}

// without is what is left of a password without some words, however their letters were replaced.
func without(password string, words []string) (left []rune) {
	as, plain := []rune(password), []rune(plainLetters(password))
	gone := make([]bool, len(as))
	for _, word := range words {
		w := []rune(word)
		for i := 0; i+len(w) <= len(plain) && len(plain) == len(as); i++ {
			if slices.Equal(plain[i:i+len(w)], w) {
				for k := range w {
					gone[i+k] = true
				}
			}
		}
	}
	for i, r := range as {
		if !gone[i] {
			left = append(left, r)
		}
	}
	return left
}

// plainLetters is a text in lower case, with letters for the digits and signs that people write in their place.
func plainLetters(text string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '0':
			return 'o'
		case '1', '!':
			return 'i'
		case '3':
			return 'e'
		case '4', '@':
			return 'a'
		case '5', '$':
			return 's'
		case '7':
			return 't'
		case '_':
			return ' '
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(text))
}

// withoutRuns leaves out what follows its predecessor on the keyboard, in the alphabet or in counting, either way, or repeats it.
func withoutRuns(text string) string {
	rows := []string{"abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
		"qazwsxedcrfvtgbyhnujmikolp"}
	var out []rune
	var last rune
	for _, r := range strings.ToLower(text) {
		next := string([]rune{last, r})
		back := string([]rune{r, last})
		if r != last && !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, next) || strings.Contains(row, back) }) {
			out = append(out, r)
		}
		last = r
	}
	return string(out)
}

// distinct counts the different characters of a text.
func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// commonWords are those that passwords that are tried first are made of, in plain letters.
func commonWords() []string {
	return strings.Fields(`pulsestream administrator changeme iloveyou letmein trustno password passwort passwd kennwort motdepasse contrasena parola
		welcome willkommen sunshine princess football baseball basketball superman batman starwars dragon monkey shadow master michael jennifer
		jordan hunter charlie ashley daniel jessica andrew joshua thomas robert soccer hockey killer summer winter spring autumn january february
		march april june july august september october november december monday tuesday wednesday thursday friday saturday sunday
		computer internet samsung google facebook amazon microsoft windows apple linkedin company secret default temporary temp guest
		admin root user login test demo example system server public private access hello freedom whatever flower cheese pepper cookie
		banana orange purple silver golden diamond mercedes ferrari porsche yamaha chelsea liverpool arsenal barcelona madrid
		pokemon minecraft naruto matrix phoenix mustang harley ranger buster tigger ginger jasmine angel babygirl lovely forever love money
		qwerty qwertz azerty asdfgh zxcvbn abc pass word`)
}
