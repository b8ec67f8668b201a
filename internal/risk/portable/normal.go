package portable

import "math"

// Quantile is where the standard normal distribution reaches the probability p: within 2e-15
// of the value's size, or of 1 where it is smaller. It is -Inf at 0, +Inf at 1, and NaN outside [0, 1].
//
// Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
// Applied Statistics 37 (1988), 477–484; routine PPND16.
func Quantile(p float64) float64 {
	q := p - 0.5
	if -0.425 <= q && q <= 0.425 {
		r := 0.180625 - float64(q*q)
		a := 3.3430575583588128105e+4 + float64(r*2.5090809287301226727e+3)
		a = 6.7265770927008700853e+4 + float64(r*a)
		a = 4.5921953931549871457e+4 + float64(r*a)
		a = 1.3731693765509461125e+4 + float64(r*a)
		a = 1.9715909503065514427e+3 + float64(r*a)
		a = 1.3314166789178437745e+2 + float64(r*a)
		a = 3.3871328727963666080e0 + float64(r*a)
		b := 2.8729085735721942674e+4 + float64(r*5.2264952788528545610e+3)
		b = 3.9307895800092710610e+4 + float64(r*b)
		b = 2.1213794301586595867e+4 + float64(r*b)
		b = 5.3941960214247511077e+3 + float64(r*b)
		b = 6.8718700749205790830e+2 + float64(r*b)
		b = 4.2313330701600911252e+1 + float64(r*b)
		b = 1 + float64(r*b)
		return float64(q*a) / b
	}
	return tail(p, q)
}

func tail(p, q float64) float64 {
	r := p
	if q > 0 {
		r = 1 - p
	}
	if !(r > 0) {
		switch {
		case r != 0: // outside, or NaN
			return math.NaN()
		case q < 0:
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	r = math.Sqrt(-Log(r))
	var x float64
	if r <= 5 {
		r -= 1.6
		a := 2.27238449892691845833e-2 + float64(r*7.74545014278341407640e-4)
		a = 2.41780725177450611770e-1 + float64(r*a)
		a = 1.27045825245236838258e0 + float64(r*a)
		a = 3.64784832476320460504e0 + float64(r*a)
		a = 5.76949722146069140550e0 + float64(r*a)
		a = 4.63033784615654529590e0 + float64(r*a)
		a = 1.42343711074968357734e0 + float64(r*a)
		b := 5.47593808499534494600e-4 + float64(r*1.05075007164441684324e-9)
		b = 1.51986665636164571966e-2 + float64(r*b)
		b = 1.48103976427480074590e-1 + float64(r*b)
		b = 6.89767334985100004550e-1 + float64(r*b)
		b = 1.67638483018380384940e0 + float64(r*b)
		b = 2.05319162663775882187e0 + float64(r*b)
		b = 1 + float64(r*b)
		x = a / b
	} else {
		r -= 5
		a := 2.71155556874348757815e-5 + float64(r*2.01033439929228813265e-7)
		a = 1.24266094738807843860e-3 + float64(r*a)
		a = 2.65321895265761230930e-2 + float64(r*a)
		a = 2.96560571828504891230e-1 + float64(r*a)
		a = 1.78482653991729133580e0 + float64(r*a)
		a = 5.46378491116411436990e0 + float64(r*a)
		a = 6.65790464350110377720e0 + float64(r*a)
		b := 1.42151175831644588870e-7 + float64(r*2.04426310338993978564e-15)
		b = 1.84631831751005468180e-5 + float64(r*b)
		b = 7.86869131145613259100e-4 + float64(r*b)
		b = 1.48753612908506148525e-2 + float64(r*b)
		b = 1.36929880922735805310e-1 + float64(r*b)
		b = 5.99832206555887937690e-1 + float64(r*b)
		b = 1 + float64(r*b)
		x = a / b
	}
	if q < 0 {
		return -x
	}
	return x
}
