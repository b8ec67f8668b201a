// Package calculators owns the registered forms of what internal/risk computes: the loan
// example's calculators, by name and version.
//
// app hosts them, and capsules are run again with them; it may import calculator and the
// packages below internal/risk, and is pure.
//
// Invariants: a version's contract and its results never change; what computes otherwise is
// another version. golden.txt holds the contracts, and a test compares.
package calculators

import (
	"context"

	"patchbay/calculator"
	"patchbay/internal/risk"
	"patchbay/internal/risk/scorecard"
	"patchbay/internal/risk/stress"
)

type (
	// Simulation is the input of risk.stress.
	Simulation struct {
		Question stress.Question `json:"question"`
		Paths    int             `json:"paths"`
		Level    float64         `json:"level"`
	}

	// Requirement is the input of risk.capital. Rules are basel-2 or basel-3.
	Requirement struct {
		Exposure risk.Exposure `json:"exposure"`
		Rules    string        `json:"rules"`
	}

	// Scored is the output of risk.score.
	Scored struct {
		Score   scorecard.Score `json:"score"`
		Reasons []string        `json:"reasons"` // against the applicant, the heaviest first, in words
	}
)

// All are the calculators. It fails when the committed scorecard is not one.
func All() ([]calculator.Calculator, error) {
	card, err := scorecard.Default()
	if err != nil {
		return nil, err
	}
	return []calculator.Calculator{
		calculator.New("risk.score", "v1", func(_ context.Context, a scorecard.Applicant, _ calculator.Run) (Scored, error) {
			s, err := card.Score(a)
			return Scored{s, s.Reasons(len(s.Parts))}, err
		}, calculator.Model(scorecard.Digest())),
		calculator.New("risk.stress", "v1", func(ctx context.Context, s Simulation, run calculator.Run) (stress.Answer, error) {
			return stress.Run(ctx, s.Question, stress.Options{Paths: s.Paths, Level: s.Level, Seed: run.Seed, Progress: run.Progress})
		}),
		calculator.New("risk.capital", "v1", func(_ context.Context, r Requirement, _ calculator.Run) (risk.Requirement, error) {
			rules, err := risk.RulesOf(r.Rules)
			if err != nil {
				return risk.Requirement{}, err
			}
			return risk.Capital(r.Exposure, rules)
		}),
		calculator.New("risk.loss", "v1", func(_ context.Context, r risk.Recovery, _ calculator.Run) (risk.Loss, error) {
			return risk.LossGivenDefault(r)
		}),
		calculator.New("risk.price", "v1", func(_ context.Context, t risk.Terms, _ calculator.Run) (risk.Price, error) {
			return risk.PriceOf(t)
		}),
	}, nil
}
