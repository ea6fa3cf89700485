package metric

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// step is one step of a path: the name of a member, or without one the index of an element.
type step struct {
	name  []byte
	index int64
}

// path is a chain of selections and literal indexes from a variable.
type path struct {
	variable string
	steps    []step
}

// pathOf reads e as a path.
func pathOf(e ast.Expr) (path, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return path{variable: e.AsIdent()}, true
	case ast.SelectKind:
		p, ok := pathOf(e.AsSelect().Operand())
		p.steps = append(p.steps, step{name: []byte(e.AsSelect().FieldName())})
		return p, ok && !e.AsSelect().IsTestOnly()
	case ast.CallKind:
		if e.AsCall().FunctionName() != operators.Index || e.AsCall().Args()[1].Kind() != ast.LiteralKind {
			return path{}, false
		}
		p, ok := pathOf(e.AsCall().Args()[0])
		switch i := e.AsCall().Args()[1].AsLiteral().(type) {
		case types.String:
			p.steps = append(p.steps, step{name: []byte(i)})
		case types.Int:
			p.steps = append(p.steps, step{index: int64(i)})
		default:
			ok = false
		}
		return p, ok
	}
	return path{}, false
}

// paths are those into the data that a program looks at, each once. When programs look at an event together these are read in one
// pass; see extraction.
type paths struct{ list []path }

// number is the place of a path into the data in the list.
func (c *paths) number(steps []step) int {
	for i := range c.list {
		if slices.EqualFunc(c.list[i].steps, steps, step.equal) {
			return i
		}
	}
	c.list = append(c.list, path{variable: "data", steps: steps})
	return len(c.list) - 1
}

func (s step) equal(o step) bool {
	return string(s.name) == string(o.name) && (s.name == nil) == (o.name == nil) && s.index == o.index
}

// fastPath compiles a path, or answers nil.
func (c *paths) fastPath(e ast.Expr) eval {
	p, ok := pathOf(e)
	if !ok {
		return nil
	}
	return c.eval(p)
}

func (c *paths) eval(p path) eval {
	steps := p.steps
	switch p.variable {
	case "data":
		if len(steps) == 0 {
			return (*Doc).root
		}
		return c.dataEval(steps)
	case "event":
		return c.eventEval(p)
	case "id", "source", "type", "subject":
		if len(steps) == 0 {
			return attribute(p.variable)
		}
	}
	return nil
}

// dataPath says which of the paths into the data an expression is, if it is nothing else.
func (c *paths) dataPath(e ast.Expr) (n int, ok bool) {
	p, ok := pathOf(e)
	if ok && p.variable == "event" && len(p.steps) > 1 && string(p.steps[0].name) == "data" {
		p = path{variable: "data", steps: p.steps[1:]}
	}
	if !ok || p.variable != "data" || len(p.steps) == 0 {
		return 0, false
	}
	return c.number(p.steps), true
}

func (c *paths) dataEval(steps []step) eval {
	n := c.number(steps)
	return func(d *Doc) value { return d.read(n, steps) }
}

func (c *paths) eventEval(p path) eval {
	if len(p.steps) == 0 || p.steps[0].name == nil {
		return nil
	}
	name, rest := string(p.steps[0].name), p.steps[1:]
	switch name {
	case "time", "received_at":
		return nil
	case "data":
		if len(rest) > 0 {
			return c.dataEval(rest)
		}
		return func(d *Doc) value {
			if !d.hasData() {
				return failed()
			}
			return d.at(false, 0)
		}
	case "id", "source", "type", "subject":
		if len(rest) > 0 {
			return func(*Doc) value { return failed() } // a string has no members
		}
		read := attribute(name)
		return func(d *Doc) value {
			if v := read(d); name != "subject" || len(v.text) > 0 {
				return v
			}
			return failed()
		}
	}
	steps := p.steps
	return func(d *Doc) value {
		if !d.hasExt() {
			return failed()
		}
		return d.follow(true, steps)
	}
}

func attribute(name string) eval {
	return func(d *Doc) value { return d.copied(d.attribute(name)) }
}

// attribute is the text of one of the four attributes that are texts.
func (d *Doc) attribute(name string) string {
	switch name {
	case "id":
		return d.ev.ID
	case "source":
		return d.ev.Source
	case "type":
		return d.ev.Type
	}
	return d.ev.Subject
}

// follow goes from the root of a tape along steps. A step that cannot be made is an error.
func (d *Doc) follow(ext bool, steps []step) value {
	t, i := d.tape(ext), uint32(0)
	for s := range steps {
		ok := false
		switch c := t.raw[t.nodes[i].start]; {
		case c == '{' && steps[s].name != nil:
			i, ok = t.known(i, steps[s].name)
		case c == '[' && steps[s].name == nil:
			i, ok = t.element(i, steps[s].index)
		}
		if !ok {
			return failed()
		}
	}
	return d.at(ext, i)
}

// fastHas compiles the macro has: the path up to its last step must be there, the last step may be.
func (c *paths) fastHas(e ast.Expr) eval {
	sel := e.AsSelect()
	p, ok := pathOf(sel.Operand())
	if !ok {
		return nil
	}
	name := []byte(sel.FieldName())
	if p.variable == "event" && len(p.steps) == 0 {
		return hasAttribute(string(name))
	}
	operand := c.eval(p)
	if operand == nil {
		return nil
	}
	return strict1(operand, func(d *Doc, v value) value {
		switch v.kind {
		case kindMap:
			_, ok := d.tape(v.ext).known(v.node(), name)
			return boolean(ok)
		case kindList:
			return failed()
		}
		return boolean(false)
	})
}

func hasAttribute(name string) eval {
	switch name {
	case "id", "source", "type", "time":
		return func(*Doc) value { return boolean(true) }
	case "subject":
		return func(d *Doc) value { return boolean(d.ev.Subject != "") }
	case "data":
		return func(d *Doc) value { return boolean(d.hasData()) }
	case "received_at":
		return func(d *Doc) value { return boolean(!d.ev.Received.IsZero()) }
	}
	member := []byte(name)
	return func(d *Doc) value {
		if !d.hasExt() || d.at(true, 0).kind != kindMap {
			return boolean(false)
		}
		_, ok := d.ext.known(0, member)
		return boolean(ok)
	}
}
