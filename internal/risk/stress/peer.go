package stress

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// Listing is a question made ready, as testdata/paths.c reads it: one number a line, by the
// sixteen hexadecimal digits of its bits.
func Listing(q Question) (string, error) {
	p, err := q.prepare()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	list(&b, float64(len(p.quarters)), p.balance, p.instalment, p.first, p.savings, p.benefit, p.keep, p.rateShock, p.wageShock,
		p.lose, p.find, p.l10, p.l11, p.l20, p.l21, p.l22, p.low, p.perBin)
	for _, t := range p.quarters {
		free := 0.0
		if t.free {
			free = 1
		}
		list(&b, t.income, t.costs, t.rate, float64(t.months), free)
	}
	return b.String(), nil
}

// Sums is what all paths add up to before any statistics, in the form of Listing, and as
// testdata/paths.c prints it: nine sums of pairs and the bins.
func Sums(ctx context.Context, q Question, o Options) (string, error) {
	p, err := q.prepare()
	if err != nil {
		return "", err
	}
	if o, err = o.checked(); err != nil {
		return "", err
	}
	s, bins, err := p.sum(ctx, o)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	list(&b, s.fails, s.shortfall, s.control, s.failsSquare, s.shortfallSquare, s.controlSquare, s.failsControl, s.shortfallControl, s.singleShortfall)
	for _, n := range bins {
		list(&b, float64(n))
	}
	return b.String(), nil
}

func list(b *strings.Builder, numbers ...float64) {
	for _, x := range numbers {
		fmt.Fprintf(b, "%016x\n", math.Float64bits(x))
	}
}

// Example is a household with a mortgage whose rate follows the market after a year, looked
// at for three years under two points more interest and twice the job losses: what the golden
// bits, the benchmark and docs/risk.md are of.
func Example() Question {
	return Question{
		Household: Household{Income: 3200, Living: 1700, Debts: 150, Savings: 6000},
		Loan:      Loan{Amount: 180_000, Months: 300, Margin: 0.018, Fixed: 4},
		Economy: Economy{
			Rate: 0.025, RateMean: 0.03, RateReversion: 0.3, RateVol: 0.01,
			IncomeGrowth: 0.02, IncomeVol: 0.08, CostGrowth: 0.02,
			JobLoss: 0.012, JobFind: 0.35, Benefit: 0.6,
			Correlation: Correlation{RateIncome: 0.1, RateWork: -0.15, IncomeWork: 0.4},
		},
		Stress:  Stress{RateRise: 0.02, LossFactor: 2},
		Horizon: 12,
	}
}
