package learned_test

import (
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox/model/learned"
)

func TestTheFilesAreWhatTheProgramMakes(t *testing.T) {
	t.Parallel()
	fresh, err := learned.Write(learned.Generate())
	require.NoError(t, err)
	data, err := os.ReadFile("customers.csv")
	require.NoError(t, err)
	require.Equal(t, string(fresh), string(data), "go generate ./internal/sandbox/model/learned makes it")
	customers, err := learned.Read(data)
	require.NoError(t, err)
	require.Equal(t, learned.Generate(), customers)
	weights, err := learned.Train(customers)
	require.NoError(t, err)
	committed, err := os.ReadFile("weights.json")
	require.NoError(t, err)
	require.Equal(t, string(weights), string(committed), "trained from customers.csv")
}

func TestTheModelHasLearnedSomethingThatCanBeUsed(t *testing.T) {
	t.Parallel()
	models, err := learned.Load()
	require.NoError(t, err)
	require.Len(t, models, 2)
	held := learned.Generate()[1200:]
	counts := map[int]int{}
	most := 0
	for _, c := range held {
		counts[c.Action]++
		most = max(most, counts[c.Action])
	}
	guess := float64(most) / float64(len(held))
	for _, m := range models {
		require.Greater(t, m.Accuracy, guess+0.2, "version %s against always naming the commonest action (%.2f)", m.Version, guess)
	}
	require.Greater(t, models[1].Accuracy, models[0].Accuracy, "five times the rows")
	require.Less(t, models[1].LogLoss, models[0].LogLoss)
}

func TestTheModelDecidesByTheNumbers(t *testing.T) {
	t.Parallel()
	models, err := learned.Load()
	require.NoError(t, err)
	m := models[1]
	for name, c := range map[string]struct {
		features map[string]float64
		offered  []string
		want     string
		because  []string
	}{
		"much is overdue":      {map[string]float64{"overdue_amount": 9000, "overdue_days": 80, "complaints": 0, "stock_gaps": 0, "open_orders": 2, "order_value": 500}, nil, "collect_payment", []string{"overdue_amount", "overdue_days"}},
		"there are complaints": {map[string]float64{"overdue_amount": 0, "overdue_days": 0, "complaints": 2, "stock_gaps": 0, "open_orders": 3, "order_value": 900}, nil, "resolve_complaint", []string{"complaints"}},
		"much is missing":      {map[string]float64{"overdue_amount": 0, "overdue_days": 0, "complaints": 0, "stock_gaps": 6, "open_orders": 8, "order_value": 900}, nil, "expedite_order", []string{"stock_gaps"}},
		"all is well":          {map[string]float64{"overdue_amount": 0, "overdue_days": 0, "complaints": 0, "stock_gaps": 0, "open_orders": 3, "order_value": 40000}, nil, "propose_offer", []string{"order_value"}},
		"only two on offer":    {map[string]float64{"overdue_amount": 9000, "overdue_days": 80}, []string{"expedite_order", "propose_offer"}, "propose_offer", nil},
		"none on offer":        {map[string]float64{"overdue_amount": 9000}, []string{}, "", nil},
		"nothing is known":     {nil, nil, "propose_offer", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := m.Decide(c.features, c.offered)
			require.Equal(t, c.want, v.Action)
			if c.because != nil {
				require.Equal(t, c.because, v.Because[:len(c.because)])
			}
			sum := 0.0
			for _, s := range v.Scores {
				sum += s
			}
			if c.want != "" {
				require.InDelta(t, 1, sum, 1e-5)
			}
			require.Equal(t, v, m.Decide(c.features, c.offered))
			require.False(t, math.IsNaN(sum))
		})
	}
}
