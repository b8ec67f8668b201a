package main

import (
	"fmt"
	"strings"

	"patchbay/internal/risk/fit"
	"patchbay/internal/risk/scorecard"
)

// judge scores a book with a card, by the code that scores applicants.
func (b *book) judge(c *scorecard.Card, degrees int) (fit.Verdict, error) {
	var rows []fit.Judged
	for i, bad := range b.bad {
		a := scorecard.Applicant{Figures: map[string]float64{}, Words: map[string]string{}}
		for j, column := range columns {
			if column.words != nil {
				a.Words[column.name] = b.words[j][i]
			} else {
				a.Figures[column.name] = b.figures[j][i]
			}
		}
		s, err := c.Score(a)
		if err != nil {
			return fit.Verdict{}, err
		}
		rows = append(rows, fit.Judged{Score: s.Points, PD: s.PD, Bad: bad})
	}
	return fit.Judge(rows, degrees), nil
}

// report is the tables of docs/risk.md.
func report(file []byte) ([]byte, error) {
	made, err := card(file)
	if err != nil {
		return nil, err
	}
	c, err := scorecard.Read(made)
	if err != nil {
		return nil, err
	}
	train, hold, err := read(file)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| characteristic | information value | points by class |\n|---|---|---|\n")
	for _, ch := range c.Characteristics {
		var classes []string
		for _, class := range ch.Classes {
			classes = append(classes, fmt.Sprintf("%s: %+d", class.Text, class.Points))
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s |\n", ch.Title, ch.Information, strings.Join(classes, "; "))
	}
	var last fit.Verdict
	fmt.Fprintf(&b, "\n| part | loans | defaults | AUC | Gini | KS | Brier (a constant's) | Hosmer-Lemeshow χ² (p) |\n|---|---|---|---|---|---|---|---|\n")
	for _, part := range []struct {
		name    string
		book    *book
		degrees int
	}{{"training", &train, fit.Fitted}, {"hold-out", &hold, fit.Held}} {
		v, err := part.book.judge(&c, part.degrees)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %.3f | %.3f | %.3f | %.4f (%.4f) | %.1f (%.2f) |\n", part.name, v.Rows, v.Bad, v.AUC, v.Gini, v.KS, v.Brier, v.Trivial, v.HosmerLemeshow, v.P)
		last = v
	}
	fmt.Fprintf(&b, "\n| tenth of the hold-out | scores | loans | foretold defaults | defaults |\n|---|---|---|---|---|\n")
	for i, g := range last.Groups {
		fmt.Fprintf(&b, "| %d | %d to %d | %d | %.1f | %d |\n", i+1, g.From, g.To, g.Rows, g.Expected, g.Bad)
	}
	return []byte(b.String()), nil
}
