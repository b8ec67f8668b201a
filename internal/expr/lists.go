package expr

import (
	"math"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
	"github.com/cockroachdb/apd/v3"
)

// sortByKeys is what list.sortBy(x, key) becomes; no author can spell it.
const sortByKeys = "@sortByKeys"

// lists are the functions on lists: sum, min and max of values; distinct, sort and sortBy
// of the list they follow (join, first and last are CEL's own). CEL's library sorts and
// compares no decimals, and charges a sort as if it compared each element with each.
//
// Null is no value to any of them: an author filters it out, and so says that it does
// not count. min and max of an empty list are null, its sum is 0.
func lists() []cel.EnvOption {
	element := cel.TypeParamType("T")
	ordered := []*cel.Type{cel.IntType, decimalType, cel.StringType, cel.BoolType, cel.TimestampType}
	var sum, least, most, sort, by []cel.FunctionOpt
	for _, t := range ordered {
		name, list := t.TypeName(), cel.ListType(t)
		if t == cel.IntType || t == decimalType {
			sum = append(sum, overload("sum_"+name, t, list))
		}
		result := t
		if t.Kind() != types.OpaqueKind && t.Kind() != types.TimestampKind {
			result = types.NewNullableType(t) // of an empty list
		}
		least = append(least, overload("min_"+name, result, list))
		most = append(most, overload("max_"+name, result, list))
		sort = append(sort, decls.MemberOverload("sort_"+name, []*cel.Type{list}, list))
		by = append(by, decls.MemberOverload("sort_by_"+name, []*cel.Type{cel.ListType(element), list}, cel.ListType(element)))
	}
	return []cel.EnvOption{
		cel.Function("sum", append(sum, decls.SingletonUnaryBinding(sumOf))...),
		cel.Function("min", append(least, decls.SingletonUnaryBinding(extreme(func(c int) bool { return c < 0 })))...),
		cel.Function("max", append(most, decls.SingletonUnaryBinding(extreme(func(c int) bool { return c > 0 })))...),
		cel.Function("distinct", decls.MemberOverload("distinct_list", []*cel.Type{cel.ListType(element)}, cel.ListType(element)),
			decls.SingletonUnaryBinding(distinct)),
		cel.Function("sort", append(sort, decls.SingletonUnaryBinding(func(l ref.Val) ref.Val { return sorted(l, l) }))...),
		cel.Function(sortByKeys, append(by, decls.SingletonBinaryBinding(sorted))...),
		cel.Macros(cel.ReceiverMacro("sortBy", 2, sortBy)),
	}
}

// elements are the values of a list; false for what is none.
func elements(v ref.Val) ([]ref.Val, bool) {
	list, ok := v.(traits.Lister)
	if !ok {
		return nil, false
	}
	out := make([]ref.Val, 0, int(list.Size().(types.Int)))
	for it := list.Iterator(); it.HasNext() == types.True; {
		e := it.Next()
		if types.IsError(e) {
			return []ref.Val{e}, true
		}
		out = append(out, e)
	}
	return out, true
}

// sumOf adds numbers, exactly.
func sumOf(list ref.Val) ref.Val {
	all, ok := elements(list)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	var small int64 // of ints, which are the common case and need no decimal
	var total apd.Decimal
	for _, v := range all {
		if i, isInt := v.(types.Int); isInt {
			if s := small + int64(i); (s > small) == (i > 0) {
				small = s
				continue
			}
		}
		d, isNumber := asDecimal(v)
		if !isNumber {
			return types.MaybeNoSuchOverloadErr(v)
		}
		if _, err := exact.Add(&total, &total, d); err != nil {
			return types.WrapErr(errNumber)
		}
	}
	if total.IsZero() {
		return types.Int(small)
	}
	if _, err := exact.Add(&total, &total, apd.New(small, 0)); err != nil {
		return types.WrapErr(errNumber)
	}
	return smallest(&total)
}

// extreme gives the first of the values that are the least, or the most.
func extreme(better func(int) bool) func(ref.Val) ref.Val {
	return func(list ref.Val) ref.Val {
		all, ok := elements(list)
		if !ok {
			return types.MaybeNoSuchOverloadErr(list)
		}
		if len(all) == 0 {
			return types.NullValue
		}
		best := all[0]
		for _, v := range all {
			c, err := order(v, best)
			if err != nil {
				return err
			}
			if better(c) {
				best = v
			}
		}
		return best
	}
}

// order compares two values of one kind; numbers are of one kind.
func order(a, b ref.Val) (int, ref.Val) {
	if types.IsError(a) {
		return 0, a
	}
	if x, ok := asDecimal(a); ok {
		y, ok := asDecimal(b)
		if !ok {
			return 0, types.MaybeNoSuchOverloadErr(b)
		}
		return x.Cmp(y), nil
	}
	c, ok := a.(traits.Comparer)
	if !ok || a.Type() != b.Type() {
		return 0, types.MaybeNoSuchOverloadErr(b)
	}
	n, ok := c.Compare(b).(types.Int)
	if !ok {
		return 0, types.MaybeNoSuchOverloadErr(b)
	}
	return int(n), nil
}

// distinct keeps the first of values that are equal. Rows and lists are not compared.
func distinct(list ref.Val) ref.Val {
	all, ok := elements(list)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	type identity struct {
		number bool
		value  any
	}
	seen := map[identity]bool{}
	out := make([]ref.Val, 0, len(all))
	for _, v := range all {
		var id identity
		switch v := v.(type) {
		case types.String, types.Bool, types.Null, types.Int:
			id.value = v
		case types.Timestamp:
			id.value = v.UnixNano()
		case decimal:
			id = identity{true, v.text()}
		default:
			return types.MaybeNoSuchOverloadErr(v)
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, v)
		}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// sorted puts a list in the order of its keys; what has equal keys stays as it was.
func sorted(list, keys ref.Val) ref.Val {
	all, ok := elements(list)
	by, okKeys := elements(keys)
	if !ok || !okKeys || len(all) != len(by) {
		return types.MaybeNoSuchOverloadErr(list)
	}
	at := make([]int, len(all))
	for i := range at {
		at[i] = i
	}
	var failed ref.Val
	if len(by) == 1 {
		_, failed = order(by[0], by[0])
	}
	slices.SortStableFunc(at, func(i, j int) int {
		c, err := order(by[i], by[j])
		if err != nil {
			failed = err
		}
		return c
	})
	if failed != nil {
		return failed
	}
	out := make([]ref.Val, len(all))
	for i, from := range at {
		out[i] = all[from]
	}
	return types.NewRefValList(types.DefaultTypeAdapter, out)
}

// sortBy turns list.sortBy(x, key) into a binding of the list, so that it is evaluated
// once, and a sort of it by list.map(x, key).
func sortBy(f cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	input := f.NewIdent("@sorted")
	keys, err := parser.MakeMap(f, f.Copy(input), args)
	if err != nil {
		return nil, err
	}
	call := f.NewMemberCall(sortByKeys, f.Copy(input), keys)
	return f.NewComprehension(f.NewList(), "#unused", input.AsIdent(), target, f.NewLiteral(types.False), input, call), nil
}

// perElement is what the functions on lists cost for each element: a comparison is one,
// and a list that fits the budget is sorted with less than twenty for each.
var perElement = map[string]uint64{"sum": 1, "min": 1, "max": 1, "join": 1, "distinct": 2, "sort": 20, sortByKeys: 20}

// EstimateCallCost implements cost.Estimator: CEL's own costs hold, but for functions on
// lists, which it does not know.
func (s sizes) EstimateCallCost(function, _ string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	each, ok := perElement[function]
	if !ok {
		return nil
	}
	var list cost.AstNode
	switch {
	case target != nil:
		list = *target
	case len(args) > 0:
		list = args[0]
	default:
		return nil
	}
	size := cost.EstimateSize(s, list)
	total := size.MultiplyByCostFactor(float64(each)).Add(cost.FixedCostEstimate(1))
	switch function {
	case "sum", "min", "max":
		one := cost.FixedSizeEstimate(1)
		return cost.NewCallEstimate(total, &one)
	case "join":
		text := cost.RangedSizeEstimate(0, cost.SafeMultiply(size.Max, assumedText))
		return cost.NewCallEstimate(total.Add(text.MultiplyByCostFactor(cost.StringTraversalCostFactor)), &text)
	}
	return cost.NewCallEstimate(total, &size)
}

// charge tells what a call of a function on lists costs when it is made.
type charge struct{}

// CallCost implements cost.ActualCostEstimator.
func (charge) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	each, ok := perElement[function]
	if !ok || len(args) == 0 {
		return nil
	}
	total := 1 + each*cost.ActualSize(args[0])
	if function == "join" {
		total += uint64(math.Ceil(float64(cost.ActualSize(result)) * cost.StringTraversalCostFactor))
	}
	return &total
}
