package portable_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/risk/portable"
)

const precision = 400 // bits of the exact values

func exact(x float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(x) }

func product(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(precision).Mul(a, b) }

func over(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(precision).Quo(a, b) }

func sum(a, b *big.Float) *big.Float { return new(big.Float).SetPrec(precision).Add(a, b) }

// exactExp is e^x by its series at x/2^12, squared twelve times.
func exactExp(x *big.Float) *big.Float {
	small := over(x, exact(4096))
	term, total := exact(1), exact(1)
	for i := 1; i < 60; i++ {
		term = over(product(term, small), exact(float64(i)))
		total = sum(total, term)
	}
	for range 12 {
		total = product(total, total)
	}
	return total
}

// exactDensity is that of the standard normal distribution without its factor 1/√(2π).
func exactDensity(x *big.Float) *big.Float { return exactExp(over(product(x, x), exact(-2))) }

func exactPi(t *testing.T) *big.Float {
	pi, _, err := big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651", 10, precision, big.ToNearestEven)
	require.NoError(t, err)
	return pi
}

// exactCumulative is the normal distribution by its Taylor series, which holds more digits than
// cancel for |x| up to 9.
func exactCumulative(t *testing.T, x float64) *big.Float {
	at := exact(x)
	square := product(at, at)
	term, total := at, at
	for i := 1; i < 400; i++ { // x·Σ x^2i / (1·3·5…(2i+1)) × density
		term = over(product(term, square), exact(float64(2*i+1)))
		total = sum(total, term)
	}
	root := new(big.Float).SetPrec(precision).Sqrt(product(exactPi(t), exact(2)))
	return sum(exact(0.5), over(product(total, exactDensity(at)), root))
}

// apart is how far got is from want, as a part of want.
func apart(got float64, want *big.Float) float64 {
	d, _ := over(sum(exact(got), new(big.Float).Neg(want)), want).Float64()
	return math.Abs(d)
}

// ulps is the same in units of got's last place.
func ulps(got float64, want *big.Float) float64 {
	_, e := math.Frexp(got)
	d, _ := over(sum(exact(got), new(big.Float).Neg(want)), exact(math.Ldexp(1, e-53))).Float64()
	return math.Abs(d)
}

func TestExpAndLogAreWithinAUnitInTheLastPlace(t *testing.T) {
	t.Parallel()
	worstExp, worstLog := 0.0, 0.0
	for i := range uint64(1000) {
		u := portable.Philox(1, 1, [4]uint64{i})
		x := (portable.Uniform(u[0]) - 0.5) * 4
		if i%2 == 0 {
			x = (portable.Uniform(u[0]) - 0.5) * 1400
		}
		worstExp = max(worstExp, ulps(portable.Exp(x), exactExp(exact(x))))
		// Of the logarithm, what exp makes of it: y = log x (1+ε) means exp(y) = x·(1 + y·ε).
		v := math.Ldexp(portable.Uniform(u[1])+0.5, int(u[2]%2000)-1000)
		if i%2 == 0 {
			v = 0.7 + 0.7*portable.Uniform(u[1])
		}
		y := portable.Log(v)
		_, e := math.Frexp(y)
		off := apart(v, exactExp(exact(y))) / math.Ldexp(1, e-53)
		worstLog = max(worstLog, off)
	}
	t.Logf("worst error in units in the last place: exp %.3f, log %.3f", worstExp, worstLog)
	require.Less(t, worstExp, 1.0)
	require.Less(t, worstLog, 1.0)
}

func TestTheNormalDistributionIsAsExactAsItSays(t *testing.T) {
	t.Parallel()
	worst, inverse := 0.0, 0.0
	root := new(big.Float).SetPrec(precision).Sqrt(product(exactPi(t), exact(2)))
	for i := range uint64(400) {
		u := portable.Philox(2, 1, [4]uint64{i})
		x := (portable.Uniform(u[0]) - 0.5) * 16
		worst = max(worst, apart(portable.Cumulative(x), exactCumulative(t, x)))

		p := portable.Uniform(u[1])
		if i%2 == 0 {
			p = portable.Exp(-30 * p)
		}
		q := portable.Quantile(p)
		missed, _ := over(product(sum(exactCumulative(t, q), exact(-p)), root), exactDensity(exact(q))).Float64()
		inverse = max(inverse, math.Abs(missed)/max(1, math.Abs(q)))
	}
	t.Logf("worst error: cumulative %.2e of its value, quantile %.2e", worst, inverse)
	require.Less(t, worst, 2e-14)
	require.Less(t, inverse, 2e-15)
	for _, x := range []float64{-10, -20, -30, -37} {
		require.InEpsilon(t, 0.5*math.Erfc(-x/math.Sqrt2), portable.Cumulative(x), 1e-12)
	}
}

func TestValuesAtTheEdges(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	for name, c := range map[string]struct{ got, want float64 }{
		"exp of the largest":       {portable.Exp(709.782712893383973096), 1.7976931348622732e+308}, // math.Exp says +Inf on amd64
		"exp beyond it":            {portable.Exp(709.8), inf},
		"exp of +Inf":              {portable.Exp(inf), inf},
		"exp of the smallest":      {portable.Exp(-708.396418532264), math.Exp(-708.396418532264)},
		"exp below it":             {portable.Exp(-708.4), 0},
		"exp of -Inf":              {portable.Exp(-inf), 0},
		"exp of 0":                 {portable.Exp(0), 1},
		"exp of 1":                 {portable.Exp(1), math.E},
		"log of 1":                 {portable.Log(1), 0},
		"log of 0":                 {portable.Log(0), -inf},
		"log of +Inf":              {portable.Log(inf), inf},
		"log of a subnormal":       {portable.Log(5e-324), -744.4400719213812},
		"log of the largest":       {portable.Log(math.MaxFloat64), 709.782712893384},
		"quantile of 0":            {portable.Quantile(0), -inf},
		"quantile of 1":            {portable.Quantile(1), inf},
		"quantile of a half":       {portable.Quantile(0.5), 0},
		"cumulative of 0":          {portable.Cumulative(0), 0.5},
		"cumulative of +Inf":       {portable.Cumulative(inf), 1},
		"cumulative of -Inf":       {portable.Cumulative(-inf), 0},
		"the smallest of uniforms": {portable.Uniform(0), 0x1p-53},
		"the largest of uniforms":  {portable.Uniform(math.MaxUint64), 1 - 0x1p-53},
	} {
		require.Equal(t, c.want, c.got, name)
	}
	x, y := portable.Powers(3, 2, 13)
	require.Equal(t, []float64{1594323, 8192}, []float64{x, y})
	x, y = portable.Powers(3, 2, 0)
	require.Equal(t, []float64{1, 1}, []float64{x, y})
	for name, got := range map[string]float64{
		"exp": portable.Exp(math.NaN()), "log": portable.Log(math.NaN()), "log below 0": portable.Log(-1), "cumulative": portable.Cumulative(math.NaN()),
		"quantile": portable.Quantile(math.NaN()), "quantile below 0": portable.Quantile(-0.1), "quantile above 1": portable.Quantile(1.1),
	} {
		require.True(t, math.IsNaN(got), "%s: %v", name, got)
	}
}

// The vectors are those of Random123's kat_vectors.
func TestPhiloxGivesThePublishedNumbers(t *testing.T) {
	t.Parallel()
	const all = math.MaxUint64
	for _, c := range []struct {
		key         [2]uint64
		place, want [4]uint64
	}{
		{[2]uint64{}, [4]uint64{}, [4]uint64{0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
		{[2]uint64{all, all}, [4]uint64{all, all, all, all}, [4]uint64{0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
		{
			[2]uint64{0x452821e638d01377, 0xbe5466cf34e90c6c},
			[4]uint64{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
			[4]uint64{0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6},
		},
	} {
		require.Equal(t, c.want, portable.Philox(c.key[0], c.key[1], c.place))
	}
}
