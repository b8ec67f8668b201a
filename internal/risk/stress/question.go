package stress

import (
	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/portable"
)

type (
	// Household is who asks for the loan. Amounts are of one currency, a month.
	Household struct {
		Income  float64 `json:"income"`  // net, at the start; above 0
		Living  float64 `json:"living"`  // what living costs, rent included
		Debts   float64 `json:"debts"`   // instalments of loans that stay
		Savings float64 `json:"savings"` // liquid, once; what a shortfall is paid from
	}

	// Loan is what they ask for: an annuity in monthly instalments.
	Loan struct {
		Amount float64 `json:"amount"`
		Months int     `json:"months"` // until it is repaid
		Margin float64 `json:"margin"` // above the market rate, a year; 0.02 is two per cent
		// Fixed is how many quarters the first rate holds; after them it follows the market each
		// quarter. Of at least Horizon it holds throughout.
		Fixed int `json:"fixed"`
	}

	// Economy is what may happen. Rates, growth and volatilities are a year's, probabilities a
	// quarter's.
	Economy struct {
		Rate          float64     `json:"rate"`           // the market rate at the start
		RateMean      float64     `json:"rate_mean"`      // where it is drawn to
		RateReversion float64     `json:"rate_reversion"` // how fast, above 0
		RateVol       float64     `json:"rate_vol"`
		IncomeGrowth  float64     `json:"income_growth"` // of the expected income
		IncomeVol     float64     `json:"income_vol"`
		CostGrowth    float64     `json:"cost_growth"`
		JobLoss       float64     `json:"job_loss"`
		JobFind       float64     `json:"job_find"`
		Benefit       float64     `json:"benefit"` // the part of the income that is left without work
		Correlation   Correlation `json:"correlation"`
	}

	// Correlation is that of the quarter's shocks; the shock to work is good when it is positive.
	Correlation struct {
		RateIncome float64 `json:"rate_income"`
		RateWork   float64 `json:"rate_work"`
		IncomeWork float64 `json:"income_work"`
	}

	// Stress is what is assumed to go wrong from the first day, on top of what may happen.
	Stress struct {
		RateRise   float64 `json:"rate_rise"`   // added to the market rate and its mean
		IncomeCut  float64 `json:"income_cut"`  // the part of the income that is gone
		LossFactor float64 `json:"loss_factor"` // times the probability of job loss; 1 is none
	}

	// Question is what is computed.
	Question struct {
		Household Household `json:"household"`
		Loan      Loan      `json:"loan"`
		Economy   Economy   `json:"economy"`
		Stress    Stress    `json:"stress"`
		Horizon   int       `json:"horizon"` // quarters that are looked at, at most those of the loan
	}
)

// The bounds of a question.
const (
	MaxQuarters = 40
	MaxMonths   = 480
	maxAmount   = 1e12
)

// quarter is what of a quarter is the same on all paths.
type quarter struct {
	income float64 // expected logarithmic path of the income of somebody in work, a month
	costs  float64 // living and debts, a month
	rate   float64 // the customer's rate a year without its shock; NaN never
	months uint    // left of the loan when it begins
	free   bool    // the rate follows the market
}

// plan is a question made ready: what the paths read, and nothing they write.
type plan struct {
	quarters   []quarter
	balance    float64
	instalment float64 // at the first rate
	first      float64 // that rate, a month
	savings    float64
	benefit    float64
	keep       float64 // what of the rate's distance from its mean is left after a quarter
	rateShock  float64 // standard deviations of a quarter
	wageShock  float64
	lose, find float64 // the shock to work below which it is lost, and above which it is found
	// The lower triangle of the correlation's square root (Cholesky): rate, income, work.
	l10, l11, l20, l21, l22 float64
	// The bins of the lowest surplus.
	low, perBin float64
	expected    float64 // quarters without work, by the Markov chain: the control variate's mean
}

// prepare checks a question and makes its plan.
func (q *Question) prepare() (*plan, error) {
	var c figures.Check
	h, l, e, s := &q.Household, &q.Loan, &q.Economy, &q.Stress
	c.Within("household.income", h.Income, 0.01, maxAmount)
	c.Within("household.living", h.Living, 0, maxAmount)
	c.Within("household.debts", h.Debts, 0, maxAmount)
	c.Within("household.savings", h.Savings, 0, maxAmount)
	c.Within("loan.amount", l.Amount, 0, maxAmount)
	term := c.Whole("loan.months", l.Months, 3, MaxMonths)
	c.Within("loan.margin", l.Margin, -0.05, 1)
	c.Whole("loan.fixed", l.Fixed, 0, MaxMonths)
	c.Within("economy.rate", e.Rate, -0.05, 0.5)
	c.Within("economy.rate_mean", e.RateMean, -0.05, 0.5)
	c.Within("economy.rate_reversion", e.RateReversion, 0.001, 20)
	c.Within("economy.rate_vol", e.RateVol, 0, 0.2)
	c.Within("economy.income_growth", e.IncomeGrowth, -0.5, 0.5)
	c.Within("economy.income_vol", e.IncomeVol, 0, 1)
	c.Within("economy.cost_growth", e.CostGrowth, -0.5, 0.5)
	loss := c.Within("economy.job_loss", e.JobLoss, 0, 1)
	c.Within("economy.job_find", e.JobFind, 0, 1)
	c.Within("economy.benefit", e.Benefit, 0, 1)
	c.Within("stress.rate_rise", s.RateRise, 0, 0.5)
	c.Within("stress.income_cut", s.IncomeCut, 0, 0.99)
	if c.Within("stress.loss_factor", s.LossFactor, 1, 100) && loss && e.JobLoss*s.LossFactor > 1 {
		c.Add(figures.Contradiction, "stress.loss_factor", "makes the probability of job loss more than 1", "lower it or economy.job_loss")
	}
	if c.Whole("horizon", q.Horizon, 1, MaxQuarters) && term && 3*q.Horizon > l.Months {
		c.Add(figures.Contradiction, "horizon", "looks beyond the end of the loan", "give at most a third of loan.months")
	}
	p := &plan{savings: h.Savings, benefit: e.Benefit, balance: l.Amount}
	p.root(&c, e.Correlation)
	if err := c.Err(); err != nil {
		return nil, err
	}
	p.fill(q)
	return p, nil
}

// root is Cholesky's of the correlations.
func (p *plan) root(c *figures.Check, r Correlation) {
	inside := c.Within("economy.correlation.rate_income", r.RateIncome, -1, 1)
	inside = c.Within("economy.correlation.rate_work", r.RateWork, -1, 1) && inside
	inside = c.Within("economy.correlation.income_work", r.IncomeWork, -1, 1) && inside
	if !inside {
		return
	}
	const slack = 1e-12 // correlations of ±1 are allowed, and rounding
	a := 1 - float64(r.RateIncome*r.RateIncome)
	p.l10, p.l11 = r.RateIncome, root(a)
	p.l20 = r.RateWork
	if a > slack {
		p.l21 = (r.IncomeWork - float64(r.RateWork*r.RateIncome)) / p.l11
	} else if d := r.IncomeWork - float64(r.RateWork*r.RateIncome); d > slack || d < -slack {
		a = -1 // income and rate move as one, but only one of them moves with work
	}
	b := 1 - float64(p.l20*p.l20) - float64(p.l21*p.l21)
	p.l22 = root(b)
	if a < -slack || b < -slack {
		c.Add(figures.Contradiction, "economy.correlation", "cannot all hold at once: the matrix is not positive semidefinite", "bring them nearer to 0")
	}
}

// fill computes what is the same on all paths, from a question without mistakes.
func (p *plan) fill(q *Question) {
	h, l, e, s := &q.Household, &q.Loan, &q.Economy, &q.Stress
	const year = 0.25 // of a quarter
	p.keep = portable.Exp(-e.RateReversion * year)
	p.rateShock = e.RateVol * root((1-float64(p.keep*p.keep))/(2*e.RateReversion))
	p.wageShock = e.IncomeVol * root(year)
	jobLoss := e.JobLoss * s.LossFactor
	p.lose, p.find = portable.Quantile(jobLoss), portable.Quantile(1-e.JobFind)

	market, mean := e.Rate+s.RateRise, e.RateMean+s.RateRise
	p.first = monthly(market + l.Margin)
	unit := 1 / (1 + p.first)
	worth, _ := portable.Powers(unit, unit, uint(l.Months))
	p.instalment = annuity(p.balance, p.first, worth, uint(l.Months))
	growth := e.IncomeGrowth - float64(float64(0.5*e.IncomeVol)*e.IncomeVol) // of the median
	out := 0.0
	for t := range q.Horizon {
		at := float64(t+1) * year
		market = mean + float64((market-mean)*p.keep)
		p.quarters = append(p.quarters, quarter{
			income: h.Income * (1 - s.IncomeCut) * portable.Exp(growth*at),
			costs:  (h.Living + h.Debts) * portable.Exp(e.CostGrowth*at),
			rate:   market + l.Margin,
			months: uint(l.Months - 3*t),
			free:   t >= l.Fixed,
		})
		out += float64((1-out)*jobLoss) - float64(out*e.JobFind)
		p.expected += out
	}
	high := 2 * h.Income
	p.low = -(high + h.Living + h.Debts + 2*p.instalment)
	p.perBin = Bins / (high - p.low)
}
