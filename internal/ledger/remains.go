package ledger

import (
	"slices"

	"patchbay/internal/flow"
)

// Remains gives of the effects of one cause those that their target has, or may have, and
// that no undo took back.
func Remains(effects []Tally) []Tally {
	back := map[string][]string{} // labels by step
	for _, e := range effects {
		if of := flow.Undoes(e.Step); of != "" && (e.State == flow.Confirmed || e.State == flow.Settled) {
			back[of] = append(back[of], e.Labels...)
		}
	}
	var left []Tally
	for _, e := range effects {
		switch {
		case flow.Undoes(e.Step) != "", e.State == flow.Intent, e.State == flow.Refused:
			continue
		}
		e.Labels = slices.DeleteFunc(slices.Clone(e.Labels), func(label string) bool { return slices.Contains(back[e.Step], label) })
		if len(e.Labels) > 0 {
			left = append(left, e)
		}
	}
	return left
}
