package risk_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/risk"
	"patchbay/internal/risk/figures"
)

// A house of 200,000 that sells for 80 % (60 % in a downturn) less 10,000 to others, 5 % costs, after
// two years at 5 %: 142,500 × 0.907029 = 129,251.70 of 150,000; of the rest of 7,500 a tenth after a year.
func house() risk.Recovery {
	return risk.Recovery{
		EAD: 150_000, Unsecured: 0.1, Years: 1, Costs: 3000, Discount: 0.05, Floor: 0.1,
		Collateral: []risk.Collateral{{Value: 200_000, Prior: 10_000, Haircut: 0.2, DownturnHaircut: 0.4, Costs: 0.05, Years: 2}},
	}
}

func TestLossGivenDefaultIsWhatPaperAndPencilSay(t *testing.T) {
	t.Parallel()
	l, err := risk.LossGivenDefault(house())
	require.NoError(t, err)
	back := 142_500/1.05/1.05 + 7500*0.1/1.05
	lost := (150_000 - back + 3000) / 150_000
	require.InEpsilon(t, l.Expected, lost, 1e-13)
	require.InEpsilon(t, 142_500.0/150_000, l.Secured, 1e-13)
	back = 110_000*0.95/1.05/1.05 + (150_000-110_000*0.95)*0.1/1.05
	lost = (150_000 - back + 3000) / 150_000
	require.InEpsilon(t, lost, l.Downturn, 1e-13)

	bare, err := risk.LossGivenDefault(risk.Recovery{EAD: 1000})
	require.NoError(t, err)
	require.Equal(t, risk.Loss{Expected: 1, Downturn: 1}, bare)

	rich := house()
	rich.Collateral[0].Value, rich.Discount, rich.Costs = 1e6, 0, 0
	l, err = risk.LossGivenDefault(rich)
	require.NoError(t, err)
	require.Equal(t, risk.Loss{Expected: 0, Downturn: 0.1, Secured: 1}, l, "the floor holds in the downturn only")
}

func TestThePriceCoversEverythingOnAverage(t *testing.T) {
	t.Parallel()
	p, err := risk.PriceOf(risk.Terms{PD: 0.02, LGD: 0.45, Capital: 0.06, Funding: 0.03, Equity: 0.12, Costs: 0.008, Margin: 0.01})
	require.NoError(t, err)
	needed := 0.94*0.03 + 0.06*0.12 + 0.008 + 0.01
	require.InEpsilon(t, (1+needed)/(1-0.02*0.45)-1, p.Rate, 1e-13)
	require.InEpsilon(t, p.Rate, p.Funding+p.Capital+p.Costs+p.Margin+p.ExpectedLoss, 1e-14)
}

func TestWrongFiguresOfALoanAreErrorsWithNames(t *testing.T) {
	t.Parallel()
	capital := func(change func(*risk.Exposure)) error {
		e := risk.Exposure{Class: risk.Corporate, PD: 0.01, LGD: 0.45, EAD: 1, Maturity: 2.5, Turnover: 10}
		change(&e)
		_, err := risk.Capital(e, risk.Basel2())
		return err
	}
	loss := func(change func(*risk.Recovery)) error {
		r := house()
		change(&r)
		_, err := risk.LossGivenDefault(r)
		return err
	}
	price := func(change func(*risk.Terms)) error {
		p := risk.Terms{PD: 0.01, LGD: 0.4, Capital: 0.06, Funding: 0.03, Equity: 0.1}
		change(&p)
		_, err := risk.PriceOf(p)
		return err
	}
	for name, c := range map[string]struct {
		err        error
		path, code string
	}{
		"no class":                 {capital(func(e *risk.Exposure) { e.Class = "" }), "exposure.class", figures.Missing},
		"another class":            {capital(func(e *risk.Exposure) { e.Class = "sovereign" }), "exposure.class", figures.Unknown},
		"a PD that is no number":   {capital(func(e *risk.Exposure) { e.PD = math.NaN() }), "exposure.pd", figures.NotANumber},
		"default":                  {capital(func(e *risk.Exposure) { e.PD = 1 }), "exposure.pd", figures.Range},
		"a negative loss":          {capital(func(e *risk.Exposure) { e.LGD = -0.1 }), "exposure.lgd", figures.Range},
		"no turnover":              {capital(func(e *risk.Exposure) { e.Turnover = 0 }), "exposure.turnover", figures.Range},
		"a mortgage with turnover": {capital(func(e *risk.Exposure) { e.Class, e.Maturity = risk.Mortgage, 0 }), "exposure.turnover", figures.Contradiction},
		"nothing owed":             {loss(func(r *risk.Recovery) { r.EAD = 0 }), "recovery.ead", figures.Range},
		"endless value":            {loss(func(r *risk.Recovery) { r.Collateral[0].Value = math.Inf(1) }), "recovery.collateral[0].value", figures.NotANumber},
		"a mild downturn":          {loss(func(r *risk.Recovery) { r.Collateral[0].DownturnHaircut = 0.1 }), "recovery.collateral[0].downturn_haircut", figures.Contradiction},
		"modest owners":            {price(func(p *risk.Terms) { p.Equity = 0.01 }), "terms.equity", figures.Contradiction},
		"a margin that is none":    {price(func(p *risk.Terms) { p.Margin = math.NaN() }), "terms.margin", figures.NotANumber},
	} {
		var f *fault.Fault
		require.ErrorAs(t, c.err, &f, name)
		require.Equal(t, c.code, f.Code, name)
		require.Equal(t, c.path, f.Fields[0].Path, name)
	}
}

func TestAnyFiguresOfALoanGiveNumbersOrErrors(t *testing.T) {
	t.Parallel()
	figure := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1), rapid.SampledFrom([]float64{0, 1, -1, 1e-9, 1e15, math.NaN(), math.Inf(1)}))
	rapid.Check(t, func(r *rapid.T) {
		x := func(name string) float64 { return figure.Draw(r, name) }
		sane := func(err error, results ...float64) {
			if err != nil {
				var f *fault.Fault
				require.True(r, errors.As(err, &f) && f.Class == fault.Invalid, "%v", err)
				return
			}
			for _, result := range results {
				require.False(r, math.IsNaN(result) || math.IsInf(result, 0) || result < 0, "%v", results)
			}
		}
		class := rapid.SampledFrom([]risk.Class{risk.Corporate, risk.Mortgage, risk.OtherRetail, risk.Revolving, ""}).Draw(r, "class")
		e := risk.Exposure{Class: class, PD: x("pd"), LGD: x("lgd"), EAD: x("ead")}
		if class == risk.Corporate {
			e.Maturity, e.Turnover = x("maturity"), x("turnover")
		}
		requirement, err := risk.Capital(e, risk.Basel3())
		sane(err, requirement.Weight, requirement.RWA, requirement.Capital, requirement.ExpectedLoss)
		loss, err := risk.LossGivenDefault(risk.Recovery{
			EAD: x("ead"), Unsecured: x("unsecured"), Years: x("years"), Costs: x("costs"), Discount: x("discount"), Floor: x("floor"),
			Collateral: []risk.Collateral{{Value: x("value"), Prior: x("prior"), Haircut: x("haircut"), DownturnHaircut: x("downturn"), Costs: x("selling"), Years: x("until")}},
		})
		sane(err, loss.Expected, loss.Downturn, loss.Secured)
		price, err := risk.PriceOf(risk.Terms{PD: x("pd"), LGD: x("lgd"), Capital: x("capital"), Funding: x("funding"), Equity: x("equity"), Costs: x("costs"), Margin: x("margin")})
		sane(err, price.ExpectedLoss)
	})
}
