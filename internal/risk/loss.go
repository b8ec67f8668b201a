package risk

import (
	"patchbay/internal/fault"
	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/portable"
)

type (
	// Collateral is what secures a loan, at its value of today.
	Collateral struct {
		Value   float64 `json:"value"`
		Prior   float64 `json:"prior"`   // what others are paid from it first
		Haircut float64 `json:"haircut"` // the part of the value that a sale does not bring
		// DownturnHaircut is the same in a downturn; at least Haircut.
		DownturnHaircut float64 `json:"downturn_haircut"`
		Costs           float64 `json:"costs"` // of selling, a part of the proceeds
		Years           float64 `json:"years"` // until the proceeds are there
	}

	// Recovery is how a defaulted loan is worked out.
	Recovery struct {
		EAD        float64      `json:"ead"` // above 0
		Collateral []Collateral `json:"collateral"`
		Unsecured  float64      `json:"unsecured"` // the part of the rest that is recovered
		Years      float64      `json:"years"`     // until that is there
		Costs      float64      `json:"costs"`     // of the work-out, an amount
		Discount   float64      `json:"discount"`  // a year: recoveries are risky, so more than the funding rate
		Floor      float64      `json:"floor"`     // of the downturn figure
	}

	// Loss is loss given default, as a part of EAD.
	Loss struct {
		Expected float64 `json:"expected"`
		Downturn float64 `json:"downturn"` // what capital is computed with
		Secured  float64 `json:"secured"`  // the part of EAD that collateral covers, as expected
	}
)

// LossGivenDefault is the work-out figure: one less what comes back, discounted to the day of
// the default, plus costs; between 0 and 1. Collateral is used in the order given, until the exposure is paid.
//
// Source: the work-out approach of Basel Committee, June 2006, paragraphs 460 to 470, and of
// CEBS, "Guidelines on the implementation … of Advanced Measurement and Internal Ratings Based
// Approaches" (GL10, 2006): economic loss with discounting and costs, and a downturn figure.
func LossGivenDefault(r Recovery) (Loss, error) {
	if err := r.check(); err != nil {
		return Loss{}, err
	}
	var l Loss
	l.Expected, l.Secured = r.loss(func(c *Collateral) float64 { return c.Haircut })
	l.Downturn, _ = r.loss(func(c *Collateral) float64 { return c.DownturnHaircut })
	l.Downturn = max(l.Downturn, l.Expected, r.Floor)
	return l, figures.Finite("the loss given default", l.Expected, l.Downturn, l.Secured)
}

func (r *Recovery) loss(haircut func(*Collateral) float64) (lost, secured float64) {
	open, back := r.EAD, 0.0
	for i := range r.Collateral {
		c := &r.Collateral[i]
		proceeds := max(0, float64(c.Value*(1-haircut(c)))-c.Prior)
		used := min(open, float64(proceeds*(1-c.Costs)))
		open -= used
		back += float64(used * r.worth(c.Years))
	}
	secured = (r.EAD - open) / r.EAD
	back += float64(float64(open*r.Unsecured) * r.worth(r.Years))
	return min(1, max(0, (r.EAD-back+r.Costs)/r.EAD)), secured
}

// worth is what one unit in so many years is today.
func (r *Recovery) worth(years float64) float64 {
	return portable.Exp(float64(-years * portable.Log(1+r.Discount)))
}

func (r *Recovery) check() error {
	var c figures.Check
	c.Within("recovery.ead", r.EAD, 0.01, maxAmount)
	c.Within("recovery.unsecured", r.Unsecured, 0, 1)
	c.Within("recovery.years", r.Years, 0, 50)
	c.Within("recovery.costs", r.Costs, 0, maxAmount)
	c.Within("recovery.discount", r.Discount, 0, 1)
	c.Within("recovery.floor", r.Floor, 0, 1)
	for i := range r.Collateral {
		of, path := &r.Collateral[i], fault.AtIndex("recovery.collateral", i)
		c.Within(fault.At(path, "value"), of.Value, 0, maxAmount)
		c.Within(fault.At(path, "prior"), of.Prior, 0, maxAmount)
		c.Within(fault.At(path, "costs"), of.Costs, 0, 1)
		c.Within(fault.At(path, "years"), of.Years, 0, 50)
		usual := c.Within(fault.At(path, "haircut"), of.Haircut, 0, 1)
		if c.Within(fault.At(path, "downturn_haircut"), of.DownturnHaircut, 0, 1) && usual && of.DownturnHaircut < of.Haircut {
			c.Add(figures.Contradiction, fault.At(path, "downturn_haircut"), "is below the usual haircut", "give at least haircut")
		}
	}
	return c.Err()
}
