package learned

import (
	"bytes"
	_ "embed" // the weights
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

//go:generate go run patchbay/internal/sandbox/model/train

// Features are the numbers the model computes from, in their order.
var Features = []string{"open_orders", "order_value", "overdue_amount", "overdue_days", "complaints", "stock_gaps"}

// Actions are what it chooses from, in their order.
var Actions = []string{"collect_payment", "resolve_complaint", "expedite_order", "propose_offer"}

type (
	// Model is one trained version. Weights has a row an action: its bias, then a weight a
	// feature, of the feature's logarithm less Mean over Spread.
	Model struct {
		Version  string      `json:"version"`
		Rows     int         `json:"rows"`     // that it was trained on
		Accuracy float64     `json:"accuracy"` // on rows that it was not trained on
		LogLoss  float64     `json:"log_loss"` // there
		Mean     []float64   `json:"mean"`
		Spread   []float64   `json:"spread"`
		Weights  [][]float64 `json:"weights"`
	}

	// Verdict is what the model says of one customer.
	Verdict struct {
		Action string
		Scores []float64 // of Actions, rounded; 0 for what is not on offer
		// Because are the features that speak for the action, the strongest first.
		Because []string
	}
)

//go:embed weights.json
var trained []byte

// Load gives the versions there are, the oldest first.
func Load() ([]Model, error) {
	var all []Model
	decoder := json.NewDecoder(bytes.NewReader(trained))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("reading the weights: %w", err)
	}
	return all, nil
}

// Decide scores a customer. features are by name; offered restricts the actions, nil
// is all of them.
func (m Model) Decide(features map[string]float64, offered []string) Verdict {
	x := make([]float64, len(Features))
	for i, name := range Features {
		if v, known := features[name]; known {
			x[i] = (scale(v) - m.Mean[i]) / m.Spread[i]
		}
	}
	v := Verdict{Scores: make([]float64, len(Actions))}
	best, sum, raw := -1, 0.0, m.logits(x)
	for i, action := range Actions {
		if offered != nil && !slices.Contains(offered, action) {
			raw[i] = math.Inf(-1)
			continue
		}
		if best < 0 || raw[i] > raw[best] {
			best = i
		}
	}
	if best < 0 {
		return v
	}
	for i := range raw {
		v.Scores[i] = math.Exp(raw[i] - raw[best])
		sum += v.Scores[i]
	}
	for i := range v.Scores {
		v.Scores[i] = round(v.Scores[i]/sum, 6)
	}
	v.Action = Actions[best]
	v.Because = m.because(features, x, best)
	return v
}

// because are the features that are known, above nothing, and speak for an action.
func (m Model) because(features map[string]float64, x []float64, action int) []string {
	type share struct {
		name  string
		value float64
	}
	var all []share
	for i, name := range Features {
		if s := m.Weights[action][i+1] * x[i]; s > 0 && features[name] > 0 {
			all = append(all, share{name, s})
		}
	}
	slices.SortStableFunc(all, func(a, b share) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.name
	}
	return names
}

func (m Model) logits(x []float64) []float64 {
	out := make([]float64, len(m.Weights))
	for k, w := range m.Weights {
		s := w[0]
		for i := range x {
			s += float64(w[i+1] * x[i]) // the conversion forbids a fused operation, which rounds otherwise
		}
		out[k] = s
	}
	return out
}

// scale is how a number enters the model: amounts and counts by their size, not their value.
func scale(v float64) float64 { return math.Log1p(max(v, 0)) }

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}
