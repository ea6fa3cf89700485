package metric

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// boundedStrings replaces those of CEL's string functions that are not safe between tenants: replace and join can make
// texts many times as long as the event, indexOf and lastIndexOf take time by the product of both lengths, and format
// writes whole trees. The last is left out; the others do the same as before, within bounds.
func boundedStrings() []cel.EnvOption {
	s, i := cel.StringType, cel.IntType
	return []cel.EnvOption{
		cel.Function("format", cel.DisableDeclaration(true),
			cel.MemberOverload("string_format", []*cel.Type{s, cel.ListType(cel.DynType)}, s)),
		cel.Function("replace",
			cel.MemberOverload("string_replace_string_string", []*cel.Type{s, s, s}, s, cel.FunctionBinding(replace)),
			cel.MemberOverload("string_replace_string_string_int", []*cel.Type{s, s, s, i}, s, cel.FunctionBinding(replace))),
		cel.Function("join",
			cel.MemberOverload("list_join", []*cel.Type{cel.ListType(s)}, s,
				cel.UnaryBinding(func(l ref.Val) ref.Val { return join(l, types.String("")) })),
			cel.MemberOverload("list_join_string", []*cel.Type{cel.ListType(s), s}, s, cel.BinaryBinding(join))),
		cel.Function("indexOf",
			cel.MemberOverload("string_index_of_string", []*cel.Type{s, s}, i,
				cel.BinaryBinding(func(a, b ref.Val) ref.Val { return indexOf(a, b, types.IntZero) })),
			cel.MemberOverload("string_index_of_string_int", []*cel.Type{s, s, i}, i,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return indexOf(args[0], args[1], args[2]) }))),
		cel.Function("lastIndexOf",
			cel.MemberOverload("string_last_index_of_string", []*cel.Type{s, s}, i, cel.BinaryBinding(lastIndexOf)),
			cel.MemberOverload("string_last_index_of_string_int", []*cel.Type{s, s, i}, i,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return lastIndexOfAt(args[0], args[1], args[2]) }))),
	}
}

func tooLong() ref.Val { return types.NewErr("the text would have more than %d bytes", maxText) }

func replace(args ...ref.Val) ref.Val {
	s, old, by, n := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String)), -1
	if len(args) == 4 {
		n = int(args[3].(types.Int))
	}
	times := strings.Count(s, old)
	if n >= 0 {
		times = min(times, n)
	}
	if len(s)+times*(len(by)-len(old)) > maxText {
		return tooLong()
	}
	return types.String(strings.Replace(s, old, by, n))
}

func join(list, separator ref.Val) ref.Val {
	l, sep := list.(traits.Lister), string(separator.(types.String))
	var out strings.Builder
	for i := range l.Size().(types.Int) {
		s, ok := l.Get(i).(types.String)
		if !ok {
			return types.NewErr("join: only texts can be joined")
		}
		if out.Len()+len(sep)+len(s) > maxText {
			return tooLong()
		}
		if i > 0 {
			out.WriteString(sep)
		}
		out.WriteString(string(s))
	}
	return types.String(out.String())
}

// byteOffset is where the n-th character of s begins, and false when s has fewer.
func byteOffset(s string, n int64) (int, bool) {
	for i := range s {
		if n == 0 {
			return i, true
		}
		n--
	}
	return len(s), n == 0
}

func indexOf(str, substr, offset ref.Val) ref.Val {
	s, sub, off := string(str.(types.String)), string(substr.(types.String)), int64(offset.(types.Int))
	if off < 0 {
		return types.NewErr("index out of range: %d", off)
	}
	from, within := byteOffset(s, off)
	if sub == "" {
		return types.Int(min(off, int64(utf8.RuneCountInString(s))))
	}
	i := -1
	if within {
		i = strings.Index(s[from:], sub)
	}
	if i < 0 {
		return types.IntNegOne
	}
	return types.Int(off + int64(utf8.RuneCountInString(s[from:from+i])))
}

func lastIndexOf(str, substr ref.Val) ref.Val {
	s, sub := string(str.(types.String)), string(substr.(types.String))
	i := strings.LastIndex(s, sub)
	if i < 0 {
		return types.IntNegOne
	}
	return types.Int(utf8.RuneCountInString(s[:i]))
}

func lastIndexOfAt(str, substr, offset ref.Val) ref.Val {
	s, sub, off := string(str.(types.String)), string(substr.(types.String)), int64(offset.(types.Int))
	if off < 0 {
		return types.NewErr("index out of range: %d", off)
	}
	if sub == "" {
		return types.Int(min(off, int64(utf8.RuneCountInString(s))))
	}
	from, within := byteOffset(s, off)
	if !within || from == len(s) {
		return types.IntNegOne
	}
	return lastIndexOf(types.String(s[:min(len(s), from+len(sub))]), substr)
}
