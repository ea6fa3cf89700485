package metric

import (
	"regexp/syntax"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// Bounds on what one tenant's expression may cost the others. They count steps and bytes, never time, so that a replay
// comes to the same observations on any machine. CEL keeps its count of steps in time that grows by the square of them:
// 20 000 take about 30 ms, five times as many most of a second.
const (
	maxExpression = 4096    // bytes
	maxSteps      = 20_000  // cost of evaluating one expression on one event, by CEL's count and price's
	maxNodes      = 2_000   // values in either of two lists or maps that are compared
	maxText       = 1 << 20 // bytes that replace and join may make
	maxRegex      = 2_000   // instructions of a regular expression
	maxMacros     = 2       // levels of all, exists, filter, map within each other
	maxRecursion  = 100     // levels of brackets
)

// environment is that of all expressions: what they see and which functions they have. It is made once, and never changed: a thousand of it are
// forty megabytes that the garbage collector looks through.
var environment = sync.OnceValues(newEnv)

func newEnv() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.Variable("id", cel.StringType),
		cel.Variable("source", cel.StringType),
		cel.Variable("type", cel.StringType),
		cel.Variable("subject", cel.StringType),
		cel.Variable("time", cel.TimestampType),
		cel.Variable("data", cel.DynType),
		cel.Variable("event", cel.MapType(cel.StringType, cel.DynType)),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(maxMacros),
		),
		ext.Strings(ext.StringsVersion(5)),
	}
	return cel.NewEnv(append(options, boundedStrings()...)...)
}

// plan makes the form of a checked expression that CEL itself evaluates.
func plan(env *cel.Env, checked *cel.Ast) (cel.Program, error) {
	return env.Program(checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(maxSteps),
		cel.CostTracking(price{}),
		cel.CustomDecoratorV2(boundComparisons))
}

// price is what a call costs where CEL's own count falls short: it prices most functions by their overload, which for JSON,
// whose kinds are unknown until it is there, it does not know. It then takes any call for one step, however long the text.
type price struct{}

var _ interpreter.ActualCostEstimator = price{}

// CallCost is part of interpreter.ActualCostEstimator.
func (price) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	const bytesPerStep = 32
	cost := 1 + weight(result)/bytesPerStep
	for _, a := range args {
		cost += weight(a) / bytesPerStep
	}
	switch function {
	case overloads.Matches:
		cost *= 8
	case operators.Equals, operators.NotEquals:
		if isContainer(args[0]) && isContainer(args[1]) {
			cost += min(nodesOf(args[0], maxNodes), nodesOf(args[1], maxNodes))
		}
	case operators.In, operators.OldIn:
		if l, ok := args[1].(traits.Lister); ok {
			cost += lengthOf(l) * nodesOf(args[0], maxNodes)
		}
	default:
		if len(args) == 2 && args[0].Type() == types.TimestampType && args[1].Type() == types.StringType {
			cost += 500 // a time zone is read from its file
		}
	}
	steps := uint64(cost) //nolint:gosec // a sum of lengths
	return &steps
}

// weight is the length of a text.
func weight(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

func lengthOf(l traits.Lister) int {
	n, _ := l.Size().(types.Int)
	return int(n)
}

func isContainer(v ref.Val) bool {
	switch v.(type) {
	case traits.Lister, traits.Mapper:
		return true
	}
	return false
}

// nodesOf counts the values in v, itself included, up to limit.
func nodesOf(v ref.Val, limit int) int {
	n := 1
	var it traits.Iterator
	m, isMap := v.(traits.Mapper)
	if isMap {
		it = m.Iterator()
	} else if l, ok := v.(traits.Lister); ok {
		it = l.Iterator()
	} else {
		return n
	}
	for n < limit && it.HasNext() == types.True {
		child := it.Next()
		if isMap {
			child, _ = m.Find(child)
		}
		n += nodesOf(child, limit-n)
	}
	return n
}

// boundComparisons replaces the comparisons that walk lists and maps by ones that refuse what is too large: CEL counts a
// comparison only after it has been done, and lists of lists can be made that would take hours.
func boundComparisons(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	var compare func(a, b ref.Val) ref.Val
	switch call.Function() {
	case operators.Equals:
		compare = boundedEqual
	case operators.NotEquals:
		compare = func(a, b ref.Val) ref.Val {
			eq := boundedEqual(a, b)
			if types.IsError(eq) {
				return eq
			}
			return types.Bool(eq != types.True)
		}
	case operators.In, operators.OldIn:
		compare = boundedIn
	default:
		return i, nil
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		return compare(args[0], args[1])
	}), nil
}

func boundedEqual(a, b ref.Val) ref.Val {
	if isContainer(a) && isContainer(b) && nodesOf(a, maxNodes) == maxNodes && nodesOf(b, maxNodes) == maxNodes {
		return types.NewErr("lists or maps of %d values or more cannot be compared", maxNodes)
	}
	return types.Equal(a, b)
}

func boundedIn(elem, in ref.Val) ref.Val {
	c, ok := in.(traits.Container)
	if !ok {
		return types.MaybeNoSuchOverloadErr(in)
	}
	if l, ok := in.(traits.Lister); ok && isContainer(elem) && nodesOf(elem, maxNodes)*lengthOf(l) > maxSteps {
		return types.NewErr("the list is too large to look for a list or map in it")
	}
	return c.Contains(elem)
}

// checkPatterns says what is wrong with a regular expression, and where. One that comes with the event is not taken: it
// would have to be compiled for each event, and the sender would choose what that costs.
func checkPatterns(root ast.Expr) (at int64, problem string) {
	ast.PostOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches || len(e.AsCall().Args()) == 0 {
			return
		}
		arg := e.AsCall().Args()[len(e.AsCall().Args())-1]
		pattern, literal := literalString(arg)
		if !literal {
			at, problem = arg.ID(), "the pattern of matches must be written out, as in data.name.matches(\"^a.*z$\")"
			return
		}
		if wrong := checkPattern(pattern); wrong != "" {
			at, problem = arg.ID(), wrong
		}
	}))
	return at, problem
}

// checkPattern measures a pattern itself, since the function of cel-go 0.32 for it panics on a{2}.
func checkPattern(pattern string) string {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "the pattern is not a regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if program, err := syntax.Compile(parsed.Simplify()); err != nil || len(program.Inst) > maxRegex {
		return "the pattern is too large: repeat less"
	}
	return ""
}

func literalString(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}
