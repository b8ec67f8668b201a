package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/cockroachdb/apd/v3"
)

// decimal is an exact number that is no 64-bit integer. A number is always in its
// smallest form: what fits an int64 is a CEL int, so that equality, which CEL
// decides by the left operand alone, needs no conversion.
type decimal struct {
	d *apd.Decimal
}

// The bounds of a number: they keep exact arithmetic cheap.
const (
	maxDigits   = 2_000
	maxExponent = 1_000
)

var (
	decimalType = cel.OpaqueType("decimal")
	exact       = apd.BaseContext // precision 0: nothing is rounded

	errNumber = errors.New("number out of range")
)

// number converts the text of a JSON number.
func number(s string) ref.Val {
	if len(s) < 19 { // the common case: an integer that cannot overflow
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return types.Int(i)
		}
	}
	if v, ok := short(s); ok {
		return v
	}
	if len(s) > maxDigits+16 || strings.ContainsAny(s, "iInN_") { // no Inf, no NaN
		return types.WrapErr(errNumber)
	}
	d, _, err := exact.NewFromString(s)
	if err != nil {
		return types.WrapErr(errNumber)
	}
	return smallest(d)
}

// short converts a number of at most 18 digits without an exponent, as most of those
// with a fraction are. ok is false for any other text.
func short(s string) (ref.Val, bool) {
	digits, negative := s, false
	if s != "" && s[0] == '-' {
		digits, negative = s[1:], true
	}
	point := strings.IndexByte(digits, '.')
	if point < 1 || point == len(digits)-1 || len(digits) > 19 {
		return nil, false
	}
	var n int64
	for i := range len(digits) {
		c := digits[i]
		if i == point {
			continue
		}
		if c < '0' || c > '9' {
			return nil, false
		}
		n = n*10 + int64(c-'0')
	}
	places := int32(len(digits) - point - 1)
	for places > 0 && n%10 == 0 {
		n /= 10
		places--
	}
	if negative {
		n = -n
	}
	if places == 0 {
		return types.Int(n), true
	}
	return decimal{d: apd.New(n, -places)}, true
}

// smallest gives d as an int where it is one.
func smallest(d *apd.Decimal) ref.Val {
	if d.Form != apd.Finite || d.NumDigits() > maxDigits || d.Exponent > maxExponent || d.Exponent < -maxExponent {
		return types.WrapErr(errNumber)
	}
	var r apd.Decimal
	r.Reduce(d)
	if r.Exponent >= 0 && r.NumDigits()+int64(r.Exponent) <= 19 {
		if i, err := r.Int64(); err == nil {
			return types.Int(i)
		}
	}
	return decimal{d: &r}
}

// asDecimal gives the exact value of a CEL number.
func asDecimal(v ref.Val) (*apd.Decimal, bool) {
	switch v := v.(type) {
	case decimal:
		return v.d, true
	case types.Int:
		return apd.New(int64(v), 0), true
	}
	return nil, false
}

// arithmetic applies an exact operation to two numbers of which at least one is
// no int, or whose result overflowed one.
func arithmetic(op func(d, x, y *apd.Decimal) (apd.Condition, error), lhs, rhs ref.Val) ref.Val {
	x, okX := asDecimal(lhs)
	y, okY := asDecimal(rhs)
	if !okX || !okY {
		return types.MaybeNoSuchOverloadErr(rhs)
	}
	var out apd.Decimal
	if _, err := op(&out, x, y); err != nil {
		return types.WrapErr(errNumber)
	}
	return smallest(&out)
}

// fixed gives n with exactly that many digits after the point, rounded half up
// (away from zero), as text.
func fixed(n ref.Val, places ref.Val) ref.Val {
	d, err := rounded(n, places)
	if err != nil {
		return types.WrapErr(err)
	}
	return types.String(d.Text('f'))
}

// round gives n with at most that many digits after the point, rounded half up.
func round(n ref.Val, places ref.Val) ref.Val {
	d, err := rounded(n, places)
	if err != nil {
		return types.WrapErr(err)
	}
	return smallest(d)
}

func rounded(n, places ref.Val) (*apd.Decimal, error) {
	d, ok := asDecimal(n)
	p, isInt := places.(types.Int)
	if !ok || !isInt || p < 0 || p > 100 {
		return nil, errNumber
	}
	c := exact.WithPrecision(maxDigits + maxExponent)
	c.Rounding = apd.RoundHalfUp
	var out apd.Decimal
	if _, err := c.Quantize(&out, d, -int32(p)); err != nil {
		return nil, errNumber
	}
	return &out, nil
}

// text is the number in plain digits, without an exponent.
func (n decimal) text() string { return n.d.Text('f') }

// jsonNumber is the number as it stands in JSON.
func (n decimal) jsonNumber() json.Number { return json.Number(n.text()) }

// Compare implements traits.Comparer.
func (n decimal) Compare(other ref.Val) ref.Val {
	d, ok := asDecimal(other)
	if !ok {
		return types.MaybeNoSuchOverloadErr(other)
	}
	return types.Int(n.d.Cmp(d))
}

// Equal implements ref.Val.
func (n decimal) Equal(other ref.Val) ref.Val {
	d, ok := asDecimal(other)
	return types.Bool(ok && n.d.Cmp(d) == 0)
}

// ConvertToType implements ref.Val.
func (n decimal) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case decimalType:
		return n
	case types.StringType:
		return types.String(n.text())
	case types.TypeType:
		return decimalType
	}
	return types.NewErr("type conversion error from decimal to %s", t.TypeName())
}

// ConvertToNative implements ref.Val.
func (n decimal) ConvertToNative(t reflect.Type) (any, error) {
	if t == reflect.TypeFor[json.Number]() {
		return n.jsonNumber(), nil
	}
	return nil, fmt.Errorf("a decimal is no %s", t)
}

// Type implements ref.Val.
func (n decimal) Type() ref.Type { return decimalType }

// Value implements ref.Val.
func (n decimal) Value() any { return n.jsonNumber() }

// toInt is int(x) for a decimal: the digits before the point.
func toInt(v ref.Val) ref.Val {
	n, ok := v.(decimal)
	if !ok {
		return v.ConvertToType(types.IntType)
	}
	var whole apd.Decimal
	n.d.Modf(&whole, nil)
	if i, ok := smallest(&whole).(types.Int); ok {
		return i
	}
	return types.WrapErr(errNumber)
}

// toDecimal is decimal(x) for text and numbers.
func toDecimal(v ref.Val) ref.Val {
	switch v := v.(type) {
	case decimal, types.Int:
		return v
	case types.Uint:
		return number(strconv.FormatUint(uint64(v), 10))
	case types.String:
		return number(string(v))
	}
	return types.MaybeNoSuchOverloadErr(v)
}

// negate is -x; the one int that has no negative becomes a decimal.
func negate(v ref.Val) ref.Val {
	switch v := v.(type) {
	case types.Int:
		if v != math.MinInt64 {
			return -v
		}
	case decimal:
	default:
		return types.MaybeNoSuchOverloadErr(v)
	}
	return arithmetic(exact.Sub, types.Int(0), v)
}
