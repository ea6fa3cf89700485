package scim

import (
	"strings"
	"time"

	filter "github.com/scim2/filter-parser/v2"
)

// value is one value of an attribute: a text, which may be compared without regard to case, or a boolean.
type value struct {
	text string
	fold bool
	flag *bool
}

func exact(text string) []value  { return texts(false, text) }
func folded(text string) []value { return texts(true, text) }

func texts(fold bool, all ...string) (out []value) {
	for _, t := range all {
		if t != "" {
			out = append(out, value{text: t, fold: fold})
		}
	}
	return out
}

func refs(all []Ref) (out []value) {
	for _, r := range all {
		out = append(out, value{text: r.ID})
	}
	return out
}

// moment is a time as it is written in answers; such texts are in the order of the times.
func moment(t time.Time) []value { return exact(t.UTC().Format(time.RFC3339Nano)) }

// attributes is what a filter sees of a resource.
type attributes func(name string) ([]value, bool)

// filtered is what a filter lets through of all; of an empty one, all.
func filtered[T any](text string, all []T, see func(*T, string) ([]value, bool)) ([]T, error) {
	if text == "" {
		return all, nil
	}
	e, err := parseFilter(text)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(all))
	var none T // what can't be judged is told, whether or not there is anything to judge
	if _, err := matches(e, func(name string) ([]value, bool) { return see(&none, name) }, ""); err != nil {
		return nil, err
	}
	for i := range all {
		ok, err := matches(e, func(name string) ([]value, bool) { return see(&all[i], name) }, "")
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// parseFilter bounds what the parser, which calls itself, is given.
func parseFilter(text string) (filter.Expression, error) {
	if len(text) > maxFilter {
		return nil, bad("invalidFilter", "A filter has at most %d bytes.", maxFilter)
	}
	e, err := filter.ParseFilter([]byte(text))
	if err != nil {
		return nil, bad("invalidFilter", "The filter cannot be read: %v.", err)
	}
	return e, nil
}

// matches says whether a resource is what an expression asks for. Within is the attribute whose values the expression is about.
func matches(e filter.Expression, see attributes, within string) (bool, error) {
	switch e := e.(type) {
	case *filter.LogicalExpression:
		left, err := matches(e.Left, see, within)
		if err != nil {
			return false, err
		}
		right, err := matches(e.Right, see, within) // judged in any case: it may be wrong
		if e.Operator == filter.AND {
			return left && right, err
		}
		return left || right, err
	case *filter.NotExpression:
		ok, err := matches(e.Expression, see, within)
		return !ok, err
	case *filter.ValuePath:
		return matches(e.ValueFilter, see, pathName(e.AttributePath, within))
	case *filter.AttributeExpression:
		name := pathName(e.AttributePath, within)
		values, ok := see(name)
		if !ok {
			return false, bad("invalidFilter", "%s cannot be filtered by.", e.AttributePath.String())
		}
		return compare(e, values)
	}
	return false, bad("invalidFilter", "The filter has something that is not known here.")
}

// pathName is an attribute's name in lower case, with the one that it is within, without the schema's.
func pathName(p filter.AttributePath, within string) string {
	name := strings.ToLower(p.AttributeName)
	if sub := p.SubAttributeName(); sub != "" {
		name += "." + strings.ToLower(sub)
	}
	if within != "" {
		name = within + "." + name
	}
	return name
}

// compare says whether any of an attribute's values fits; that it is not the same, whether none is.
func compare(e *filter.AttributeExpression, values []value) (bool, error) {
	if e.Operator == filter.PR {
		return len(values) > 0, nil
	}
	if e.Operator == filter.NE {
		same, err := compare(&filter.AttributeExpression{AttributePath: e.AttributePath, Operator: filter.EQ, CompareValue: e.CompareValue}, values)
		return !same, err
	}
	for _, v := range values {
		if ok, err := v.fits(e); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (v value) fits(e *filter.AttributeExpression) (bool, error) {
	if v.flag != nil {
		want, ok := e.CompareValue.(bool)
		if !ok || e.Operator != filter.EQ {
			return false, bad("invalidFilter", "%s is true or false, and can be compared by eq and ne.", e.AttributePath.String())
		}
		return *v.flag == want, nil
	}
	want, ok := e.CompareValue.(string)
	if !ok {
		return false, bad("invalidFilter", "%s is compared with a text in quotes.", e.AttributePath.String())
	}
	have := v.text
	if v.fold {
		have, want = strings.ToLower(have), strings.ToLower(want)
	}
	switch e.Operator {
	case filter.EQ:
		return have == want, nil
	case filter.CO:
		return strings.Contains(have, want), nil
	case filter.SW:
		return strings.HasPrefix(have, want), nil
	case filter.EW:
		return strings.HasSuffix(have, want), nil
	case filter.GT:
		return have > want, nil
	case filter.GE:
		return have >= want, nil
	case filter.LT:
		return have < want, nil
	case filter.LE:
		return have <= want, nil
	}
	return false, bad("invalidFilter", "The operator %q is not known.", string(e.Operator))
}
