package metric

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Program is a compiled definition. It never changes and is safe for concurrent use.
type Program struct {
	def        Definition
	filter     *expression // nil: every event
	value      *expression // nil: the metric counts
	names      []string    // of the dimensions, sorted
	dimensions []*expression
	paths      paths
}

// Compile checks a definition and compiles its expressions. The error is an *Invalid.
func Compile(def Definition) (*Program, error) {
	bad := &Invalid{}
	def.check(bad)
	def.EventTypes, def.Dimensions = slices.Clone(def.EventTypes), maps.Clone(def.Dimensions)
	p := &Program{def: def, names: def.DimensionNames()}
	env, err := environment()
	if err != nil {
		return nil, err // a mistake in newEnv, which any test finds
	}
	p.filter = p.compileField(env, bad, "filter", def.Filter, conditionKinds)
	p.value = p.compileField(env, bad, "value", def.Value, valueKinds)
	if len(def.Dimensions) <= maxDimensions { // else it has been said, and many would take long
		for _, name := range p.names {
			field := "dimensions." + name
			if strings.TrimSpace(def.Dimensions[name]) == "" {
				bad.add(field, "needs an expression, such as data.%s", name)
				continue
			}
			p.dimensions = append(p.dimensions, p.compileField(env, bad, field, def.Dimensions[name], dimensionKinds))
		}
	}
	if err := bad.or(); err != nil {
		return nil, err
	}
	return p, nil
}

// Definition is what the program was compiled from. It must not be changed.
func (p *Program) Definition() *Definition { return &p.def }

// Dimensions are the names of the dimensions, sorted: the order of a series' labels.
func (p *Program) Dimensions() []string { return p.names }

// MatchesType says whether the metric is about events of type t.
func (p *Program) MatchesType(t string) bool {
	if len(p.def.EventTypes) == 0 {
		return true
	}
	for _, pattern := range p.def.EventTypes {
		prefix, open := strings.CutSuffix(pattern, "*")
		if pattern == t || open && strings.HasPrefix(t, prefix) {
			return true
		}
	}
	return false
}

// kinds says what an expression may come to, and how to tell someone whose expression comes to something else.
type kinds struct {
	allowed []types.Kind
	must    string
}

var (
	conditionKinds = kinds{[]types.Kind{types.BoolKind}, "must be a condition, such as data.livemode == true"}
	valueKinds     = kinds{[]types.Kind{types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.StringKind, types.DurationKind}, "must be a number, or a text whose distinct values are counted"}
	dimensionKinds = kinds{[]types.Kind{types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.StringKind}, "must be a text, a number or a condition"}
)

// expression is one compiled expression.
type expression struct {
	fast eval        // nil when only CEL knows it
	slow cel.Program // always there: fast may ask for it
	// What most expressions are is evaluated without closures within closures: a path into the data, which data is the number of;
	// that and a literal on either side of an operator; or an attribute.
	data      uint32 // or none
	attribute string
	apply     func(a, b value) value
	literal   value
	left      bool // the literal is the left side
	simple    simple
	number    float64 // the literal, for a simple one
}

// simple is an operator between a path on its left and a literal of the kind that it is about nearly always.
type simple uint8

const (
	notSimple simple = iota
	isText
	isBool
	isNumber
	isMore
	isLess
	times
	over
)

// simpleOf is notSimple for what is rarer.
func simpleOf(function string, literal value) simple {
	switch {
	case function == operators.Equals && literal.kind == kindString:
		return isText
	case function == operators.Equals && literal.kind == kindBool:
		return isBool
	case literal.kind != kindDouble && literal.kind != kindInt || literal.kind == kindInt && literal.int() != int64(int32(literal.int())): //nolint:gosec // that is the question
		return notSimple
	}
	switch function {
	case operators.Equals:
		return isNumber
	case operators.Greater:
		return isMore
	case operators.Less:
		return isLess
	case operators.Multiply:
		return times
	case operators.Divide:
		return over
	}
	return notSimple
}

// holds is whether the expression is true.
func (e *expression) holds(d *Doc) bool {
	if d.local != nil && e.simple != notSimple {
		v := &d.slots[d.local[e.data]]
		switch {
		case e.simple == isText && v.kind == kindString:
			return string(v.text) == string(e.literal.text)
		case e.simple == isBool && v.kind == kindBool:
			return v.bits == e.literal.bits
		case v.kind != kindDouble:
		case e.simple == isNumber:
			return v.double() == e.number
		case e.simple == isMore:
			return v.double() > e.number
		case e.simple == isLess:
			return v.double() < e.number
		}
	}
	return e.eval(d).isTrue()
}

// double is the expression's value if it is a double and simply had.
func (e *expression) double(d *Doc) (float64, bool) {
	if d.local == nil || e.data == none {
		return 0, false
	}
	v := &d.slots[d.local[e.data]]
	switch {
	case v.kind != kindDouble:
		return 0, false
	case e.apply == nil:
		return v.double(), true
	case e.literal.kind != kindDouble:
		return 0, false
	case e.simple == over:
		return v.double() / e.number, true
	case e.simple == times:
		return v.double() * e.number, true
	}
	return 0, false
}

// shape finds out whether an expression is one of the frequent simple ones.
func (e *expression) shape(c *paths, root ast.Expr) {
	if e.fast == nil {
		return
	}
	if p, ok := pathOf(root); ok && len(p.steps) == 0 {
		switch p.variable {
		case "id", "source", "type", "subject":
			e.attribute = p.variable
		}
		return
	}
	if n, ok := c.dataPath(root); ok {
		e.data = offset(n)
		return
	}
	if root.Kind() != ast.CallKind || len(root.AsCall().Args()) != 2 || root.AsCall().IsMemberFunction() {
		return
	}
	args := root.AsCall().Args()
	apply := binaryOf(root.AsCall().FunctionName())
	for i := range args {
		n, isPath := c.dataPath(args[i])
		v, isLiteral := constant(args[1-i])
		if apply != nil && isPath && isLiteral {
			e.data, e.apply, e.literal, e.left = offset(n), apply, v, i == 1
			if e.simple = notSimple; !e.left {
				e.simple = simpleOf(root.AsCall().FunctionName(), v)
			}
			if e.number = v.double(); v.kind == kindInt {
				e.number = float64(v.int())
			}
			return
		}
	}
}

func (p *Program) compileField(env *cel.Env, bad *Invalid, field, source string, may kinds) *expression {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	e, problem := p.paths.compile(env, source, may)
	if problem != "" {
		bad.add(field, "%s", problem)
	}
	return e
}

// compile answers what is wrong as a sentence for the person who wrote the expression.
func (c *paths) compile(env *cel.Env, source string, may kinds) (*expression, string) {
	if len(source) > maxExpression {
		return nil, "an expression has at most 4096 bytes"
	}
	parsed, issues := env.Parse(source)
	if issues.Err() != nil {
		return nil, explain(source, issues)
	}
	root := parsed.NativeRep().Expr()
	at := func(id int64) string { return where(source, parsed.NativeRep().SourceInfo().GetStartLocation(id)) }
	if id, problem := checkPatterns(root); problem != "" {
		return nil, at(id) + problem
	}
	if id := widen(root); id != 0 {
		return nil, at(id) + "% is for whole numbers, and the numbers of an event are not: write int(data.x) % 2"
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, explain(source, issues)
	}
	if out := checked.OutputType(); out.Kind() != types.DynKind && !slices.Contains(may.allowed, out.Kind()) {
		return nil, may.must + "; this is of the kind " + out.String()
	}
	slow, err := plan(env, checked)
	if err != nil {
		return nil, err.Error()
	}
	e := checked.NativeRep().Expr()
	out := &expression{fast: c.fast(e), slow: slow, data: none}
	out.shape(c, e)
	return out, ""
}

// eval evaluates the expression, on the fast path if there is one.
func (e *expression) eval(d *Doc) value {
	if e.data != none && d.local != nil {
		v := d.slots[d.local[e.data]]
		if v.kind >= kindUnread {
			v = d.reread(v, d.local[e.data])
		}
		if e.apply != nil && v.kind != kindError {
			if e.left {
				v = e.apply(e.literal, v)
			} else {
				v = e.apply(v, e.literal)
			}
		}
		if v.kind != kindBail {
			return v
		}
		return e.ask(d)
	}
	if e.fast != nil {
		if v := e.fast(d); v.kind != kindBail {
			return v
		}
	}
	return e.ask(d)
}

// ask has CEL evaluate the expression.
func (e *expression) ask(d *Doc) value {
	out, _, err := e.slow.Eval(variables{d})
	if err != nil {
		return failed()
	}
	return d.fromCEL(out)
}

func (d *Doc) fromCEL(v ref.Val) value {
	switch v := v.(type) {
	case types.Bool:
		return boolean(bool(v))
	case types.Int:
		return integer(int64(v))
	case types.Uint:
		return double(float64(v))
	case types.Double:
		return double(float64(v))
	case types.String:
		return d.copied(string(v))
	case types.Null:
		return value{kind: kindNull}
	case types.Duration:
		return seconds(v.Duration)
	case *types.Err:
		return failed()
	}
	return value{kind: kindOther}
}
