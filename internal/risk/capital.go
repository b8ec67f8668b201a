package risk

import (
	"math"

	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/portable"
)

// Class is an exposure class of Basel's internal ratings-based approach.
type Class string

// The classes that have a risk weight function here.
const (
	Corporate   Class = "corporate"
	Mortgage    Class = "residential-mortgage"
	OtherRetail Class = "other-retail"
	Revolving   Class = "qualifying-revolving"
)

type (
	// Exposure is what a risk weight is of.
	Exposure struct {
		Class Class   `json:"class"`
		PD    float64 `json:"pd"`  // within a year, below 1: what is in default has other rules
		LGD   float64 `json:"lgd"` // in a downturn
		EAD   float64 `json:"ead"`
		// Maturity in years, counted as 1 to 5, and the yearly Turnover of the borrower's group in
		// millions of euros, where 50 and more are no small firm. Corporate only; elsewhere 0.
		Maturity float64 `json:"maturity,omitempty"`
		Turnover float64 `json:"turnover,omitempty"`
	}

	// Rules are what differs between editions of the framework.
	Rules struct {
		Name           string  `json:"name"`
		Scaling        float64 `json:"scaling"`         // of risk-weighted assets
		FloorPD        float64 `json:"floor_pd"`        // of all classes but
		FloorRevolving float64 `json:"floor_revolving"` // these
		// Spreadsheet takes the normal distribution that spreadsheets had in 2006 instead of the exact one.
		Spreadsheet bool `json:"spreadsheet,omitempty"`
	}

	// Requirement is what an exposure needs.
	Requirement struct {
		PD           float64 `json:"pd"`            // after the floor
		Correlation  float64 `json:"correlation"`   // of assets with the economy
		K            float64 `json:"k"`             // capital for unexpected loss as a part of EAD, without scaling
		Weight       float64 `json:"risk_weight"`   // 12.5 K, without scaling: what the illustrative tables print
		RWA          float64 `json:"rwa"`           // with scaling
		Capital      float64 `json:"capital"`       // 8 % of RWA
		ExpectedLoss float64 `json:"expected_loss"` // PD × LGD × EAD, a year
	}
)

// Basel2 is the framework of June 2006 and its scaling factor of 1.06 (paragraph 14); its PD
// floor is that of paragraphs 285 and 331.
func Basel2() Rules {
	return Rules{Name: "basel-2", Scaling: 1.06, FloorPD: 0.0003, FloorRevolving: 0.0003}
}

// Basel3 is the framework in force from 2023 (CRE31, CRE32): no scaling, higher floors; of
// revolving exposures the one of those who do not pay in full each month.
func Basel3() Rules {
	return Rules{Name: "basel-3", Scaling: 1, FloorPD: 0.0005, FloorRevolving: 0.001}
}

// Illustrative is how the Committee's table of illustrative risk weights (2006, Annex 5) was
// printed: without scaling and floors, and with the spreadsheets of the day. With the exact normal
// distribution 12 of its 152 figures are one off in the last digit; with this one, none.
func Illustrative() Rules { return Rules{Name: "illustrative", Scaling: 1, Spreadsheet: true} }

// RulesOf finds rules by their name.
func RulesOf(name string) (Rules, error) {
	for _, r := range []Rules{Basel2(), Basel3(), Illustrative()} {
		if r.Name == name {
			return r, nil
		}
	}
	var c figures.Check
	c.Add(figures.Unknown, "rules", "are none of the editions", "give basel-2, basel-3 or illustrative")
	return Rules{}, c.Err()
}

// Capital computes the requirement of an exposure that is not in default.
//
// Source: Basel Committee on Banking Supervision, "International Convergence of Capital
// Measurement and Capital Standards: a revised framework, comprehensive version", June 2006,
// paragraphs 272 and 273 (corporate, small firms) and 328 to 330 (retail).
func Capital(e Exposure, rules Rules) (Requirement, error) {
	if err := e.check(rules); err != nil {
		return Requirement{}, err
	}
	floor := rules.FloorPD
	if e.Class == Revolving {
		floor = rules.FloorRevolving
	}
	r := Requirement{PD: max(e.PD, floor)}
	r.Correlation = e.correlation(r.PD)
	n := rules.normal()
	spread := n.quantile(r.PD) + float64(math.Sqrt(r.Correlation)*n.quantile(0.999))
	worst := n.cumulative(spread / math.Sqrt(1-r.Correlation))
	r.K = float64(e.LGD*worst) - float64(r.PD*e.LGD)
	if e.Class == Corporate {
		b := 0.11852 - float64(0.05478*portable.Log(r.PD))
		b = float64(b * b)
		m := min(max(e.Maturity, 1), 5)
		r.K = float64(r.K*(1+float64((m-2.5)*b))) / (1 - float64(1.5*b))
	}
	r.Weight = float64(12.5 * r.K)
	r.RWA = float64(float64(r.Weight*e.EAD) * rules.Scaling)
	r.Capital = float64(0.08 * r.RWA)
	r.ExpectedLoss = ExpectedLoss(r.PD, e.LGD, e.EAD)
	return r, figures.Finite("the capital requirement", r.PD, r.Correlation, r.K, r.Weight, r.RWA, r.Capital, r.ExpectedLoss)
}

// ExpectedLoss is what is lost of an exposure in a year on average.
func ExpectedLoss(pd, lgd, ead float64) float64 { return float64(float64(pd*lgd) * ead) }

// correlation falls with the probability of default, but for mortgages and revolving
// exposures, and for firms with their size.
func (e *Exposure) correlation(pd float64) float64 {
	between := func(low, high, speed float64) float64 {
		w := (1 - portable.Exp(float64(-speed*pd))) / (1 - portable.Exp(-speed))
		return float64(low*w) + float64(high*(1-w))
	}
	switch e.Class {
	case Mortgage:
		return 0.15
	case Revolving:
		return 0.04
	case OtherRetail:
		return between(0.03, 0.16, 35)
	}
	size := min(max(e.Turnover, 5), 50)
	return between(0.12, 0.24, 50) - float64(0.04*(1-(size-5)/45))
}

func (e *Exposure) check(rules Rules) error {
	var c figures.Check
	switch e.Class {
	case Corporate:
		c.Within("exposure.maturity", e.Maturity, 0.01, 100)
		c.Within("exposure.turnover", e.Turnover, 0.001, 1e7)
	case Mortgage, OtherRetail, Revolving:
		for path, x := range map[string]float64{"exposure.maturity": e.Maturity, "exposure.turnover": e.Turnover} {
			if x != 0 { // NaN, too
				c.Add(figures.Contradiction, path, "is given for a class that has none", "leave it out, or use the class corporate")
			}
		}
	case "":
		c.Add(figures.Missing, "exposure.class", "is missing", "give corporate, residential-mortgage, other-retail or qualifying-revolving")
	default:
		c.Add(figures.Unknown, "exposure.class", "is no class", "give corporate, residential-mortgage, other-retail or qualifying-revolving")
	}
	low := 0.0
	if rules.FloorPD == 0 || rules.FloorRevolving == 0 {
		low = 1e-8
	}
	c.Within("exposure.pd", e.PD, low, 0.9999)
	c.Within("exposure.lgd", e.LGD, 0, 1)
	c.Within("exposure.ead", e.EAD, 0, maxAmount)
	c.Within("rules.scaling", rules.Scaling, 0.5, 2)
	c.Within("rules.floor_pd", rules.FloorPD, 0, 0.1)
	c.Within("rules.floor_revolving", rules.FloorRevolving, 0, 0.1)
	return c.Err()
}

// maxAmount bounds amounts of money: nothing that is multiplied here overflows.
const maxAmount = 1e15
