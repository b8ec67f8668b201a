package portable

import "math"

// The splitting of ln 2 and the polynomials of Exp and Log are those of fdlibm (e_exp.c and
// e_log.c), of which this notice is a condition:
//
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a
// Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this
// software is freely granted, provided that this notice is preserved.
const (
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
	log2E   = 1.44269504088896338700e+00

	exp1 = 1.66666666666666657415e-01
	exp2 = -2.77777777770155933842e-03
	exp3 = 6.61375632143793436117e-05
	exp4 = -1.65339022054652515390e-06
	exp5 = 4.13813679705723846039e-08

	log1 = 6.666666666666735130e-01
	log2 = 3.999999999940941908e-01
	log3 = 2.857142874366239149e-01
	log4 = 2.222219843214978396e-01
	log5 = 1.818357216161805012e-01
	log6 = 1.531383769920937332e-01
	log7 = 1.479819860511658591e-01

	// largest is the largest argument of which Exp is finite, and smallest the smallest of which it is
	// a normal number.
	largest  = 709.782712893383973096
	smallest = -708.396418532264078749
	// rounder is 1.5 × 2^52: added to a number it leaves the nearest integer in the low bits.
	rounder = 6755399441055744.0
)

// Add is a×b + c with both operations rounded: never fused into one.
func Add(a, b, c float64) float64 { return float64(a*b) + c }

// Exp is e to the power of x, within one unit in the last place. It is +Inf above 709.78, 0
// below -708.39 (what would be subnormal is 0), NaN of NaN.
func Exp(x float64) float64 {
	if !(x <= largest) {
		return x + math.Inf(1) // NaN stays NaN
	}
	if x < smallest {
		return 0
	}
	shifted := float64(x*log2E) + rounder
	n := shifted - rounder
	high := x - float64(n*ln2High)
	low := float64(n * ln2Low)
	r := high - low
	t := float64(r * r)
	c := r - float64(t*(exp1+float64(t*(exp2+float64(t*(exp3+float64(t*(exp4+float64(t*exp5)))))))))
	y := 1 - ((low - float64(r*c)/(2-c)) - high)
	// n is at most 1024: two factors, since 2^1024 is none.
	k := int64(n)
	half := k / 2
	return y * math.Float64frombits(uint64(1023+half)<<52) * math.Float64frombits(uint64(1023+k-half)<<52)
}

// Log is the natural logarithm of x, within one unit in the last place. It is -Inf of 0,
// NaN of a negative number and of NaN, +Inf of +Inf.
func Log(x float64) float64 {
	if !(x > 0) || x > math.MaxFloat64 {
		switch {
		case x == 0:
			return math.Inf(-1)
		case x < 0:
			return math.NaN()
		}
		return x
	}
	k := int64(-1023)
	if x < 0x1p-1022 {
		x *= 0x1p54
		k -= 54
	}
	bits := math.Float64bits(x)
	k += int64(bits >> 52)
	// The fraction goes from √½ to √2.
	f := math.Float64frombits(bits&(1<<52-1) | 1023<<52)
	if f > math.Sqrt2 {
		f *= 0.5
		k++
	}
	f--
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	t1 := float64(s2 * (log1 + float64(s4*(log3+float64(s4*(log5+float64(s4*log7)))))))
	t2 := float64(s4 * (log2 + float64(s4*(log4+float64(s4*log6)))))
	half := float64(float64(0.5*f) * f)
	n := float64(k)
	return float64(n*ln2High) - ((half - (float64(s*(half+(t1+t2))) + float64(n*ln2Low))) - f)
}

// Powers are x and y to the power of n, side by side, by repeated squaring. Their errors grow
// with n: n units in the last place are a bound.
func Powers(x, y float64, n uint) (float64, float64) {
	a, b := 1.0, 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			a *= x
			b *= y
		}
		x *= x
		y *= y
	}
	return a, b
}
