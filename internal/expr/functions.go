package expr

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"github.com/cockroachdb/apd/v3"
)

// language is what every Env starts from: CEL without floating point, with exact
// decimals, optionals, and functions on text, lists and dates.
//
// CEL binds its operators once, by the left operand, so `1 + 0.5` would never
// reach the decimal on its right. The operators on numbers are therefore taken
// out and declared again, over exact numbers.
func language() (*cel.Env, error) {
	own := operatorsOnNumbers()
	without := []*env.Function{{Name: overloads.TypeConvertDouble}, {Name: overloads.TypeConvertUint}, {Name: operators.Divide}}
	opts := make([]cel.EnvOption, 0, len(own)+12)
	for name := range own {
		without = append(without, &env.Function{Name: name})
	}
	opts = append(opts,
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: without})),
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(0)), // later versions format numbers as floats
		cel.CostModelVersion(1),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ParserRecursionLimit(64),
		cel.RegexProgramSizeLimit(10_000),
		cel.Function("decimal", singleUnary(toDecimal,
			overload("text_to_decimal", decimalType, cel.StringType),
			overload("int_to_decimal", decimalType, cel.IntType),
			overload("decimal_to_decimal", decimalType, decimalType))...),
		cel.Function("round", singleBinary(round,
			overload("round_decimal", decimalType, decimalType, cel.IntType),
			overload("round_int", decimalType, cel.IntType, cel.IntType))...),
		cel.Function("fixed", singleBinary(fixed,
			overload("fixed_decimal", cel.StringType, decimalType, cel.IntType),
			overload("fixed_int", cel.StringType, cel.IntType, cel.IntType))...),
		cel.Function("divide",
			overload("divide_decimal_decimal", decimalType, decimalType, decimalType, cel.IntType),
			overload("divide_decimal_int", decimalType, decimalType, cel.IntType, cel.IntType),
			overload("divide_int_decimal", decimalType, cel.IntType, decimalType, cel.IntType),
			overload("divide_int_int", decimalType, cel.IntType, cel.IntType, cel.IntType),
			decls.SingletonFunctionBinding(divide)),
	)
	opts = append(opts, lists()...)
	opts = append(opts, texts()...)
	for _, fn := range stdlib.Functions() {
		if o, ok := own[fn.Name()]; ok {
			opts = append(opts, cel.Function(fn.Name(), append(kept(fn), o...)...))
		}
	}
	return cel.NewCustomEnv(opts...)
}

// operatorsOnNumbers maps the name of each redeclared function to the overloads
// and the binding that are added to what is kept of the standard ones.
func operatorsOnNumbers() map[string][]cel.FunctionOpt {
	own := map[string][]cel.FunctionOpt{
		operators.Add: singleBinary(over(exact.Add, func(l, r ref.Val) ref.Val {
			if a, ok := l.(traits.Adder); ok {
				return a.Add(r)
			}
			return types.MaybeNoSuchOverloadErr(l)
		}), mixed("add", decimalType)...),
		operators.Subtract: singleBinary(over(exact.Sub, func(l, r ref.Val) ref.Val {
			if a, ok := l.(traits.Subtractor); ok {
				return a.Subtract(r)
			}
			return types.MaybeNoSuchOverloadErr(l)
		}), mixed("subtract", decimalType)...),
		operators.Multiply: singleBinary(over(exact.Mul, func(l, _ ref.Val) ref.Val {
			return types.MaybeNoSuchOverloadErr(l)
		}), mixed("multiply", decimalType)...),
		operators.Negate:            singleUnary(negate, overload("negate_decimal", decimalType, decimalType)),
		overloads.TypeConvertInt:    singleUnary(toInt, overload("decimal_to_int", cel.IntType, decimalType)),
		overloads.TypeConvertString: singleUnary(toString, overload("decimal_to_string", cel.StringType, decimalType)),
	}
	for name, holds := range map[string]func(int) bool{
		operators.Less:          func(c int) bool { return c < 0 },
		operators.LessEquals:    func(c int) bool { return c <= 0 },
		operators.Greater:       func(c int) bool { return c > 0 },
		operators.GreaterEquals: func(c int) bool { return c >= 0 },
	} {
		own[name] = singleBinary(ordered(holds), mixed("compare"+name, cel.BoolType)...)
	}
	return own
}

// mixed declares an operation on every pair of numbers of which one is a decimal.
func mixed(id string, result *cel.Type) []cel.FunctionOpt {
	return []cel.FunctionOpt{
		overload(id+"_decimal_decimal", result, decimalType, decimalType),
		overload(id+"_decimal_int", result, decimalType, cel.IntType),
		overload(id+"_int_decimal", result, cel.IntType, decimalType),
	}
}

// kept are the standard overloads that know no floating point.
func kept(fn *decls.FunctionDecl) []cel.FunctionOpt {
	var out []cel.FunctionOpt
	for _, o := range fn.OverloadDecls() {
		if slices.ContainsFunc(o.ArgTypes(), func(t *cel.Type) bool { return t.Kind() == types.DoubleKind || t.Kind() == types.UintKind }) {
			continue
		}
		out = append(out, overload(o.ID(), o.ResultType(), o.ArgTypes()...))
	}
	return out
}

func overload(id string, result *cel.Type, args ...*cel.Type) cel.FunctionOpt {
	return decls.Overload(id, args, result)
}

func singleUnary(fn functions.UnaryOp, overloads ...cel.FunctionOpt) []cel.FunctionOpt {
	return append(overloads, decls.SingletonUnaryBinding(fn))
}

func singleBinary(fn functions.BinaryOp, overloads ...cel.FunctionOpt) []cel.FunctionOpt {
	return append(overloads, decls.SingletonBinaryBinding(fn))
}

// over applies op to numbers, exactly, and leaves the rest to CEL.
func over(op func(d, x, y *apd.Decimal) (apd.Condition, error), rest functions.BinaryOp) functions.BinaryOp {
	return func(l, r ref.Val) ref.Val {
		if _, ok := asDecimal(l); ok {
			return arithmetic(op, l, r)
		}
		return rest(l, r)
	}
}

// ordered compares numbers with numbers and everything else as CEL does.
func ordered(holds func(int) bool) functions.BinaryOp {
	return func(l, r ref.Val) ref.Val {
		c, ok := l.(traits.Comparer)
		if _, exact := r.(decimal); exact {
			if d, isNumber := asDecimal(l); isNumber {
				c, ok = decimal{d: d}, true
			}
		}
		if !ok {
			return types.MaybeNoSuchOverloadErr(l)
		}
		n, ok := c.Compare(r).(types.Int)
		if !ok {
			return types.MaybeNoSuchOverloadErr(r)
		}
		return types.Bool(holds(int(n)))
	}
}

// divide is divide(x, y, places): the quotient, rounded half up. There is no
// operator for it because a quotient is seldom exact.
func divide(args ...ref.Val) ref.Val {
	if len(args) != 3 {
		return types.NoSuchOverloadErr()
	}
	x, okX := asDecimal(args[0])
	y, okY := asDecimal(args[1])
	if !okX || !okY {
		return types.NoSuchOverloadErr()
	}
	if y.IsZero() {
		return types.NewErr("division by zero")
	}
	// A digit more than asked for would round twice: scale first, then divide
	// whole numbers and round by the remainder.
	c := exact.WithPrecision(2 * (maxDigits + maxExponent))
	c.Rounding = apd.RoundHalfUp
	var q apd.Decimal
	if _, err := c.Quo(&q, x, y); err != nil {
		return types.WrapErr(errNumber)
	}
	out, err := rounded(decimal{d: &q}, args[2])
	if err != nil {
		return types.WrapErr(err)
	}
	return smallest(out)
}

// toString is string(x). Null has no text: CEL's own would give "null".
func toString(v ref.Val) ref.Val {
	switch v.(type) {
	case types.String, types.Bool, types.Int, decimal, types.Timestamp, types.Duration:
		return v.ConvertToType(types.StringType)
	}
	return types.MaybeNoSuchOverloadErr(v)
}
