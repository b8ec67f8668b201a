package fit

import (
	"math"

	"patchbay/internal/fault"
	"patchbay/internal/risk/portable"
)

// Logistic fits ln(p/(1-p)) = c₀ + Σ cᵢ xᵢ to rows by maximum likelihood, with Newton's method. It
// gives c₀ first. Rows that can be told apart without a mistake, or variables that
// say the same, have no fit: an Invalid fault.
func Logistic(rows [][]float64, bad []bool) ([]float64, error) {
	n := 1
	if len(rows) > 0 {
		n += len(rows[0])
	}
	c := make([]float64, n)
	x := make([]float64, n)
	for range 50 {
		gradient := make([]float64, n)
		hessian := make([][]float64, n)
		for i := range hessian {
			hessian[i] = make([]float64, n)
		}
		for r, row := range rows {
			x[0] = 1
			copy(x[1:], row)
			p := 1 / (1 + portable.Exp(-dot(c, x)))
			y := 0.0
			if bad[r] {
				y = 1
			}
			w := float64(p * (1 - p))
			for i := range n {
				gradient[i] += float64((y - p) * x[i])
				for j := range i + 1 {
					hessian[i][j] += float64(float64(w*x[i]) * x[j])
				}
			}
		}
		step, ok := solve(hessian, gradient)
		if !ok {
			break
		}
		largest := 0.0
		for i := range n {
			c[i] += step[i]
			largest = max(largest, math.Abs(step[i]))
		}
		if largest < 1e-12 {
			return c, nil
		}
	}
	return nil, fault.Invalidf("risk.no-fit", "the logistic model has no unique fit to these rows: give more, or drop variables that say the same")
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i] * b[i])
	}
	return sum
}

// solve solves a symmetric positive definite system, of which the lower triangle is given, by
// Cholesky's factors, which take its place.
func solve(a [][]float64, b []float64) ([]float64, bool) {
	n := len(b)
	for i := range n {
		for j := range i + 1 {
			s := a[i][j]
			for k := range j {
				s -= float64(a[i][k] * a[j][k])
			}
			if i > j {
				a[i][j] = s / a[j][j]
				continue
			}
			if !(s > float64(1e-12*a[i][i])) {
				return nil, false
			}
			a[i][i] = math.Sqrt(s)
		}
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = (b[i] - dot(a[i][:i], x[:i])) / a[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= float64(a[k][i] * x[k])
		}
		x[i] /= a[i][i]
	}
	return x, true
}
