package metric

import (
	"bytes"
	"math"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// eval evaluates an expression on a document, without allocating.
type eval func(d *Doc) value

// fast compiles a checked expression to a tree of closures over the raw JSON, or to nil when it has something in it that
// only CEL itself knows. What it compiles means exactly what it means in CEL; where that depends on the event and is too
// rare to be worth writing twice (two objects compared, two texts added) the closure answers kindBail, and CEL is asked.
func (c *paths) fast(e ast.Expr) eval {
	switch e.Kind() {
	case ast.LiteralKind:
		v, ok := constant(e)
		if !ok {
			return nil
		}
		return func(*Doc) value { return v }
	case ast.IdentKind:
		return c.fastPath(e)
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return c.fastHas(e)
		}
		return c.fastPath(e)
	case ast.CallKind:
		return c.fastCall(e)
	}
	return nil
}

func constant(e ast.Expr) (value, bool) {
	if e.Kind() != ast.LiteralKind {
		return value{}, false
	}
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return boolean(bool(v)), true
	case types.Int:
		return integer(int64(v)), true
	case types.Double:
		return double(float64(v)), true
	case types.String:
		return text([]byte(v)), true
	case types.Null:
		return value{kind: kindNull}, true
	}
	return value{}, false
}

func (c *paths) fastCall(e ast.Expr) eval {
	call := e.AsCall()
	operands := call.Args()
	if call.IsMemberFunction() {
		operands = append([]ast.Expr{call.Target()}, operands...)
	}
	switch call.FunctionName() {
	case operators.Index:
		return c.fastPath(e)
	case overloads.Matches:
		return c.fastMatches(operands)
	case operators.In:
		return c.fastIn(operands)
	}
	args := make([]eval, len(operands))
	for i, a := range operands {
		if args[i] = c.fast(a); args[i] == nil {
			return nil
		}
	}
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return logical(args, false)
	case operators.LogicalOr:
		return logical(args, true)
	case operators.Conditional:
		return ternary(args[0], args[1], args[2])
	}
	switch len(args) {
	case 1:
		if f := unaryOf(call.FunctionName()); f != nil {
			return strict1(args[0], f)
		}
	case 2:
		if f := binaryOf(call.FunctionName()); f != nil {
			return strict2(args[0], args[1], f)
		}
	}
	return nil
}

// logical is && (decided by false) or || (decided by true). An operand that decides absorbs the errors of the others.
func logical(args []eval, decides bool) eval {
	return func(d *Doc) value {
		result := boolean(!decides)
		for _, a := range args {
			switch v := a(d); {
			case v.kind == kindBail:
				return v
			case v.kind != kindBool:
				result = failed()
			case v.isTrue() == decides:
				return v
			}
		}
		return result
	}
}

func ternary(condition, yes, no eval) eval {
	return func(d *Doc) value {
		switch c := condition(d); {
		case c.isTrue():
			return yes(d)
		case c.isFalse():
			return no(d)
		case c.kind == kindBail:
			return c
		}
		return failed()
	}
}

// strict1 and strict2 are functions of which an operand's error is the result.
func strict1(arg eval, f func(d *Doc, v value) value) eval {
	return func(d *Doc) value {
		v := arg(d)
		if v.kind == kindError || v.kind == kindBail {
			return v
		}
		return f(d, v)
	}
}

func strict2(left, right eval, f func(a, b value) value) eval {
	return func(d *Doc) value {
		a := left(d)
		if a.kind == kindError || a.kind == kindBail {
			return a
		}
		b := right(d)
		if b.kind == kindError || b.kind == kindBail {
			return b
		}
		return f(a, b)
	}
}

func unaryOf(function string) func(*Doc, value) value {
	switch function {
	case operators.LogicalNot:
		return not
	case operators.Negate:
		return negate
	case overloads.Size:
		return size
	case overloads.TypeConvertDouble:
		return toDouble
	case overloads.TypeConvertInt:
		return toInt
	}
	return nil
}

func binaryOf(function string) func(a, b value) value {
	switch function {
	case operators.Equals:
		return equal
	case operators.NotEquals:
		return notEqual
	case operators.Less:
		return less
	case operators.LessEquals:
		return lessOrEqual
	case operators.Greater:
		return greater
	case operators.GreaterEquals:
		return greaterOrEqual
	case operators.Add:
		return func(a, b value) value {
			if a.kind == kindDouble && b.kind == kindDouble {
				return double(a.double() + b.double())
			}
			return unlikeNumbers(a, b)
		}
	case operators.Subtract:
		return func(a, b value) value {
			if a.kind == kindDouble && b.kind == kindDouble {
				return double(a.double() - b.double())
			}
			return unlikeNumbers(a, b)
		}
	case operators.Multiply:
		return func(a, b value) value {
			if a.kind == kindDouble && b.kind == kindDouble {
				return double(a.double() * b.double())
			}
			return unlikeNumbers(a, b)
		}
	case operators.Divide:
		return func(a, b value) value {
			if a.kind == kindDouble && b.kind == kindDouble {
				return double(a.double() / b.double())
			}
			return unlikeNumbers(a, b)
		}
	case overloads.StartsWith:
		return texts(bytes.HasPrefix)
	case overloads.EndsWith:
		return texts(bytes.HasSuffix)
	case overloads.Contains:
		return texts(bytes.Contains)
	}
	return nil
}

func not(_ *Doc, v value) value {
	if v.kind != kindBool {
		return failed()
	}
	return boolean(v.isFalse())
}

func notEqual(a, b value) value {
	v := equal(a, b)
	if v.kind == kindBail {
		return v
	}
	return boolean(v.isFalse())
}

func negate(_ *Doc, v value) value {
	switch v.kind {
	case kindDouble:
		return double(-v.double())
	case kindInt:
		return bail()
	}
	return failed()
}

func less(a, b value) value {
	if a.kind == kindDouble && b.kind == kindDouble {
		return boolean(a.double() < b.double())
	}
	c, v := ordered(a, b)
	if v.kind != kindNull {
		return v
	}
	return boolean(c < 0)
}

func lessOrEqual(a, b value) value {
	if a.kind == kindDouble && b.kind == kindDouble {
		return boolean(a.double() <= b.double())
	}
	c, v := ordered(a, b)
	if v.kind != kindNull {
		return v
	}
	return boolean(c <= 0)
}

func greater(a, b value) value {
	if a.kind == kindDouble && b.kind == kindDouble {
		return boolean(a.double() > b.double())
	}
	c, v := ordered(a, b)
	if v.kind != kindNull {
		return v
	}
	return boolean(c > 0)
}

func greaterOrEqual(a, b value) value {
	if a.kind == kindDouble && b.kind == kindDouble {
		return boolean(a.double() >= b.double())
	}
	c, v := ordered(a, b)
	if v.kind != kindNull {
		return v
	}
	return boolean(c >= 0)
}

// ordered is compare for the operators of order. Unless v is null it is the result itself: an error, or false beside what is not
// a number.
func ordered(a, b value) (c int, v value) {
	switch a.kind {
	case kindBool, kindInt, kindDouble, kindString:
	default:
		return 0, failed()
	}
	if a.isNaN() || b.isNaN() {
		return 0, boolean(false)
	}
	c, ok := compare(a, b)
	if !ok {
		return 0, failed()
	}
	return c, value{kind: kindNull}
}

// unlikeNumbers is what arithmetic comes to when not both are doubles.
func unlikeNumbers(a, b value) value {
	if a.kind == b.kind {
		return bail() // whole numbers, which can overflow; texts and lists, which would be made
	}
	return failed()
}

func texts(f func(a, b []byte) bool) func(a, b value) value {
	return func(a, b value) value {
		if a.kind != kindString || b.kind != kindString {
			return failed()
		}
		return boolean(f(a.text, b.text))
	}
}

func size(d *Doc, v value) value {
	switch v.kind {
	case kindString:
		return integer(int64(utf8.RuneCount(v.text)))
	case kindList:
		return integer(int64(d.tape(v.ext).count(v.node())))
	case kindMap:
		return bail() // a name that occurs twice counts once
	}
	return failed()
}

func toDouble(_ *Doc, v value) value {
	switch v.kind {
	case kindDouble:
		return v
	case kindInt:
		return double(float64(v.int()))
	case kindString:
		if f, err := strconv.ParseFloat(string(v.text), 64); err == nil {
			return double(f)
		}
	}
	return failed()
}

func toInt(_ *Doc, v value) value {
	switch v.kind {
	case kindInt:
		return v
	case kindDouble:
		if f := v.double(); f > math.MinInt64 && f < math.MaxInt64 {
			return integer(int64(f))
		}
	case kindString:
		if i, err := strconv.ParseInt(string(v.text), 10, 64); err == nil {
			return integer(i)
		}
	}
	return failed()
}

func (c *paths) fastMatches(operands []ast.Expr) eval {
	subject := c.fast(operands[0])
	pattern, ok := literalString(operands[1])
	re, err := regexp.Compile(pattern)
	if subject == nil || !ok || err != nil {
		return nil
	}
	return strict1(subject, func(_ *Doc, v value) value {
		if v.kind != kindString {
			return failed()
		}
		return boolean(re.Match(v.text))
	})
}

// fastIn is in, for a list of literals or a path on the right.
func (c *paths) fastIn(operands []ast.Expr) eval {
	left := c.fast(operands[0])
	if left == nil {
		return nil
	}
	if operands[1].Kind() != ast.ListKind {
		right := c.fast(operands[1])
		if right == nil {
			return nil
		}
		return func(d *Doc) value {
			v := left(d)
			if v.kind == kindError || v.kind == kindBail {
				return v
			}
			container := right(d)
			if container.kind == kindError || container.kind == kindBail {
				return container
			}
			return d.in(v, container)
		}
	}
	var list []value
	for _, e := range operands[1].AsList().Elements() {
		v, ok := constant(e)
		if !ok {
			return nil
		}
		list = append(list, v)
	}
	return strict1(left, func(_ *Doc, v value) value {
		return boolean(slices.ContainsFunc(list, func(x value) bool { return equal(v, x).isTrue() }))
	})
}

// in is CEL's in, for what is in the event.
func (d *Doc) in(v, container value) value {
	t := d.tape(container.ext)
	switch {
	case container.kind == kindMap && v.kind == kindString:
		_, ok := t.member(container.node(), v.text)
		return boolean(ok)
	case container.kind == kindMap:
		return boolean(false)
	case container.kind != kindList:
		return failed()
	case v.isContainer():
		return bail()
	}
	for i := container.node() + 1; i < t.nodes[container.node()].next; i = t.nodes[i].next {
		if equal(v, d.at(container.ext, i)).isTrue() {
			return boolean(true)
		}
	}
	return boolean(false)
}
