package metric

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
	"github.com/cespare/xxhash/v2"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
)

// Field is a part of an event that a store may keep as a column: an attribute, or what data has at a path of members.
type Field struct {
	Attribute string   // "id", "source", "type" or "subject"; empty for data
	Path      []string // names of members, from the root of data
}

// Equal says whether two fields are the same.
func (f Field) Equal(o Field) bool {
	return f.Attribute == o.Attribute && slices.Equal(f.Path, o.Path)
}

// Columnar is a program taken apart into expressions of which each reads one field at most, so that it can be computed column by
// column: an event counts if all of Filter hold, its value is that of Value, and its labels are those of Dimensions.
type Columnar struct {
	Fields     []Field // that are read, each once
	Filter     []FieldExpression
	Value      *FieldExpression  // nil: the metric counts
	Dimensions []FieldExpression // in the order of the labels
}

// FieldExpression is an expression that reads one field at most.
type FieldExpression struct {
	Field int // among Fields; -1 when it reads none
	// Plain says that the expression is the field itself.
	Plain bool
	// Linear says that the expression is a number times Times, over Over: what is no number adds nothing.
	Linear      bool
	Times, Over float64
	program     *Program
}

// Columnar takes the program apart; false when it cannot be, because an expression reads several fields, or what is no field. It
// compiles, so keep the answer.
func (p *Program) Columnar() (*Columnar, bool) {
	c := &Columnar{}
	for _, conjunct := range conjuncts(p.def.Filter) {
		x, ok := c.add(conjunct, Definition{Slug: "x", Filter: conjunct})
		if !ok {
			return nil, false
		}
		c.Filter = append(c.Filter, x)
	}
	if strings.TrimSpace(p.def.Value) != "" {
		x, ok := c.add(p.def.Value, Definition{Slug: "x", Value: p.def.Value})
		if !ok {
			return nil, false
		}
		x.linear(p.def.Value)
		c.Value = &x
	}
	for _, name := range p.names {
		x, ok := c.add(p.def.Dimensions[name], Definition{Slug: "x", Dimensions: map[string]string{"d": p.def.Dimensions[name]}})
		if !ok {
			return nil, false
		}
		c.Dimensions = append(c.Dimensions, x)
	}
	return c, true
}

// add compiles an expression on its own.
func (c *Columnar) add(source string, def Definition) (FieldExpression, bool) {
	x := FieldExpression{Field: -1}
	parsed, ok := parse(source)
	if !ok {
		return x, false
	}
	var fields []Field
	if !fieldsOf(parsed.Expr(), &fields) || len(fields) > 1 {
		return x, false
	}
	if len(fields) == 1 {
		x.Plain = parsed.Expr().Kind() != ast.CallKind || parsed.Expr().AsCall().FunctionName() == operators.Index
		if x.Field = slices.IndexFunc(c.Fields, fields[0].Equal); x.Field < 0 {
			x.Field = len(c.Fields)
			c.Fields = append(c.Fields, fields[0])
		}
	}
	var err error
	x.program, err = Compile(def)
	return x, err == nil
}

func parse(source string) (*ast.AST, bool) {
	env, err := environment()
	if err != nil {
		return nil, false
	}
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		return nil, false
	}
	return parsed.NativeRep(), true
}

// conjuncts are the sources of what a condition demands all of. An error in one of them makes no difference: neither is true.
func conjuncts(source string) []string {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	parsed, ok := parse(source)
	if !ok {
		return []string{source}
	}
	var parts []ast.Expr
	var split func(e ast.Expr)
	split = func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
			for _, a := range e.AsCall().Args() {
				split(a)
			}
			return
		}
		parts = append(parts, e)
	}
	split(parsed.Expr())
	if len(parts) == 1 {
		return []string{source}
	}
	out := make([]string, 0, len(parts))
	for _, e := range parts {
		text, err := parser.Unparse(e, parsed.SourceInfo())
		if err != nil {
			return []string{source}
		}
		out = append(out, text)
	}
	return out
}

// fieldsOf collects the fields that e reads; false when it reads anything else, or asks whether something is there: that depends
// on what is around it.
func fieldsOf(e ast.Expr, fields *[]Field) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.IdentKind, ast.SelectKind:
		return fieldOf(e, fields)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			if !fieldsOf(x, fields) {
				return false
			}
		}
		return true
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == operators.Index {
			return fieldOf(e, fields)
		}
		if call.IsMemberFunction() && !fieldsOf(call.Target(), fields) {
			return false
		}
		for _, a := range call.Args() {
			if !fieldsOf(a, fields) {
				return false
			}
		}
		return true
	}
	return false
}

func fieldOf(e ast.Expr, fields *[]Field) bool {
	p, ok := pathOf(e)
	if !ok {
		return false
	}
	if p.variable == "event" && len(p.steps) > 1 && string(p.steps[0].name) == "data" {
		p.variable, p.steps = "data", p.steps[1:]
	}
	var f Field
	switch p.variable {
	case "id", "source", "type", "subject":
		f.Attribute = p.variable
		ok = len(p.steps) == 0
	case "data":
		ok = len(p.steps) > 0
		for _, s := range p.steps {
			ok = ok && s.name != nil
			f.Path = append(f.Path, string(s.name))
		}
	default:
		ok = false
	}
	if ok && !slices.ContainsFunc(*fields, f.Equal) {
		*fields = append(*fields, f)
	}
	return ok
}

// linear recognises a field times or over a constant.
func (x *FieldExpression) linear(source string) {
	parsed, ok := parse(source)
	if !ok || parsed.Expr().Kind() != ast.CallKind {
		return
	}
	call := parsed.Expr().AsCall()
	name := call.FunctionName()
	if name != operators.Multiply && name != operators.Divide || len(call.Args()) != 2 {
		return
	}
	a, b := call.Args()[0], call.Args()[1]
	if name == operators.Multiply && a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	var fields []Field
	if a.Kind() == ast.CallKind && a.AsCall().FunctionName() != operators.Index || !fieldOf(a, &fields) || fields[0].Attribute != "" {
		return
	}
	factor, ok := factorOf(b)
	if !ok {
		return
	}
	x.Linear, x.Times, x.Over = true, 1, 1
	if name == operators.Multiply {
		x.Times = factor
	} else {
		x.Over = factor
	}
}

func factorOf(e ast.Expr) (float64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	switch v := e.AsLiteral().(type) {
	case types.Double:
		return float64(v), true
	case types.Int: // beside a number of an event it is widened
		return float64(v), true
	}
	return 0, false
}

// Number is what a number of the field adds; false when it adds nothing. Only for an expression that is Linear or Plain.
func (x *FieldExpression) Number(f float64) (series.Observation, bool) {
	if x.Linear {
		f = f * x.Times / x.Over
	}
	var o series.Observation
	ok := observeValue(&o, double(f))
	return o, ok
}

// Subject is what an event with a subject adds to a metric that has no value.
func Subject(subject string) series.Observation {
	if subject == "" {
		return series.Observation{}
	}
	return series.Observation{Distinct: xxhash.Sum64String(subject), HasDistinct: true}
}

// FieldEvaluator evaluates expressions on single values of their field, exactly as on events. It is not safe for concurrent use; the
// zero value is ready.
type FieldEvaluator struct {
	doc Doc
	ev  event.Event
	buf []byte
}

// on makes an event that has nothing but the value: JSON of a path, the text itself of an attribute, nil when it is not there.
func (v *FieldEvaluator) on(f *Field, raw []byte) *Doc {
	v.ev = event.Event{}
	v.buf = v.buf[:0]
	switch {
	case f == nil || raw == nil:
	case f.Attribute == "id":
		v.ev.ID = string(raw)
	case f.Attribute == "source":
		v.ev.Source = string(raw)
	case f.Attribute == "type":
		v.ev.Type = string(raw)
	case f.Attribute == "subject":
		v.ev.Subject = string(raw)
	default:
		for _, name := range f.Path {
			v.buf = append(event.AppendQuoted(append(v.buf, '{'), name), ':')
		}
		v.buf = append(v.buf, raw...)
		for range f.Path {
			v.buf = append(v.buf, '}')
		}
	}
	v.ev.Data = v.buf
	if len(v.buf) == 0 {
		v.ev.Data = nil
	}
	v.doc.Reset(&v.ev)
	return &v.doc
}

// Holds says whether a condition holds.
func (v *FieldEvaluator) Holds(c *Columnar, x *FieldExpression, raw []byte) bool {
	_, _, ok := x.program.Observe(v.on(c.field(x), raw))
	return ok
}

// Label is the value of a dimension.
func (v *FieldEvaluator) Label(c *Columnar, x *FieldExpression, raw []byte) string {
	labels, _, _ := x.program.Observe(v.on(c.field(x), raw))
	return labels[0]
}

// Observe is what a value adds; false when it adds nothing.
func (v *FieldEvaluator) Observe(c *Columnar, x *FieldExpression, raw []byte) (series.Observation, bool) {
	_, o, ok := x.program.Observe(v.on(c.field(x), raw))
	return o, ok
}

func (c *Columnar) field(x *FieldExpression) *Field {
	if x.Field < 0 {
		return nil
	}
	return &c.Fields[x.Field]
}
