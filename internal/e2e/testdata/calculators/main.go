// Command calculators hosts those of the loan example beside some that go wrong, or give
// something else, in the shadow of them or in their place.
package main

import (
	"context"
	"math"
	"os"

	"patchbay/calculator"
	"patchbay/fleet"
	"patchbay/internal/risk/calculators"
	"patchbay/internal/risk/scorecard"
)

func main() {
	all, err := calculators.All()
	if err != nil {
		panic(err)
	}
	card, err := scorecard.Default()
	if err != nil {
		panic(err)
	}
	score := func(a scorecard.Applicant) (calculators.Scored, error) {
		s, err := card.Score(a)
		return calculators.Scored{Score: s, Reasons: s.Reasons(len(s.Parts))}, err
	}
	add := func(name string, compute func(scorecard.Applicant) (calculators.Scored, error)) {
		all = append(all, calculator.New("acme."+name, "v1", func(_ context.Context, a scorecard.Applicant, _ calculator.Run) (calculators.Scored, error) {
			return compute(a)
		}))
	}
	add("same", score)
	add("other", func(a scorecard.Applicant) (calculators.Scored, error) {
		s, err := score(a)
		s.Score.Points -= 500 // it would decline everybody
		return s, err
	})
	add("panics", func(scorecard.Applicant) (calculators.Scored, error) { panic("no") })
	add("nan", func(a scorecard.Applicant) (calculators.Scored, error) {
		s, err := score(a)
		s.Score.PD = math.NaN()
		return s, err
	})
	add("endless", func(scorecard.Applicant) (calculators.Scored, error) { select {} })
	os.Exit(fleet.Main(os.Args, os.Stdout, os.Stderr, all...))
}
