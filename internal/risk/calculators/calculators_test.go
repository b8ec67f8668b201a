package calculators_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/calculator"
	"patchbay/internal/fault"
	"patchbay/internal/risk/calculators"
	"patchbay/internal/risk/stress"
)

var update = flag.Bool("update", false, "write the contracts anew")

func TestTheContractsAreThoseOnRecord(t *testing.T) {
	t.Parallel()
	all, err := calculators.All()
	require.NoError(t, err)
	var b strings.Builder
	for _, c := range all {
		b.WriteString(string(c.Contract()) + "\n")
	}
	if *update {
		require.NoError(t, os.WriteFile("golden.txt", []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile("golden.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "another shape is another version")
}

func TestEachCalculatorComputes(t *testing.T) {
	t.Parallel()
	all, err := calculators.All()
	require.NoError(t, err)
	r, err := calculator.Register(all...)
	require.NoError(t, err)
	question, err := json.Marshal(calculators.Simulation{Question: stress.Example(), Paths: 2048, Level: 0.9})
	require.NoError(t, err)
	inputs := map[string]string{
		"risk.score": `{"words": {"housing": "owner"}, "figures": {"employment_months": 60, "payment_percent": 20, "card_use_percent": 10, "inquiries_6m": 0,
			"arrears_24m": 0, "savings_months": 6, "customer_months": 100}}`,
		"risk.stress":  string(question),
		"risk.capital": `{"rules": "basel-3", "exposure": {"class": "residential-mortgage", "pd": 0.01, "lgd": 0.45, "ead": 100000}}`,
		"risk.loss":    `{"ead": 1000, "collateral": [], "unsecured": 0.2, "years": 1, "costs": 0, "discount": 0.05, "floor": 0}`,
		"risk.price":   `{"pd": 0.01, "lgd": 0.45, "capital": 0.06, "funding": 0.03, "equity": 0.1, "costs": 0.01, "margin": 0.01}`,
	}
	require.Len(t, all, len(inputs))
	for name, input := range inputs {
		c, err := r.Find(name, "v1")
		require.NoError(t, err)
		out, err := c.Compute(t.Context(), []byte(input), calculator.Run{Seed: 1})
		require.NoError(t, err, name)
		again, err := c.Compute(t.Context(), []byte(input), calculator.Run{Seed: 1})
		require.NoError(t, err)
		require.Equal(t, string(out), string(again))
	}
	capital, err := r.Find("risk.capital", "v1")
	require.NoError(t, err)
	_, err = capital.Compute(t.Context(), []byte(strings.Replace(inputs["risk.capital"], "basel-3", "basel-9", 1)), calculator.Run{})
	require.Equal(t, "risk.unknown", fault.Of(err).Code)
}
