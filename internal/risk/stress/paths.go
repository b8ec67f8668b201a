package stress

import (
	"math"

	"patchbay/internal/risk/portable"
)

const (
	// Bins is how many equal parts the distribution of the lowest surplus has.
	Bins = 64
	// block is how many pairs of paths are added up as one: part of the result's definition, since sums
	// depend on their order.
	block = 512
	// stream sets these random numbers apart from others of the same seed.
	stream = 0x737472657373 // "stress"
)

// sums are what a block of pairs adds up to. A pair's value is the mean of its two paths.
type sums struct {
	fails, shortfall, control                       float64
	failsSquare, shortfallSquare, controlSquare     float64
	failsControl, shortfallControl, singleShortfall float64
}

// counts are whole numbers, whose sums depend on no order.
type counts [Bins]uint64

// twin is one path of a pair.
type twin struct {
	balance    float64
	instalment float64
	monthly    float64 // rate
	left       float64 // savings
	lowest     float64 // surplus
	idle       float64 // quarters without work
	working    bool
}

// add simulates count pairs of paths from the first on.
func (p *plan) add(s *sums, bins *counts, seed, first uint64, count int) {
	var z [3*MaxQuarters + 3]float64
	start := twin{balance: p.balance, instalment: p.instalment, monthly: p.first, left: p.savings, lowest: math.MaxFloat64, working: true}
	needed := 3 * len(p.quarters)
	for pair := first; pair < first+uint64(count); pair++ {
		for i := 0; i < needed; i += 4 {
			u := portable.Philox(seed, stream, [4]uint64{pair, uint64(i)})
			zs := z[i : i+4 : i+4]
			zs[0], zs[1], zs[2], zs[3] = portable.Uniform(u[0]), portable.Uniform(u[1]), portable.Uniform(u[2]), portable.Uniform(u[3])
		}
		for i, u := range z[:needed] {
			z[i] = portable.Quantile(u)
		}
		a, b := start, start
		rate, wage := 0.0, 0.0
		for t := range p.quarters {
			q := &p.quarters[t]
			zs := z[3*t : 3*t+3 : 3*t+3]
			income := float64(p.l10*zs[0]) + float64(p.l11*zs[1])
			work := float64(p.l20*zs[0]) + float64(p.l21*zs[1]) + float64(p.l22*zs[2])
			rate = float64(rate*p.keep) + float64(p.rateShock*zs[0])
			wage += float64(p.wageShock * income)
			up := portable.Exp(wage)
			if q.free {
				a.monthly, b.monthly = monthly(q.rate+rate), monthly(q.rate-rate)
				da, db := portable.Powers(1/(1+a.monthly), 1/(1+b.monthly), q.months)
				a.instalment, b.instalment = annuity(a.balance, a.monthly, da, q.months), annuity(b.balance, b.monthly, db, q.months)
			}
			a.live(p, q, float64(q.income*up), work)
			b.live(p, q, q.income/up, -work)
		}
		s.include(&a, &b)
		bins[p.bin(a.lowest)]++
		bins[p.bin(b.lowest)]++
	}
}

// live is one quarter of a path: the job, the rate, three instalments, what is left.
func (w *twin) live(p *plan, q *quarter, income, work float64) {
	if w.working {
		w.working = !(work < p.lose)
	} else {
		w.working = work > p.find
	}
	if !w.working {
		income *= p.benefit
		w.idle++
	}
	g := 1 + w.monthly
	paid := float64(w.instalment * (1 + g + float64(g*g)))
	w.balance = float64(w.balance*float64(float64(g*g)*g)) - paid
	surplus := income - q.costs - w.instalment
	w.lowest = min(w.lowest, surplus)
	w.left += float64(3 * min(0, surplus))
}

// monthly is a month's part of a year's rate, which is not below 0.
func monthly(rate float64) float64 {
	if rate < 0 {
		rate = 0
	}
	return rate / 12
}

// annuity is the instalment that repays a balance in n months at a rate a month, of which discounted is
// what one unit in n months is worth.
func annuity(balance, rate, discounted float64, n uint) float64 {
	if rate < 1e-7 {
		return balance * (1 + float64(float64(0.5*rate)*float64(n+1))) / float64(n) // the series: the formula would lose digits
	}
	return float64(balance*rate) / (1 - discounted)
}

// include adds a pair.
func (s *sums) include(a, b *twin) {
	fails, shortA, shortB := 0.0, 0.0, 0.0
	if a.left < 0 {
		fails, shortA = 0.5, -a.left
	}
	if b.left < 0 {
		fails, shortB = fails+0.5, -b.left
	}
	short, idle := float64(0.5*(shortA+shortB)), float64(0.5*(a.idle+b.idle))
	s.fails += fails
	s.shortfall += short
	s.control += idle
	s.failsSquare += float64(fails * fails)
	s.shortfallSquare += float64(short * short)
	s.controlSquare += float64(idle * idle)
	s.failsControl += float64(fails * idle)
	s.shortfallControl += float64(short * idle)
	s.singleShortfall += float64(shortA*shortA) + float64(shortB*shortB)
}

func (p *plan) bin(surplus float64) int {
	x := float64((surplus - p.low) * p.perBin)
	switch {
	case !(x > 0):
		return 0
	case x >= Bins:
		return Bins - 1
	}
	return int(x)
}

func root(x float64) float64 { return math.Sqrt(max(0, x)) }
