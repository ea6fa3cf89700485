package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tone is how a line is meant.
type tone int

const (
	plain tone = iota
	good
	bad
	alarm
)

// console is what the demo says. Its methods may be called from any goroutine.
type console struct {
	mu   sync.Mutex
	w    io.Writer
	rich bool // a terminal, which has colours and takes back a line
	now  func() time.Time
	open bool // a progress line is there
}

const reset = "\x1b[0m"

func (c *console) paint(code, text string) string {
	if !c.rich {
		return text
	}
	return "\x1b[" + code + "m" + text + reset
}

func (c *console) bold(text string) string { return c.paint("1", text) }

// text writes lines as they are, in place of the progress if there is one.
func (c *console) text(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wipe()
	fmt.Fprintf(c.w, format+"\n", args...)
}

// line says what happened now.
func (c *console) line(t tone, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	mark := map[tone]string{plain: " ", good: c.paint("32", "✓"), bad: c.paint("33", "✗"), alarm: c.paint("1;31", "!")}[t]
	c.text("%s %s %s", c.paint("2", c.clock(c.now())), mark, text)
}

// progress says how far something is; on a terminal each takes the place of the one before, elsewhere nothing is said.
func (c *console) progress(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rich {
		c.wipe()
		fmt.Fprintf(c.w, format, args...)
		c.open = true
	}
}

func (c *console) wipe() {
	if c.open {
		fmt.Fprint(c.w, "\r\x1b[K")
		c.open = false
	}
}

func (c *console) clock(t time.Time) string { return t.Local().Format("15:04:05") }

// about is a duration for people: "3 minutes", "24 hours".
func about(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return plural(int(d.Round(time.Second)/time.Second), "second")
	case d < 90*time.Minute:
		return plural(int(d.Round(time.Minute)/time.Minute), "minute")
	}
	return plural(int(d.Round(time.Hour)/time.Hour), "hour")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// thousands writes 12345 as "12 345".
func thousands(n int) string {
	s := strconv.Itoa(n)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}
