package activities

import (
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/ledger"
)

// unsettledCode is the code of the fault of an item that waits until its target
// must show what was sent before.
const unsettledCode = "write.unsettled"

// took says by what the write of the ith row is known to have taken effect; "" when
// it is not.
func (s Sight) took(i int, sent flow.Row) string {
	switch {
	case s.Applied != nil && s.Applied[i]:
		return "marked by the target"
	case s.Applied == nil && s.Rows[i] != nil && Holds(s.Rows[i], sent):
		return "read back"
	}
	return ""
}

// settle decides about members that were not found. They are sent again where that
// does no harm, now or once the target had its time, or where the author accepts that a row may be written twice and the
// target had its time; without that they end in doubt. Those whose time is not over
// stay as they are: nothing of them is sent now, and wait is the longest that is left.
func (s Sight) settle(plan *flow.Plan, missing []ledger.Open) (again []ledger.Open, given []ledger.Outcome, wait time.Duration) {
	if s.Applied != nil || s.Conditional {
		return missing, nil, 0
	}
	for _, o := range missing {
		left := s.SettleAfter - o.Since
		switch {
		case left > 0:
			wait = max(wait, left)
			given = append(given, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Intent, Reason: "not there yet; it may still show"})
		case plan.Write.Repeat, s.Looks:
			again = append(again, o)
		default:
			given = append(given, ledger.Outcome{Key: o.Key, Fence: o.Fence, State: flow.Doubtful,
				Reason: "its answer was lost and " + plan.Write.Connection + " does not show it; sending it again might write it twice"})
		}
	}
	return again, given, wait
}

// repeats gives, by key, what is to be said of members that are sent again although
// nobody knows that they did not take effect: each may be there twice.
func (s Sight) repeats(again []ledger.Open) map[string]string {
	if s.Applied != nil || s.Conditional || s.Looks {
		return nil
	}
	said := make(map[string]string, len(again))
	for _, o := range again {
		said[o.Key] = "sent again after its answer was lost: it may have arrived twice"
	}
	return said
}
