package risk

import "patchbay/internal/risk/figures"

type (
	// Terms are what a price covers. All of it is a year's, as a part of the loan.
	Terms struct {
		PD      float64 `json:"pd"`
		LGD     float64 `json:"lgd"`     // as expected, not of a downturn
		Capital float64 `json:"capital"` // Requirement.Capital ÷ EAD, times what the bank holds above the minimum
		Funding float64 `json:"funding"` // what borrowed money costs
		Equity  float64 `json:"equity"`  // what owners ask of their capital, before taxes; at least Funding
		Costs   float64 `json:"costs"`   // of running the loan
		Margin  float64 `json:"margin"`
	}

	// Price is the rate, and the parts that it is the sum of.
	Price struct {
		Rate         float64 `json:"rate"`
		Funding      float64 `json:"funding"` // of the part that is not capital
		Capital      float64 `json:"capital"`
		Costs        float64 `json:"costs"`
		Margin       float64 `json:"margin"`
		ExpectedLoss float64 `json:"expected_loss"`
	}
)

// PriceOf is the rate r at which a year of the loan covers everything on average: what comes
// back is (1 + r)(1 - PD × LGD), and has to be 1 + funding + capital + costs + margin.
func PriceOf(t Terms) (Price, error) {
	var c figures.Check
	c.Within("terms.pd", t.PD, 0, 0.9999)
	c.Within("terms.lgd", t.LGD, 0, 1)
	c.Within("terms.capital", t.Capital, 0, 1)
	funding := c.Within("terms.funding", t.Funding, -0.05, 1)
	if c.Within("terms.equity", t.Equity, 0, 1) && funding && t.Equity < t.Funding {
		c.Add(figures.Contradiction, "terms.equity", "is below the cost of borrowed money", "give what owners ask, at least terms.funding")
	}
	c.Within("terms.costs", t.Costs, 0, 1)
	c.Within("terms.margin", t.Margin, -0.5, 1)
	if err := c.Err(); err != nil {
		return Price{}, err
	}
	p := Price{Funding: float64((1 - t.Capital) * t.Funding), Capital: float64(t.Capital * t.Equity), Costs: t.Costs, Margin: t.Margin}
	needed := p.Funding + p.Capital + p.Costs + p.Margin
	lost := float64(t.PD * t.LGD)
	p.ExpectedLoss = float64((1+needed)*lost) / (1 - lost)
	p.Rate = needed + p.ExpectedLoss
	return p, figures.Finite("the price", p.Rate, p.ExpectedLoss)
}
