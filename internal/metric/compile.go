package metric

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
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
}

// Compile checks a definition and compiles its expressions. The error is an *Invalid.
func Compile(def Definition) (*Program, error) {
	bad := &Invalid{}
	def.check(bad)
	def.EventTypes, def.Dimensions = slices.Clone(def.EventTypes), maps.Clone(def.Dimensions)
	p := &Program{def: def, names: def.DimensionNames()}
	env, err := newEnv()
	if err != nil {
		return nil, err // a mistake in newEnv, which any test finds
	}
	p.filter = compileField(env, bad, "filter", def.Filter, conditionKinds)
	p.value = compileField(env, bad, "value", def.Value, valueKinds)
	if len(def.Dimensions) <= maxDimensions { // else it has been said, and many would take long
		for _, name := range p.names {
			field := "dimensions." + name
			if strings.TrimSpace(def.Dimensions[name]) == "" {
				bad.add(field, "needs an expression, such as data.%s", name)
				continue
			}
			p.dimensions = append(p.dimensions, compileField(env, bad, field, def.Dimensions[name], dimensionKinds))
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
}

func compileField(env *cel.Env, bad *Invalid, field, source string, may kinds) *expression {
	if strings.TrimSpace(source) == "" {
		return nil
	}
	e, problem := compileExpression(env, source, may)
	if problem != "" {
		bad.add(field, "%s", problem)
	}
	return e
}

// compileExpression answers what is wrong as a sentence for the person who wrote the expression.
func compileExpression(env *cel.Env, source string, may kinds) (*expression, string) {
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
	return &expression{fast: fast(checked.NativeRep().Expr()), slow: slow}, ""
}

// eval evaluates the expression, on the fast path if there is one.
func (e *expression) eval(d *Doc) value {
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
