package portable

import "math"

// The rational approximations of the complementary error function are those of fdlibm
// (s_erf.c), of which this notice is a condition:
//
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunPro, a
// Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this
// software is freely granted, provided that this notice is preserved.
//
// Coefficients rise with the power: numerator and denominator up to 0.84375, up to 1.25,
// up to 1/0.35, and above.
var (
	nearTop    = [...]float64{1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02, -5.77027029648944159157e-03, -2.37630166566501626084e-05}
	nearBottom = [...]float64{1, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03, 1.32494738004321644526e-04, -3.96022827877536812320e-06}
	oneTop     = [...]float64{-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01, 3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02, -2.16637559486879084300e-03}
	oneBottom  = [...]float64{1, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02, 1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02}
	midTop     = [...]float64{-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01, -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02, -8.12874355063065934246e+01, -9.81432934416914548592e+00}
	midBottom  = [...]float64{1, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02, 6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02, 6.57024977031928170135e+00, -6.04244152148580987438e-02}
	farTop     = [...]float64{-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01, -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03, -4.83519191608651397019e+02}
	farBottom  = [...]float64{1, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03, 3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02, -2.24409524465858183362e+01}
)

const aroundOne = 8.45062911510467529297e-01 // erf(1), to the bits that oneTop continues

// Cumulative is the probability that a standard normal number is below x: within 2e-14 of
// its value for x above -8, within 1e-12 down to -37; 0 far below that, NaN of NaN.
func Cumulative(x float64) float64 { return 0.5 * complementary(float64(-x*(math.Sqrt2/2))) }

// complementary is the complementary error function.
func complementary(x float64) float64 {
	a := math.Abs(x)
	switch {
	case a < 0.84375:
		z := float64(a * a)
		y := polynomial(nearTop[:], z) / polynomial(nearBottom[:], z)
		if x < 0.25 {
			return 1 - (x + float64(x*y))
		}
		return 0.5 - (float64(x*y) + (x - 0.5))
	case a < 1.25:
		s := a - 1
		y := polynomial(oneTop[:], s) / polynomial(oneBottom[:], s)
		if x < 0 {
			return 1 + aroundOne + y
		}
		return 1 - aroundOne - y
	case a < 28:
		s := 1 / float64(a*a)
		var y float64
		if a < 1/0.35 {
			y = polynomial(midTop[:], s) / polynomial(midBottom[:], s)
		} else {
			y = polynomial(farTop[:], s) / polynomial(farBottom[:], s)
		}
		z := math.Float64frombits(math.Float64bits(a) & 0xffffffff00000000) // its square is exact
		y = Exp(-float64(z*z)-0.5625) * Exp(float64((z-a)*(z+a))+y) / a
		if x < 0 {
			return 2 - y
		}
		return y
	case a > 0 && x < 0:
		return 2
	case a > 0:
		return 0
	}
	return x // NaN
}

func polynomial(c []float64, x float64) float64 {
	y := 0.0
	for i := len(c) - 1; i >= 0; i-- {
		y = c[i] + float64(y*x)
	}
	return y
}
