package metric

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// widener changes a parsed expression where CEL would not do to an event what its author means.
//
// It lets people write data.amount / 100. CEL has no arithmetic between its double, which every JSON number is, and
// its int, which 100 is; by itself it would fail on each event. So a whole number that is written next to a JSON number or
// a double becomes a double. That only gives a meaning to what has none otherwise.
//
// And it makes data["a"] the same as data.a. CEL takes the first for an element of a map of unknown kind, settles for the
// first kind that fits what is done with it, and then fails on the others: int(data["a"]) would be an error on each number.
type widener struct {
	fac ast.ExprFactory
	// json counts, by name, the variables of macros that range over JSON.
	json map[string]int
	// remainder is the last % of a double, which CEL does not have, or 0.
	remainder int64
}

// widen changes an expression. It reports the id of a % that cannot work, or 0.
func widen(root ast.Expr) (remainder int64) {
	w := widener{fac: ast.NewExprFactory(), json: map[string]int{}}
	w.double(root)
	return w.remainder
}

// double says whether e, if it is a number at all, is a double, once it has been widened.
func (w *widener) double(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		_, ok := e.AsLiteral().(types.Double)
		return ok
	case ast.IdentKind:
		return w.isJSON(e)
	case ast.SelectKind:
		w.double(e.AsSelect().Operand())
		return !e.AsSelect().IsTestOnly() && w.isJSON(e)
	case ast.CallKind:
		return w.call(e)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.double(x)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			w.double(x.AsMapEntry().Key())
			w.double(x.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		w.comprehension(e.AsComprehension())
	}
	return false
}

func (w *widener) call(e ast.Expr) bool {
	call := e.AsCall()
	if call.IsMemberFunction() {
		w.double(call.Target())
	}
	args := call.Args()
	doubles := make([]bool, len(args))
	for i, a := range args {
		doubles[i] = w.double(a)
	}
	switch call.FunctionName() {
	case operators.Index:
		json := w.isJSON(e)
		if name, ok := literalString(args[1]); ok && json {
			e.SetKindCase(w.fac.NewSelect(e.ID(), args[0], name))
		}
		return json
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		return w.pair(args[0], args[1], doubles[0], doubles[1])
	case operators.Conditional:
		w.pair(args[1], args[2], doubles[1], doubles[2])
		return w.isDouble(args[1], doubles[1]) && w.isDouble(args[2], doubles[2])
	case operators.Modulo:
		if doubles[0] || doubles[1] {
			w.remainder = e.ID()
		}
	case operators.Negate:
		return doubles[0]
	case "double":
		return true
	}
	return false
}

// isDouble is double for an expression that may have been widened since.
func (w *widener) isDouble(e ast.Expr, before bool) bool {
	if before || e.Kind() != ast.LiteralKind {
		return before
	}
	_, ok := e.AsLiteral().(types.Double)
	return ok
}

// pair widens what is written in whole numbers on one side when the other side is a double.
func (w *widener) pair(a, b ast.Expr, aDouble, bDouble bool) bool {
	if aDouble && !bDouble && whole(b) {
		w.promote(b)
	}
	if bDouble && !aDouble && whole(a) {
		w.promote(a)
	}
	return aDouble || bDouble
}

// whole says whether e is made of written whole numbers only.
func whole(e ast.Expr) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		_, ok := e.AsLiteral().(types.Int)
		return ok
	case ast.CallKind:
		switch e.AsCall().FunctionName() {
		case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Negate:
			for _, a := range e.AsCall().Args() {
				if !whole(a) {
					return false
				}
			}
			return true
		}
	}
	return false
}

func (w *widener) promote(e ast.Expr) {
	if e.Kind() == ast.LiteralKind {
		e.SetKindCase(w.fac.NewLiteral(e.ID(), types.Double(e.AsLiteral().(types.Int))))
		return
	}
	for _, a := range e.AsCall().Args() {
		w.promote(a)
	}
}

// isJSON says whether e is a path into the event.
func (w *widener) isJSON(e ast.Expr) bool {
	switch e.Kind() {
	case ast.IdentKind:
		name := e.AsIdent()
		return name == "data" || name == "event" || w.json[name] > 0
	case ast.SelectKind:
		return !e.AsSelect().IsTestOnly() && w.isJSON(e.AsSelect().Operand())
	case ast.CallKind:
		return e.AsCall().FunctionName() == operators.Index && w.isJSON(e.AsCall().Args()[0])
	}
	return false
}

func (w *widener) comprehension(c ast.ComprehensionExpr) {
	w.double(c.IterRange())
	w.double(c.AccuInit())
	over := 0
	if w.isJSON(c.IterRange()) {
		over = 1
	}
	w.json[c.IterVar()] += over
	w.double(c.LoopCondition())
	w.double(c.LoopStep())
	w.json[c.IterVar()] -= over
	w.double(c.Result())
}
