package fit

import (
	"slices"

	"patchbay/internal/risk/portable"
)

type (
	// Judged is a row with what was foretold: a whole score, higher is better, and a probability.
	Judged struct {
		Score int
		PD    float64
		Bad   bool
	}

	// Group is a tenth of the rows, the worst scores first.
	Group struct {
		Rows, Bad int
		From, To  int     // scores
		Expected  float64 // defaults, the sum of probabilities
	}

	// Verdict is how well a card tells and how right its probabilities are.
	Verdict struct {
		Rows, Bad int
		AUC       float64 // probability that one who repays has the higher score; ties count half
		Gini      float64
		KS        float64 // the largest distance of the two distributions of scores
		Brier     float64 // mean squared error of the probabilities
		Trivial   float64 // the same of a card that gives everybody the mean
		// HosmerLemeshow is Σ (bad - expected)² ÷ (expected (1 - expected ÷ rows)) over the groups, and P the
		// probability that a card without error has more.
		HosmerLemeshow, P float64
		Groups            []Group
	}
)

// The degrees of freedom of Hosmer and Lemeshow's statistic with ten groups.
const (
	Fitted = 8  // of rows that the card was fitted to
	Held   = 10 // of others
)

// Judge holds a card against what happened. It needs rows of both kinds, and at least ten.
func Judge(rows []Judged, degrees int) Verdict {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Judged) int { return a.Score - b.Score })
	v := Verdict{Rows: len(rows)}
	for _, r := range rows {
		y := 0.0
		if r.Bad {
			v.Bad++
			y = 1
		}
		v.Brier += float64((y - r.PD) * (y - r.PD))
	}
	n, bad := float64(v.Rows), float64(v.Bad)
	good := n - bad
	v.Brier /= n
	v.Trivial = float64(float64(bad/n) * float64(good/n))

	badBelow, goodBelow, wins := 0, 0, 0.0
	for i := 0; i < len(rows); {
		b, g := 0, 0
		for j := i; j < len(rows) && rows[j].Score == rows[i].Score; j++ {
			if rows[j].Bad {
				b++
			} else {
				g++
			}
		}
		wins += float64(float64(g) * (float64(badBelow) + float64(0.5*float64(b))))
		badBelow, goodBelow, i = badBelow+b, goodBelow+g, i+b+g
		v.KS = max(v.KS, float64(badBelow)/bad-float64(goodBelow)/good)
	}
	v.AUC = wins / float64(good*bad)
	v.Gini = float64(2*v.AUC) - 1

	const groups = 10
	for k := range groups {
		part := rows[k*len(rows)/groups : (k+1)*len(rows)/groups]
		g := Group{Rows: len(part), From: part[0].Score, To: part[len(part)-1].Score}
		for _, r := range part {
			g.Expected += r.PD
			if r.Bad {
				g.Bad++
			}
		}
		off := float64(g.Bad) - g.Expected
		v.HosmerLemeshow += float64(off*off) / float64(g.Expected*(1-g.Expected/float64(g.Rows)))
		v.Groups = append(v.Groups, g)
	}
	v.P = above(v.HosmerLemeshow, degrees)
	return v
}

// above is the probability that χ² of an even number of degrees exceeds x.
func above(x float64, degrees int) float64 {
	half, term, sum := float64(0.5*x), 1.0, 1.0
	for k := 1; k < degrees/2; k++ {
		term = float64(term*half) / float64(k)
		sum += term
	}
	return float64(portable.Exp(-half) * sum)
}
