// Package rent is a calculator of one's own: may these people pay that rent? It is what a
// user of Patchbay writes, in a package of their own, and imports nothing of Patchbay but
// package calculator.
//
// Its program is examples/calculator; docs/risk.md leads here. Invariant: the rule is a
// function of the input alone.
package rent

import (
	"context"

	"patchbay/calculator"
)

type (
	// Household is the input. Amounts are a month's.
	Household struct {
		Income float64 `json:"income"`
		Rent   float64 `json:"rent"`
	}

	// Answer is the output.
	Answer struct {
		Part       float64 `json:"part"` // of the income that the rent takes
		Affordable bool    `json:"affordable"`
	}
)

// V1 says yes to a third of the income.
func V1() calculator.Calculator {
	return calculator.New("acme.rent", "v1", func(_ context.Context, h Household, _ calculator.Run) (Answer, error) {
		part := h.Rent / h.Income
		return Answer{Part: part, Affordable: part <= 1.0/3}, nil
	})
}

// V2 is stricter; in V1's shadow it has no effect yet.
func V2() calculator.Calculator {
	return calculator.New("acme.rent", "v2", func(_ context.Context, h Household, _ calculator.Run) (Answer, error) {
		part := h.Rent / h.Income
		return Answer{Part: part, Affordable: part <= 0.3}, nil
	})
}
