package learned

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// What the data is made of.
const (
	seedOfData = 20260504
	rowsOfData = 1500
	rounds     = 600  // of gradient descent
	pace       = 0.8  // of it
	shrink     = 1e-3 // of the weights, so that none grows without reason
)

// versions are the models there are: the first saw a fifth of the data.
var versions = []struct {
	name string
	rows int
}{{"1", 240}, {"2", 1200}}

// Customer is one row of the data: what was known, and what a person did that helped.
type Customer struct {
	Features []float64
	Action   int
}

// Generate makes the customers. Each gets a situation at random; of the four actions
// that one helped whose use in it, plus chance, was greatest.
func Generate() []Customer {
	r := rand.New(rand.NewPCG(seedOfData, 1)) //nolint:gosec // the data has to be the same each time
	out := make([]Customer, rowsOfData)
	for i := range out {
		orders := float64(r.IntN(12))
		value := round(orders*math.Exp(6+1.2*r.NormFloat64()), 2)
		var overdue, days, complaints, gaps float64
		if r.Float64() < 0.4 {
			overdue, days = round(math.Exp(5.5+1.5*r.NormFloat64()), 2), float64(1+r.IntN(120))
		}
		if r.Float64() < 0.25 {
			complaints = float64(1 + r.IntN(3))
		}
		if orders > 0 && r.Float64() < 0.35 {
			gaps = float64(1 + r.IntN(int(orders)))
		}
		use := []float64{
			-1.0 + 0.35*scale(overdue) + 0.35*scale(days),
			-0.5 + 3.2*scale(complaints),
			-0.8 + 2.0*scale(gaps) + 0.1*scale(orders),
			1.2 + 0.16*scale(value) - 0.2*scale(overdue),
		}
		best := 0
		for k := range use {
			use[k] -= 0.6 * math.Log(-math.Log(r.Float64())) // Gumbel: chance as a choice model has it
			if use[k] > use[best] {
				best = k
			}
		}
		out[i] = Customer{[]float64{orders, value, overdue, days, complaints, gaps}, best}
	}
	return out
}

// Write is the data as a file.
func Write(customers []Customer) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(append(slices.Clone(Features), "action")); err != nil {
		return nil, err
	}
	for _, c := range customers {
		line := make([]string, 0, len(Features)+1)
		for _, v := range c.Features {
			line = append(line, strconv.FormatFloat(v, 'f', -1, 64))
		}
		if err := w.Write(append(line, Actions[c.Action])); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// Read reads such a file.
func Read(file []byte) ([]Customer, error) {
	lines, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading the data: %w", err)
	}
	out := make([]Customer, 0, len(lines))
	for n, line := range lines[1:] {
		c := Customer{Action: slices.Index(Actions, line[len(Features)])}
		for _, text := range line[:len(Features)] {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || c.Action < 0 {
				return nil, fmt.Errorf("line %d of the data cannot be read", n+2)
			}
			c.Features = append(c.Features, v)
		}
		out = append(out, c)
	}
	return out, nil
}

// Train makes every version from the data, as the file of weights has them.
func Train(customers []Customer) ([]byte, error) {
	held := customers[versions[len(versions)-1].rows:]
	models := make([]Model, len(versions))
	for i, v := range versions {
		models[i] = train(v.name, customers[:v.rows], held)
	}
	text, err := json.MarshalIndent(models, "", " ")
	return append(text, '\n'), err
}

// train fits by gradient descent on the mean log loss. All is rounded to six digits at
// the end, so that processors that differ in the last bit agree.
func train(version string, customers, held []Customer) Model {
	m := Model{Version: version, Rows: len(customers), Mean: make([]float64, len(Features)), Spread: make([]float64, len(Features))}
	for i := range Features {
		var sum, squares float64
		for _, c := range customers {
			sum += scale(c.Features[i])
		}
		mean := sum / float64(len(customers))
		for _, c := range customers {
			d := scale(c.Features[i]) - mean
			squares += float64(d * d)
		}
		m.Mean[i], m.Spread[i] = round(mean, 6), round(math.Sqrt(squares/float64(len(customers))), 6)
	}
	rows := make([][]float64, len(customers))
	for n, c := range customers {
		rows[n] = m.standard(c.Features)
	}
	for range Actions {
		m.Weights = append(m.Weights, make([]float64, len(Features)+1))
	}
	for range rounds {
		m.step(rows, customers)
	}
	for _, w := range m.Weights {
		for i := range w {
			w[i] = round(w[i], 6)
		}
	}
	m.Accuracy, m.LogLoss = m.judge(held)
	return m
}

func (m Model) standard(features []float64) []float64 {
	x := make([]float64, len(features))
	for i, v := range features {
		x[i] = (scale(v) - m.Mean[i]) / m.Spread[i]
	}
	return x
}

func (m Model) step(rows [][]float64, customers []Customer) {
	slope := make([][]float64, len(Actions))
	for k := range slope {
		slope[k] = make([]float64, len(Features)+1)
	}
	for n, x := range rows {
		for k, p := range softmax(m.logits(x)) {
			if k == customers[n].Action {
				p--
			}
			slope[k][0] += p
			for i := range x {
				slope[k][i+1] += float64(p * x[i])
			}
		}
	}
	for k, w := range m.Weights {
		for i := range w {
			w[i] -= float64(pace * (slope[k][i]/float64(len(rows)) + float64(shrink*w[i])))
		}
	}
}

func softmax(logits []float64) []float64 {
	most, sum := slices.Max(logits), 0.0
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = math.Exp(v - most)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func (m Model) judge(held []Customer) (accuracy, loss float64) {
	right := 0
	for _, c := range held {
		p := softmax(m.logits(m.standard(c.Features)))
		if slices.Index(p, slices.Max(p)) == c.Action {
			right++
		}
		loss -= math.Log(p[c.Action])
	}
	n := float64(len(held))
	return round(float64(right)/n, 4), round(loss/n, 4)
}
