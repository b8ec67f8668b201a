package flow

import "time"

type (
	// Rate is how many runs of a flow were accepted in each of the last minutes, the
	// oldest first; the last minute is not over. Failed counts those of them that
	// failed for good.
	Rate struct {
		Flow   string
		Runs   []int
		Failed []int
	}

	// Change is a version of a flow that was put in force for the first time.
	Change struct {
		At      time.Time
		Flow    string
		Digest  string
		By      string // who applied it; empty when another is in force by now
		InForce bool
		First   bool // there was none of this flow before
	}
)
