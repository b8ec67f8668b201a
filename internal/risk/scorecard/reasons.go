package scorecard

import (
	"fmt"
	"slices"
)

// Against are the parts that counted against the applicant, the heaviest first; parts of equal
// weight in the card's order.
func (s *Score) Against() []Part {
	var out []Part
	for _, p := range s.Parts {
		if p.Effect < 0 {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Part) int { return a.Effect - b.Effect })
	return out
}

// Reasons says in a customer's words what moved the score below that of an average applicant, the
// heaviest first, at most so many.
func (s *Score) Reasons(most int) []string {
	against := s.Against()
	out := make([]string, 0, min(most, len(against)))
	for _, p := range against[:min(most, len(against))] {
		points := fmt.Sprintf("%d points", -p.Effect)
		if p.Effect == -1 {
			points = "1 point"
		}
		out = append(out, fmt.Sprintf("%s: %s. That is %s less than an average applicant has. %s", p.Title, p.Found, points, p.Advice))
	}
	return out
}
