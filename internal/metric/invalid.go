package metric

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/operators"
)

// FieldError says what is wrong with one field of a definition, in a sentence for the person who wrote it.
type FieldError struct {
	Field   string // as in JSON: "filter", "value", "dimensions.country", "event_types", …
	Message string
}

// Invalid is a definition that cannot be compiled, with all that is wrong with it.
type Invalid struct {
	Fields []FieldError
}

func (e *Invalid) Error() string {
	parts := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		parts = append(parts, f.Field+": "+f.Message)
	}
	return "the metric is not valid: " + strings.Join(parts, "; ")
}

func (e *Invalid) add(field, format string, args ...any) {
	e.Fields = append(e.Fields, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// or is e if it has something to say, else no error.
func (e *Invalid) or() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// explain puts CEL's first complaint about an expression into words that need no knowledge of CEL.
func explain(expression string, issues *cel.Issues) string {
	first := issues.Errors()[0]
	return where(expression, first.Location) + reword(expression, first)
}

// where says at which character, counting from one, and at which line if there are several.
func where(expression string, l common.Location) string {
	switch {
	case l == nil || l.Line() <= 0:
		return ""
	case strings.Contains(expression, "\n"):
		return fmt.Sprintf("line %d, character %d: ", l.Line(), l.Column()+1)
	}
	return fmt.Sprintf("character %d: ", l.Column()+1)
}

func reword(expression string, e *common.Error) string {
	m := e.Message
	if name, ok := between(m, "undeclared reference to '", "'"); ok {
		if e.Location.Line() == 1 && strings.HasPrefix(skipRunes(expression, e.Location.Column()), "(") {
			return fmt.Sprintf("there is no function %q", name)
		}
		return fmt.Sprintf("nothing is called %q: there are id, source, type, subject, time, data and event, so a field of the data is written data.%s", name, name)
	}
	if name, ok := between(m, "found no matching overload for '", "'"); ok {
		kinds, _ := between(m, "applied to '", "'")
		if operator, ok := symbol(name); ok {
			return fmt.Sprintf("%s cannot be applied to %s", operator, kinds)
		}
		return fmt.Sprintf("%s cannot be applied to %s", name, kinds)
	}
	if rest, ok := strings.CutPrefix(m, "Syntax error: "); ok {
		if strings.Contains(rest, "'<EOF>'") {
			return "the expression ends too early"
		}
		rest, _, _ = strings.Cut(rest, " expecting {")
		return "syntax error: " + strings.TrimSpace(rest)
	}
	return m
}

// symbol is an operator as it is written.
func symbol(name string) (string, bool) {
	if name == operators.Conditional {
		return "? :", true
	}
	if name == operators.Index {
		return "[ ]", true
	}
	s, ok := operators.FindReverse(name)
	return s, ok && s != ""
}

func between(s, before, after string) (string, bool) {
	_, s, ok := strings.Cut(s, before)
	if !ok {
		return "", false
	}
	s, _, ok = strings.Cut(s, after)
	return s, ok
}

func skipRunes(s string, n int) string {
	for ; n > 0 && s != ""; n-- {
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
	}
	return s
}
